import numpy as np
import pytest
import xarray as xr

import sciexplain.relevance as rel
from sciexplain.relevance.schema import one_relevance

from .helpers import make_dataset, no_computes


def arrays() -> dict[str, xr.DataArray]:
    r = xr.DataArray(np.ones((2, 3)), dims=("sample", "dim_1"))
    return {
        "relevance": r,
        "score": xr.DataArray([3.0, 3.0], dims="sample"),
        "target": xr.DataArray([0, 1], dims="sample"),
    }


def test_a_dataset_has_what_was_given_and_validates():
    ds = make_dataset()
    rel.validate(ds)
    assert set(ds) == {"relevance", "input", "message", "score", "target", "conservation_error"}
    assert ds.relevance.dtype == np.float32
    assert ds.attrs["composite"] == '{"linear": "Epsilon(1e-06)"}'
    assert ds.relevance.attrs["method"] == "lrp"


@pytest.mark.parametrize("dtype", [float, int])
def test_the_output_named_like_its_dim_is_checked_although_a_coordinate(dtype):
    given = arrays()
    output = xr.DataArray(np.zeros((2, 3), dtype), dims=("sample", "output"))
    if dtype is float:
        ds = rel.relevance_dataset(**given, output=output)
        assert ds["output"].dims == ("sample", "output")
    else:
        with pytest.raises(rel.SchemaError, match="`output` has dtype int64, expected float"):
            rel.relevance_dataset(**given, output=output)


def test_given_arrays_are_not_changed():
    given = arrays()
    rel.relevance_dataset(**given, attrs={"method": "lrp"})
    assert all(array.attrs == {} and array.name is None for array in given.values())
    ds = make_dataset()
    before = dict(ds.relevance.attrs)
    one_relevance(ds.assign_attrs(more="x")).attrs["other"] = "y"
    assert ds.relevance.attrs == before


def test_several_inputs_become_one_variable_each():
    given = arrays()
    r = given.pop("relevance")
    wide = r.rename(dim_1="dim_2")
    ds = rel.relevance_dataset({"left": r, "right": wide}, **given, input={"left": r}, message={"left": r})
    assert ds.relevance_left.dims == ("sample", "dim_1")
    assert ds.relevance_right.dims == ("sample", "dim_2")
    with pytest.raises(rel.SchemaError, match=r"relevance_left.*relevance_right.*choose one"):
        one_relevance(ds)


def test_ragged_samples_are_marked_by_their_coordinate():
    given = arrays()
    atoms = xr.DataArray(np.ones(5), dims="atom", coords={"molecule_index": ("atom", [0, 0, 0, 1, 1])})
    with pytest.raises(rel.SchemaError, match="instance_dimension='sample'"):
        rel.relevance_dataset(atoms, score=given["score"], target=given["target"])
    atoms.molecule_index.attrs["instance_dimension"] = "sample"
    rel.relevance_dataset(atoms, score=given["score"], target=given["target"])


def test_all_problems_are_listed_at_once():
    ds = make_dataset()
    broken = (
        ds.drop_vars(["score", "input"])
        .assign(relevance=ds.relevance.astype(int), output=("epoch", np.zeros(4)))
        .assign_attrs(rule={"a": 1})
    )
    with pytest.raises(rel.SchemaError) as caught:
        rel.validate(broken)
    message = str(caught.value)
    for part in (
        "4 problems",
        "no variable `score`",
        "`relevance` has dtype int64, expected float",
        "`message` without `input`",
        "attribute 'rule' of dataset is a dict",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ds: ds.assign(score=("channel", np.zeros(5))), "first must be the sample dim 'channel'"),
        (lambda ds: ds.assign(score=ds.relevance), "`score` has dims .*expected one sample dim"),
        (lambda ds: ds.assign(score=1.0), "`score` has dims \\(\\), expected one"),
        (
            lambda ds: ds.assign(message=ds.message.mean("time")),
            "`message` has dims .* expected those of `relevance`",
        ),
        (
            lambda ds: ds.assign(output=(("epoch", "class"), np.zeros((4, 2)))),
            "expected \\('epoch', 'output'\\)",
        ),
        (lambda ds: ds.assign(absorbed=(("operation", "epoch"), np.zeros((2, 4)))), "`absorbed` has dims"),
        (lambda ds: ds.assign({"relevance_a/b": ds.relevance}), "slash"),
        (lambda ds: ds.assign(message_left=ds.message), "belongs to `relevance_left`, which is missing"),
        (lambda ds: ds.stack(point=("channel", "time")), "MultiIndex.*reset_index"),
        (lambda ds: ds.relevance, "expected an xarray.Dataset, got DataArray"),
    ],
)
def test_each_problem_is_named(change, message):
    with pytest.raises(rel.SchemaError, match=message):
        rel.validate(change(make_dataset()))


def test_arrays_that_do_not_fit_together_are_refused_rather_than_cut():
    given = arrays()
    given["relevance"] = given["relevance"].assign_coords(sample=[0, 1])
    given["score"] = given["score"].assign_coords(sample=[1, 2])
    with pytest.raises(rel.SchemaError, match="do not fit together"):
        rel.relevance_dataset(**given)


def test_validating_computes_nothing():
    with no_computes():
        rel.validate(make_dataset().chunk({"epoch": 1}))
