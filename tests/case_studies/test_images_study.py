"""The study of images: mosaics and surrounds have their evidence where the masks say; measures by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

STUDY = Path(__file__).resolve().parents[2] / "case_studies" / "decisions_on_images"


@pytest.fixture(autouse=True)
def images_folder(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(STUDY))
    yield
    sys.modules.pop("study", None)


def coloured(n: int) -> list[np.ndarray]:
    """Pictures of one colour each."""
    return [np.full((130, 120 + 10 * k, 3), 20 * k, np.uint8) for k in range(n)]


def test_each_tile_holds_the_photo_of_its_class():
    import image_mosaics

    labels = np.arange(6) * 100
    pixels, tiles = image_mosaics.photo_mosaics(coloured(6), labels, 5, seed=1)
    assert pixels.shape == (5, 224, 224, 3)
    for number in range(4):
        mask = image_mosaics.tile_mask(np.full(5, number)).values
        assert mask.reshape(5, -1).sum(1).tolist() == [112 * 112] * 5
        for picture, inside, tile in zip(pixels, mask, tiles[:, number]):
            assert set(picture[inside].ravel()) == {20 * (tile // 100)}
    assert all(len(set(row)) == 4 for row in tiles)


@pytest.mark.parametrize(("share", "alike"), [(0.0, 0), (1.0, 40)])
def test_the_middle_has_the_label_and_the_surround_another(share, alike):
    import image_mosaics

    labels = np.arange(40) % 4
    values = np.broadcast_to((labels * 50)[:, None, None, None], (40, 32, 32, 3)).astype(np.uint8)
    pictures = xr.DataArray(
        values, dims=("sample", "row", "column", "color"), coords={"label": ("sample", labels)}
    )
    x = image_mosaics.surrounded(pictures, share)
    shade = (x.isel(color=0) + 1) * 127.5 / 50
    mask = image_mosaics.middle_mask()
    assert int(mask.sum()) == 256
    inside, outside = (shade.where(m).mean(("row", "column")).round(3).values for m in (mask, ~mask))
    np.testing.assert_allclose(inside, labels, atol=1e-3)
    np.testing.assert_allclose(outside, x["around"], atol=1e-3)
    assert (x["around"].values == labels).sum() == alike


def test_a_digit_slides_and_keeps_its_edge():
    import image_measures

    x = xr.DataArray(np.arange(4.0).reshape(1, 1, 1, 4), dims=("sample", "color", "row", "column"))
    path = image_measures.sliding(x, 1)
    assert path.values[:, 0, 0, 0].tolist() == [[1, 2, 3, 3], [0, 1, 2, 3], [0, 0, 1, 2]]


def test_what_adds_up_is_said_so():
    import image_measures

    import sciexplain as sx

    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[1.0, 2.0, -1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]))
    x = xr.DataArray(np.array([1.0, 2.0, 3.0, 1.0], np.float32).reshape(1, 1, 2, 2), dims=sx.images.NCHW)
    found = image_measures.explained(net, x, {"g": sx.GradientTimesInput(), "s": sx.Sensitivity()})
    table = image_measures.additivity(found)
    assert table.loc["g", "score"] == pytest.approx(2.0)
    assert table.loc["g", "sum of relevance"] == pytest.approx(2.0)
    assert table.loc["g", "negative share"] == pytest.approx(3 / 8)
    assert table.loc["g", "unaccounted"] == pytest.approx(0.0, abs=1e-6)
    assert table.loc["s", "sum of relevance"] == pytest.approx(6.0)
    half = xr.DataArray([[True, True], [False, False]], dims=("row", "column"))
    assert image_measures.localisation(found, half).loc["g", "mass"] == pytest.approx(1.0)
    assert image_measures.localisation(found, half).loc["s", "mass"] == pytest.approx(5 / 6)


def test_the_kept_checkpoint_is_the_recipe_of_the_study():
    import image_networks

    net, about = image_networks.thumbnail_net()
    assert about["test_accuracy"] >= 0.75
    assert about["cpu_minutes"] <= 20
    for name, value in vars(image_networks.THUMBNAILS).items():
        assert about[name] == value, name
    assert image_networks.same_weights(net, net) == 0
    with torch.no_grad():
        net.classifier.bias[3] += 0.5
    assert image_networks.same_weights(net, image_networks.thumbnail_net()[0]) == pytest.approx(0.5)
