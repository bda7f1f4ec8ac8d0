"""One table of methods and measures: its cells are those of the measures called alone."""

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import sciexplain as sx


@pytest.fixture
def net():
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 3)).double().eval()


@pytest.fixture
def x():
    values = np.random.default_rng(2).standard_normal((7, 4, 4))
    return xr.DataArray(values, {"trial": np.arange(7) * 2}, ("trial", "row", "column"))


METHODS = {"squares": sx.Sensitivity(), "product": "gradient_times_input", "lrp": sx.LRP("epsilon")}
BOX = {"row": (0, 2), "column": (1, 4)}


def test_cells_are_those_of_the_measures_alone(net, x):
    table = sx.compare_methods(
        net,
        x,
        METHODS,
        {
            "continuity": {"neighbours": 2},
            "selectivity": {"steps": 4, "imputer": "constant"},
            "localisation": {},
            "context_ratio": {"mask": {"row": (0, 3), "column": (0, 4)}},
            "sanity_check": {"draws": 2},
            "conservation": {},
            "time": {"repeats": 1},
        },
        mask=BOX,
        seed=4,
        batch_size=3,
    )
    assert table.method.values.tolist() == list(METHODS)
    target = net(torch.from_numpy(x.values)).argmax(1).tolist()
    for label, method in METHODS.items():
        row = table.sel({"method": label})
        ds = sx.explain(net, x, target, method)
        alone = sx.continuity(net, x, method, target, neighbours=2, seed=4).sel(scale="normalised")
        for name, column in (
            ("mean", "continuity"),
            ("low", "continuity_low"),
            ("maximum", "continuity_maximum"),
        ):
            np.testing.assert_allclose(row[column], alone[name], rtol=1e-10)
        flipped = sx.selectivity(net, x, ds, target, steps=4, imputer="constant", seed=4)
        np.testing.assert_allclose(row.selectivity, flipped.relevance_gain.mean(), rtol=1e-10)
        np.testing.assert_allclose(row.aopc, flipped.aopc.sel(order="most").mean(), rtol=1e-10)
        inside = sx.localisation(ds, BOX, seed=4)
        for measure in ("mass", "rank", "pointing"):
            np.testing.assert_allclose(row[measure], inside["mean"].sel(measure=measure), rtol=1e-10)
            np.testing.assert_allclose(row[f"{measure}_high"], inside.high.sel(measure=measure), rtol=1e-10)
        mu = sx.context_ratio(ds, {"row": (0, 3), "column": (0, 4)}, seed=4)
        np.testing.assert_allclose(row.context_ratio, mu["mean"].sel(variant="positive"), rtol=1e-10)
        random = sx.sanity_check(net, x, method, target, draws=2, seed=4).isel(layer=-1)
        np.testing.assert_allclose(row.randomised, random["mean"].sel(measure="rank_absolute"), rtol=1e-9)
        np.testing.assert_allclose(row.conservation, ds.conservation_error.mean(), rtol=1e-6, atol=1e-15)
        assert row.time > 0
    assert table.conservation.loc["lrp"] < 1e-4 < table.conservation.loc["squares"]
    assert table.mass.attrs["better"] == "higher"
    assert table.randomised.attrs["better"] == "lower"
    assert "time_low" not in table
    assert list(table.to_dataframe().index) == list(METHODS)
    assert all(isinstance(v, (str, int, float, list)) for v in table.attrs.values())  # netCDF takes them


def test_order_recomputed(net, x):
    settings = {"selectivity": {"steps": 2, "recompute": True, "imputer": "constant"}}
    table = sx.compare_methods(net, x, ["gradient_times_input"], settings, 1)
    alone = sx.selectivity(net, x, "gradient_times_input", 1, steps=2, recompute=True, imputer="constant")
    np.testing.assert_allclose(table.selectivity.values, [alone.relevance_gain.mean()], rtol=1e-10)


def test_measures_of_your_own(net, x):
    def positive(ds):
        return (ds.relevance > 0).mean(("row", "column"))

    table = sx.compare_methods(net, x, list(METHODS.values()), [positive], 0, progress=True)
    other = sx.compare_methods(net, x, METHODS, {"sum": lambda ds: float(ds.relevance.sum())}, 0)
    for k, method in enumerate(METHODS.values()):
        r = sx.explain(net, x, 0, method).relevance.values
        np.testing.assert_allclose(table.positive.values[k], (r > 0).mean())
        np.testing.assert_allclose(other["sum"].values[k], r.sum())
    assert (table.positive_low <= table.positive).all()
    assert table.method.values[0] == str(sx.Sensitivity())
    assert "sum_low" not in other


@pytest.mark.parametrize(
    ("methods", "measures", "words"),
    [
        ("lrp", ["time"], "expected a list of methods"),
        ([], ["time"], "expected a list of methods"),
        (["lrp", "lrp"], ["time"], "occurs twice"),
        (["lpr"], ["time"], "No method is called 'lpr'"),
        (["lrp"], ["continuty"], "Did you mean 'continuity'"),
        (["lrp"], [], "No measures were given"),
        (["lrp"], ["localisation"], "need mask="),
        (["lrp"], ["time", "time"], "occurs twice"),
        (["lrp"], {"own": lambda ds: np.zeros(3)}, "returned the shape"),
    ],
)
def test_refusals(net, x, methods, measures, words):
    with pytest.raises(ValueError, match=words):
        sx.compare_methods(net, x, methods, measures)


def test_settings_are_a_dict(net, x):
    with pytest.raises(TypeError, match="settings of 'time'"):
        sx.compare_methods(net, x, ["lrp"], {"time": 3})
