"""`sx.images.explain` is `sx.explain` with names: same numbers, dims of pictures, targets by name."""

import numpy as np
import pytest
import torch
import xarray as xr

import sciexplain as sx
from sciexplain.domains.images import ImageError, Preprocess

from .photos import PREPARE, network, photos

CLASSES = ["person", "cat", "cup", "cat"]


@pytest.mark.parametrize("method", [sx.LRP("epsilon_plus"), "gradient_times_input", "sensitivity"])
def test_numbers_are_those_of_the_core(method):
    net, x = network(), PREPARE(photos())
    ds = sx.images.explain(net, photos(), preprocess=PREPARE, method=method, batch_size=2)
    tensor = torch.tensor(np.moveaxis(x.values.astype(np.float64), -1, 1))
    core = sx.explain(net, tensor, method=method)
    assert set(ds) == set(core)
    for name in {"relevance", "input", "message"} & set(core):
        assert ds[name].dims == ("sample", "row", "column", "color")
        np.testing.assert_allclose(ds[name], np.moveaxis(core[name].values, 1, -1), rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(ds.score, core.score, rtol=1e-12)
    np.testing.assert_array_equal(ds.target, net(tensor).argmax(1))


def test_the_record_travels_with_the_dataset(tmp_path):
    ds = sx.images.explain(network(), photos(), preprocess=PREPARE)
    sx.validate(ds)
    assert ds.attrs["domain"] == "images"
    assert Preprocess.from_json(ds.attrs["images_preprocess"]) == PREPARE
    x = PREPARE(photos())
    for key, coordinate in x.coords.items():
        np.testing.assert_array_equal(ds[key], coordinate)
    sx.save(ds, tmp_path / "ds.nc")
    again = sx.load(tmp_path / "ds.nc")
    xr.testing.assert_allclose(
        sx.images.on_original(again, sample=2), sx.images.on_original(ds.relevance, sample=2)
    )
    np.testing.assert_allclose(sx.images.to_picture(again), sx.images.to_picture(x), atol=1e-6)
    picture = sx.images.to_picture(ds.input)
    assert picture.min() >= -1e-6
    assert picture.max() <= 1 + 1e-6


def test_prepared_pictures_and_layouts():
    net, x = network(), PREPARE(photos())
    want = sx.images.explain(net, photos(), preprocess=PREPARE)

    class Last(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, pictures):
            return self.net(pictures.permute(0, 3, 1, 2))

    for found in (
        sx.images.explain(net, x),
        sx.images.explain(net, x.transpose(*sx.images.NCHW)),
        sx.images.explain(Last().eval(), x, layout="nhwc"),
        sx.images.explain(net, want.input),
    ):
        np.testing.assert_allclose(found.relevance, want.relevance, rtol=1e-10, atol=1e-13)
        assert found.attrs["images_preprocess"] == PREPARE.to_json()
    plain = xr.DataArray(x.values, dims=x.dims)
    np.testing.assert_allclose(
        sx.images.explain(net, plain).relevance, want.relevance, rtol=1e-10, atol=1e-13
    )


def test_grey_pictures_have_one_color():
    digits = np.random.default_rng(0).random((5, 28, 28))
    ds = sx.images.explain(network(colors=1), digits)
    assert ds.relevance.shape == (5, 28, 28, 1)
    assert ds.color.values.tolist() == ["gray"]


def test_targets_by_name():
    net, x = network(), PREPARE(photos())
    options = {"classes": CLASSES, "method": "gradient_times_input"}
    ds = sx.images.explain(net, x, "cup", **options)
    assert ds.target.values.tolist() == ["cup"] * 3
    assert ds.output_label.values.tolist() == ["person", "cat (1)", "cup", "cat (3)"]
    named = x.assign_coords(label=("sample", ["person", "cat (3)", "cup"]))
    ds = sx.images.explain(net, named, "label", **options)
    want = ds.output.values[[0, 1, 2], [0, 3, 2]]
    np.testing.assert_array_equal(ds.score, want)
    assert ds.target.values.tolist() == ["person", "cat (3)", "cup"]
    mixed = sx.images.explain(net, x, [0, 3, 2], **options)
    np.testing.assert_array_equal(mixed.score, want)
    contrast = sx.images.explain(net, x, sx.Contrast("cup", "person"), **options)
    np.testing.assert_allclose(contrast.score, ds.output[:, 2] - ds.output[:, 0], rtol=1e-12)
    several = sx.images.explain(net, x, sx.Targets([2, 0]), **options)
    assert several.relevance.dims == ("explained", "sample", "row", "column", "color")
    np.testing.assert_allclose(several.score, ds.output.values[:, [2, 0]].T)


def test_relevance_of_layers_comes_along():
    ds = sx.images.explain(network(), photos(), preprocess=PREPARE, layers=("2",))
    assert ds.relevance_2.shape == (3, 8, 14, 16)


def test_errors():
    net, x = network(), PREPARE(photos())
    for make, words in (
        (lambda: sx.images.explain(net, x, layout="chw"), "layout='chw'"),
        (lambda: sx.images.explain(net, x, preprocess=PREPARE), "have been prepared already"),
        (lambda: sx.images.explain(net, x, "cup"), "names of the outputs are not known"),
        (lambda: sx.images.explain(net, x, "cap", classes=CLASSES), "did you mean 'cup'"),
        (lambda: sx.images.explain(net, x, "label", classes=CLASSES), "needs the coordinate `label`"),
        (lambda: sx.images.explain(net, x, classes="cup"), "one name per output"),
        (lambda: sx.images.explain(net, sx.images.explain(net, x)), "give ds.input"),
        (lambda: sx.images.explain(net, photos()), "pictures differ in size"),
    ):
        with pytest.raises(ImageError, match=words):
            make()
