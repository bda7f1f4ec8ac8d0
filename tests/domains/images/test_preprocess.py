"""Preprocessing: values as by hand, and where each pixel comes from, proved on pictures of coordinates."""

import numpy as np
import pytest
from PIL import Image

import sciexplain as sx
from sciexplain.domains.images import (
    IMAGENET,
    NCHW,
    CenterCrop,
    Crop,
    Gray,
    ImageError,
    Normalize,
    Preprocess,
    Resize,
    load,
    to_picture,
)
from sciexplain.domains.images.geometry import placements

from .photos import PREPARE, photos


def test_as_by_hand_on_a_photo():
    cat = photos()[1]  # 300 x 451
    x = IMAGENET(cat)
    small = Image.fromarray(cat).resize((int(256 * 451 / 300), 256), Image.Resampling.BILINEAR)
    left = (small.width - 224 + 1) // 2
    cut = np.asarray(small, dtype=np.float64)[16:240, left : left + 224] / 255
    want = (cut - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert x.dims == ("sample", "row", "column", "color")
    assert x.dtype == np.float32
    np.testing.assert_allclose(x.values[0], want, atol=2e-6)
    np.testing.assert_allclose(to_picture(x).values[0], cut, atol=1e-6)
    assert x.transpose(*NCHW).shape == (1, 3, 224, 224)


@pytest.mark.parametrize(
    "steps",
    [
        (Resize(24),),
        (Resize((20, 30), "bicubic"),),
        (CenterCrop(0.8), Resize((16, 16), "box")),  # whole pixels only: a factor of 3
        (Crop(10, 20, 48, 40), Resize(16), CenterCrop(12)),
        (Resize(40, "lanczos"), CenterCrop((32, 36)), Resize((16, 18))),
    ],
)
def test_the_record_says_where_pixels_come_from(steps):
    """On a picture whose values are its own coordinates, each pixel holds the centre of its footprint."""
    rows, columns = np.meshgrid(np.arange(60.0) + 0.5, np.arange(90.0) + 0.5, indexing="ij")
    x = Preprocess(steps)(np.dstack([rows, columns, rows]))
    (place,) = placements(x)
    assert (place.rows, place.columns) == (60, 90)
    inner = slice(3, -3)  # filters bend at the border of the picture
    r = place.row_start + (x.row.values + 0.5) * place.row_step
    c = place.column_start + (x.column.values + 0.5) * place.column_step
    found = x.values[0]
    np.testing.assert_allclose(
        found[inner, inner, 0], np.broadcast_to(r[inner, None], found[inner, inner, 0].shape), atol=2e-2
    )
    np.testing.assert_allclose(
        found[inner, inner, 1], np.broadcast_to(c[inner], found[inner, inner, 1].shape), atol=2e-2
    )


def test_integers_go_from_black_to_white_and_floats_stay():
    assert load(np.array([[0, 255]], np.uint8)).values.ravel().tolist() == [0, 1]
    assert load(np.array([[0, 65535]], np.uint16)).values.ravel().tolist() == [0, 1]
    assert load(np.array([[False, True]])).values.ravel().tolist() == [0, 1]
    wide = load(np.array([[-3.5, 200.0]]))
    assert (wide.values.ravel().tolist(), wide.dtype) == ([-3.5, 200.0], np.float64)
    deep = np.full((6, 6), 32768, np.uint16)
    np.testing.assert_allclose(load(deep, Preprocess((Resize(3),))).values, 32768 / 65535, rtol=1e-6)


def test_grey_is_the_luminance():
    picture = photos()[0][:4, :5]
    want = picture[..., 0] * 0.299 + picture[..., 1] * 0.587 + picture[..., 2] * 0.114
    x = load(picture, Preprocess((Gray(), Normalize(0.5, 0.25))))
    assert x.color.values.tolist() == ["gray"]
    np.testing.assert_allclose(x.values[0, ..., 0], (want / 255 - 0.5) / 0.25, atol=1e-5)
    np.testing.assert_allclose(to_picture(x).values[0, ..., 0], want / 255, atol=1e-6)


def test_names_labels_and_colors_are_coordinates(tmp_path):
    for name in ("cat/b.png", "dog/a.png"):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(photos()[0][:8, :8]).save(tmp_path / name)
    x = load(tmp_path)
    assert x.picture.values.tolist() == ["cat/b.png", "dog/a.png"]
    assert x.label.values.tolist() == ["cat", "dog"]
    assert x.color.values.tolist() == ["red", "green", "blue"]
    assert load(np.zeros((2, 2))).color.values.tolist() == ["gray"]


def test_what_an_array_knows_of_its_samples_stays():
    array = sx.images.load(photos()[:1], PREPARE).isel(sample=[0, 0, 0])
    array = array.assign_coords(sample=[7, 3, 5], label=("sample", [1, 0, 2]), color=["a", "b", "c"])
    x = load(array, Preprocess((Resize((8, 9)),)))
    assert x.sample.values.tolist() == [7, 3, 5]
    assert x.sel(sample=5).label.item() == 2
    assert x.color.values.tolist() == ["a", "b", "c"]
    assert x.original_rows.values.tolist() == [32] * 3  # its own original, not the photo
    both = load([x.isel(sample=[0, 1]), x.isel(sample=[2])])
    assert (both.sample.values.tolist(), both.label.values.tolist()) == ([7, 3, 5], [1, 0, 2])
    twice = load([x, x])
    assert (twice.sample.values.tolist(), twice.label.values.tolist()) == (list(range(6)), [1, 0, 2] * 2)
    assert load(array, Preprocess((Gray(),))).color.values.tolist() == ["gray"]


def test_a_preprocessing_is_a_value():
    assert Preprocess.from_json(PREPARE.to_json()) == PREPARE
    assert hash(Preprocess.from_json(IMAGENET.to_json())) == hash(IMAGENET)
    assert Preprocess(Resize(4)) == Preprocess((Resize(4),))
    assert Preprocess((Gray(), Crop(0, 1, 2, 3))) != Preprocess((Gray(), Crop(1, 1, 2, 3)))
    again = Preprocess.from_json(PREPARE(photos()[0]).attrs["images_preprocess"])
    assert again == PREPARE


def test_what_does_not_fit_is_named():
    cat = photos()[1]
    for make, words in (
        (lambda: Resize(0), "size=0"),
        (lambda: Resize((2, True)), "size="),
        (lambda: Resize(4, "cubic"), "interpolation='cubic'; possible are nearest"),
        (lambda: CenterCrop(1.5), r"share of the shorter side lies in \(0, 1\]"),
        (lambda: Normalize((0.1, 0.2), (1.0,)), "one of each per color"),
        (lambda: Normalize(0.0, 0.0), "std above 0"),
        (lambda: Preprocess((Normalize(0, 1), Resize(3))), "Normalize is the last step"),
        (lambda: Preprocess(("resize",)), "got 'resize'"),
        (lambda: Preprocess.from_json('[{"step": "Blur"}]'), "step 'Blur' is not known"),
        (
            lambda: load([cat], Preprocess((CenterCrop(400),))),
            "picture '0': a crop of 400 x 400 .* 300 x 451",
        ),
        (lambda: load(cat[..., 0], IMAGENET), "Normalize has 3 colors, the picture 1"),
        (lambda: load(np.zeros((4, 4, 1)), Preprocess((Gray(), Normalize((0, 0), (1, 1))))), "2 colors"),
        (lambda: load(photos()), r"\(512, 512, 3\) as '0', \(300, 451, 3\) as '1'"),
    ):
        with pytest.raises(ImageError, match=words):
            make()
