"""Occlusion against a loop that takes one region after another away and runs the model itself."""

import json

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import sciexplain as sx
from sciexplain.methods.imputers import ConditionalGaussian, Constant, Mean, Noise


class Counting(nn.Module):
    """A network that counts its rows and its calls."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(3 * 24, 4))

    def forward(self, x):
        return self.body(x)


@pytest.fixture
def net():
    torch.manual_seed(3)
    return Counting().double().eval()


@pytest.fixture
def x():
    return torch.randn(3, 2, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def by_hand(net, x, where, target, fill):
    """R with one region after another replaced by `fill`; where (sample, ...) holds labels, < 0 stays."""
    found = np.zeros(x.shape)
    for i in range(len(x)):
        with torch.no_grad():
            whole = float(net(x[i : i + 1])[0, target])
            for label in np.unique(where[i]):
                if label < 0:
                    continue
                inside = where[i] == label
                changed = x[i].clone().numpy()
                changed[inside] = np.broadcast_to(fill[i], changed.shape)[inside]
                lost = whole - float(net(torch.from_numpy(changed)[None])[0, target])
                found[i][inside] = lost / inside.sum()
    return found


def test_each_element_is_a_region_by_default(net, x):
    where = np.broadcast_to(np.arange(96).reshape(2, 6, 8), x.shape)
    want = by_hand(net, x, where, 2, [v.mean() for v in x.numpy()])
    ds = sx.explain(net, x, target=2, method="occlusion")
    np.testing.assert_allclose(ds.relevance.values, want, rtol=1e-9, atol=1e-12)
    gap = np.abs(ds.score.values - want.sum((1, 2, 3)))
    scale = np.maximum(np.abs(ds.score.values), np.abs(want).sum((1, 2, 3)))
    np.testing.assert_allclose(ds.conservation_error.values, gap / scale, rtol=1e-9)


def test_a_label_map_with_elements_that_never_go(net, x):
    labels = np.arange(48).reshape(6, 8) // 7
    labels[2] = -1
    where = np.broadcast_to(labels, x.shape)
    want = by_hand(net, x, where, 0, [0.5] * 3)
    given = sx.Occlusion(regions=labels, imputer=Constant(0.5))
    np.testing.assert_allclose(sx.explain(net, x, 0, given).relevance.values, want, rtol=1e-9, atol=1e-12)
    named = xr.DataArray(labels.T, dims=("column", "row"))
    ds = sx.explain(
        net,
        x,
        0,
        sx.Occlusion(regions=named, imputer=Constant(0.5)),
        dims=("sample", "color", "row", "column"),
    )
    np.testing.assert_allclose(ds.relevance.values, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("batch_size", [None, 1, 2])
def test_each_sample_may_have_its_own_regions(net, x, batch_size):
    labels = np.random.default_rng(0).integers(0, 5, size=(3, 6, 8))
    labels[1] = 0
    want = by_hand(net, x, np.broadcast_to(labels[:, None], x.shape), 1, [0.0] * 3)
    regions = xr.DataArray(labels, dims=("sample", "row", "column"))
    ds = sx.explain(
        net,
        x,
        1,
        sx.Occlusion(regions=regions, imputer="constant"),
        dims=("sample", "color", "row", "column"),
        batch_size=batch_size,
    )
    np.testing.assert_allclose(ds.relevance.values, want, rtol=1e-9, atol=1e-12)


def test_windows_that_overlap_give_the_mean_of_what_they_lose(net, x):
    ds = sx.explain(net, x, 3, sx.Occlusion(window=(4, 3), stride=(2, 3)))
    rows = sx.explain(
        net,
        x,
        3,
        sx.Occlusion(window={"row": 4, "column": 3}, stride={"row": 2}),
        dims=("sample", "color", "row", "column"),
    )
    np.testing.assert_array_equal(rows.relevance.values, ds.relevance.values)
    total, covered = np.zeros(x.shape), np.zeros(x.shape)
    for row in (0, 2):
        for column in (0, 3, 6):
            where = np.full(x.shape, -1)
            where[:, :, row : row + 4, column : column + 3] = 0
            total += by_hand(net, x, where, 3, [v.mean() for v in x.numpy()])
            covered += where == 0
    np.testing.assert_allclose(ds.relevance.values, total / covered, rtol=1e-9, atol=1e-12)


def test_regions_with_shared_channels_in_another_order():
    """In an additive model the shared channel gets half of each region: its own relevance again."""
    net = nn.Linear(4, 1, bias=False).double()
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, 1.0, 1.0, 1.0]]))
    given = xr.DataArray(
        torch.full((2, 4), 3.0, dtype=torch.float64).numpy(),
        coords={"channel": ["C3", "F3", "Cz", "O1"]},
        dims=("epoch", "channel"),
    )
    W = sx.regions({"left": ["C3", "F3"], "midline": ["F3", "Cz"]}, along=given.channel)
    method = sx.Occlusion(regions=W.isel(channel=[2, 0, 3, 1]), imputer="constant")
    ds = sx.explain(net, given, method=method)
    np.testing.assert_allclose(ds.relevance.values, 3.0, rtol=1e-12)
    uneven = given * np.array([1.0, 2.0, 4.0, 8.0])
    ds = sx.explain(net, uneven, method=method)
    left, middle, rest = 3 + 6, 6 + 12, 24
    want = [left / 2, (left / 2 + middle / 2) / 2, middle / 2, rest]
    np.testing.assert_allclose(ds.relevance.values[0], want, rtol=1e-12)


def test_the_conditional_imputer_takes_only_what_a_channel_alone_knows():
    """Two channels that are copies: taking one away loses nothing under the Gaussian, half under zero."""
    net = nn.Linear(2, 1, bias=False).double()
    with torch.no_grad():
        net.weight.fill_(1.0)
    x = torch.tensor([[2.0, 2.0]], dtype=torch.float64)
    copies = ConditionalGaussian([0.0, 0.0], [[1.0, 1 - 1e-9], [1 - 1e-9, 1.0]])
    ds = sx.explain(net, x, method=sx.Occlusion(imputer=copies))
    np.testing.assert_allclose(ds.relevance.values, 0, atol=1e-7)
    ds = sx.explain(net, x, method=sx.Occlusion(imputer="constant"))
    np.testing.assert_allclose(ds.relevance.values, 2.0, rtol=1e-12)


def test_passes_are_regions_by_batch_size(net, x, monkeypatch):
    from sciexplain.methods.base import Forward

    sizes = []
    plain = Forward.__call__

    def counted(self, inputs, layers=None):
        sizes.append(len(inputs[0]))
        return plain(self, inputs, layers)

    monkeypatch.setattr(Forward, "__call__", counted)
    sx.explain(net, x[:1], 0, sx.Occlusion(batch_size=32))
    whole = [s for s in sizes if s > 2]  # the sample itself runs as a row or two
    assert whole == [32, 32, 32]
    assert len(sizes) <= 5


@pytest.mark.parametrize("imputer", ["mean", "blur", Noise(draws=3), Mean(over="batch")])
def test_neither_batch_size_changes_anything(net, x, imputer):
    one = sx.explain(net, x, method=sx.Occlusion(window=(2, 4), imputer=imputer))
    two = sx.explain(net, x, method=sx.Occlusion(window=(2, 4), imputer=imputer, batch_size=5), batch_size=2)
    np.testing.assert_allclose(one.relevance.values, two.relevance.values, rtol=1e-9, atol=1e-12)


def test_draws_are_averaged_and_seeded(net, x):
    def at(draws, seed):
        method = sx.Occlusion(window=(6, 8), imputer=Noise(draws=draws), seed=seed)
        return sx.explain(net, x, 0, method).relevance.values

    assert not np.allclose(at(1, 0), at(1, 1))
    many = at(400, 0)
    again = at(400, 1)
    spread = np.std([at(1, s)[:, 0, 0, 0] for s in range(12)], axis=0)
    assert (np.abs(many - again)[:, 0, 0, 0] < 5 * spread * np.sqrt(2 / 400)).all()


def test_targets(net, x):
    method = sx.Occlusion(window=(3, 4))
    both = sx.explain(net, x, sx.Targets([0, 3]), method)
    zero, three = (sx.explain(net, x, k, method).relevance.values for k in (0, 3))
    np.testing.assert_array_equal(both.relevance.values, np.stack([zero, three]))
    contrast = sx.explain(net, x, sx.Contrast(0, 3), method)
    np.testing.assert_allclose(contrast.relevance.values, zero - three, rtol=1e-10, atol=1e-13)
    function = sx.explain(net, x, lambda y: y[:, 0] - y[:, 3], method)
    np.testing.assert_allclose(function.relevance.values, zero - three, rtol=1e-10, atol=1e-13)


def test_a_target_that_is_not_linear_in_the_outputs(net, x):
    def margin(y):
        return y[:, 0] ** 2

    ds = sx.explain(net, x, margin, sx.Occlusion(window=(6, 8), imputer="constant"))
    with torch.no_grad():
        lost = margin(net(x)) - margin(net(torch.zeros_like(x)))
    np.testing.assert_allclose(ds.relevance.sum(ds.relevance.dims[1:]).values, lost.numpy(), rtol=1e-10)


def test_the_predicted_class_is_that_of_the_whole_input():
    class Flips(nn.Module):
        def forward(self, x):
            return torch.cat([x, 1 - x], 1)

    ds = sx.explain(Flips(), torch.tensor([[2.0]]), method=sx.Occlusion(imputer="constant"))
    assert ds.relevance.item() == 2.0  # of output 0, though output 1 is larger without the input


class TwoInputs(nn.Module):
    def forward(self, image, code):
        return (image.sum((1, 2)) * code[:, 0])[:, None]


def test_several_inputs_each_on_its_own():
    image = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    code = torch.tensor([[2.0, 5.0]])
    ds = sx.explain(TwoInputs(), {"image": image, "code": code}, method=sx.Occlusion(imputer="constant"))
    assert ds.relevance_image.values.tolist() == [[[2.0, 4.0], [6.0, 8.0]]]
    assert ds.relevance_code.values.tolist() == [[20.0, 0.0]]
    pixels = xr.DataArray([[0, 0], [1, 1]], dims=("image_dim_1", "image_dim_2"))
    ds = sx.explain(
        TwoInputs(), {"image": image, "code": code}, method=sx.Occlusion(regions=pixels, imputer="constant")
    )
    assert ds.relevance_image.values.tolist() == [[[3.0, 3.0], [7.0, 7.0]]]
    assert "relevance_code" not in ds


class Molecules(nn.Module):
    """Squares of the sum over each molecule's atoms."""

    def __init__(self, count):
        super().__init__()
        self.count = count

    def forward(self, atoms, molecule):
        return torch.zeros(self.count, 1, dtype=atoms.dtype).index_add(0, molecule, atoms).square()


def test_atoms_of_one_molecule():
    atoms = torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64)
    given = (atoms, torch.tensor([0, 0, 0]))
    ds = sx.explain(Molecules(1), given, 0, sx.Occlusion(imputer="constant"))
    assert ds.relevance_atoms.values.ravel().tolist() == [36 - 25, 36 - 16, 36 - 9]
    np.testing.assert_allclose(ds.conservation_error.values, (11 + 20 + 27 - 36) / 58)
    assert ds.atoms_row_sample.values.tolist() == [0, 0, 0]
    # the mean of the molecule's own atoms, 2, in place of each
    ds = sx.explain(Molecules(1), given, 0, sx.Occlusion(imputer="mean"))
    assert ds.relevance_atoms.values.ravel().tolist() == [36 - 49, 0, 36 - 25]
    together = sx.Occlusion(regions=np.array([[0], [1], [1]]), imputer="constant")
    ds = sx.explain(Molecules(1), given, 0, together)
    assert ds.relevance_atoms.values.ravel().tolist() == [11.0, (36 - 1) / 2, (36 - 1) / 2]


def test_a_program_exported_for_one_batch_size(net, x):
    program = torch.export.export(net, (x,))
    method = sx.Occlusion(window=(3, 4))
    want = sx.explain(net, x, 1, method).relevance.values
    np.testing.assert_allclose(sx.explain(program, x, 1, method).relevance.values, want, rtol=1e-9)


def test_a_model_that_returns_one_number_for_each_sample(x):
    ds = sx.explain(lambda v: v.sum((1, 2, 3)), x, method=sx.Occlusion(imputer="constant"))
    np.testing.assert_allclose(ds.relevance.values, x.numpy(), rtol=1e-9, atol=1e-12)


def test_it_is_a_value():
    labels = np.arange(6).reshape(2, 3)
    one = sx.Occlusion(regions=labels, imputer="blur")
    assert one == sx.Occlusion(regions=labels.copy(), imputer=sx.imputers.Blur())
    assert hash(one) == hash(sx.Occlusion(regions=labels.copy(), imputer="blur"))
    assert one != sx.Occlusion(regions=labels + 1, imputer="blur")
    found = json.loads(sx.Occlusion(window={"row": 2}).to_json())
    assert found["method"] == "occlusion"
    assert found["window"] == [["row", 2]]
    assert found["imputer"]["imputer"] == "mean"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"regions": [0, 1], "window": 2}, "not both"),
        ({"stride": 2}, "window="),
        ({"window": 0}, "window=0"),
        ({"window": {"row": 1.5}}, "positive sizes"),
        ({"imputer": "zero"}, "Known: constant"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_bad_settings_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        sx.Occlusion(**settings)


@pytest.mark.parametrize(
    ("regions", "words"),
    [
        (np.zeros((6, 7), int), "does not fit"),
        (np.full((6, 8), -1), "no region"),
        (xr.DataArray(np.zeros((6, 8), int), dims=("height", "width")), "fits no input"),
    ],
)
def test_regions_that_do_not_fit_are_refused(net, x, regions, words):
    with pytest.raises(ValueError, match=words):
        sx.explain(net, x, 0, sx.Occlusion(regions=regions))


def test_labels_of_other_channels_are_refused():
    given = xr.DataArray(np.ones((1, 2)), coords={"channel": ["C3", "C4"]}, dims=("epoch", "channel"))
    other = xr.DataArray([0, 1], coords={"channel": ["C3", "Cz"]}, dims="channel")
    with pytest.raises(ValueError, match=r"'C4', 'Cz'"):
        sx.explain(nn.Linear(2, 1).double(), given, 0, sx.Occlusion(regions=other))


def test_layers_are_refused(net, x):
    with pytest.raises(ValueError, match="layers"):
        sx.explain(net, x, 0, "occlusion", layers=["body.0"])
