import json

import numpy as np
import pytest
import xarray as xr

import sciexplain.relevance as rel
from sciexplain.relevance.provenance import plain

from .helpers import make_dataset


def test_attributes_and_operations_survive_a_chain_of_ours():
    ds = make_dataset()
    bands = rel.band_relevance(ds, {"low": (0, 13)})
    pooled = rel.pool(bands, rel.regions({"a": ["E0", "E1"]}, along=ds.channel))
    means = rel.class_means(pooled, by=ds.target)
    for result in (bands, pooled, means, means["mean"]):
        assert result.attrs["method"] == "lrp"
        assert result.attrs["created"] == "2026-01-01T00:00:00Z"
    steps = rel.history(means)
    assert [step["operation"] for step in steps] == ["frequency_relevance", "pool", "pool", "class_means"]
    assert steps[2] == {"operation": "pool", "along": "channel", "name": "region", "regions": ["a", "rest"]}


def test_a_stamp_changes_neither_source_nor_result():
    source = xr.DataArray([1.0], dims="x", attrs={"method": "lrp", "units": "uV"})
    result = xr.DataArray([2.0], dims="x", attrs={"own": 1})
    stamped = rel.stamp(result, source, "double", factor=np.float32(2))
    assert result.attrs == {"own": 1}
    assert source.attrs == {"method": "lrp", "units": "uV"}
    assert stamped.attrs.pop("operations") == '[{"operation": "double", "factor": 2.0}]'
    assert stamped.attrs == {"own": 1, "method": "lrp", "units": "uV"}
    assert rel.stamp(result, source, note={"a": (1, 2)}).attrs["note"] == '{"a": [1, 2]}'


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(3), 3),
        (np.array([1.5, 2.0]), [1.5, 2.0]),
        (("a", np.float64(1)), ["a", 1.0]),
        ([[1], [2]], "[[1], [2]]"),
        (None, "null"),
        ({"gain": np.arange(2)}, '{"gain": [0, 1]}'),
    ],
)
def test_plain_values(value, expected):
    made = plain(value)
    assert made == expected
    assert type(made) is type(expected)
    json.dumps(made)


def test_a_value_without_a_json_form_is_refused_by_name():
    with pytest.raises(TypeError, match="writable as JSON, got <object"):
        plain(object())
