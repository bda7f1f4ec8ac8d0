"""Pictures of arrays, PIL images, files and folders: the same pixels, whatever holds them."""

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image

from sciexplain.domains.images import ImageError, Pictures

from .photos import photos


def color(rows=4, columns=5, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), dtype=np.uint8)


def test_what_holds_a_picture_does_not_matter(tmp_path):
    cat = photos()[1]
    Image.fromarray(cat).save(tmp_path / "cat.png")
    for source in (
        cat,
        Image.fromarray(cat),
        tmp_path / "cat.png",
        str(tmp_path / "cat.png"),
        tmp_path,
        [cat],
    ):
        pictures = Pictures.of(source)
        assert len(pictures) == 1
        np.testing.assert_array_equal(pictures[0], cat)


def test_arrays_of_several_pictures():
    stack = np.stack([color(seed=k) for k in range(6)])
    for source in (stack, torch.from_numpy(stack).permute(0, 3, 1, 2), list(stack)):
        pictures = Pictures.of(source)
        assert len(pictures) == 6
        np.testing.assert_array_equal(np.stack(list(pictures)), stack)
    gray = Pictures.of(stack[..., 0])
    assert (len(gray), gray[0].shape) == (6, (4, 5, 1))
    np.testing.assert_array_equal(gray[2][..., 0], stack[2, ..., 0])
    assert Pictures.of(stack[0, ..., 0])[0].shape == (4, 5, 1)
    np.testing.assert_array_equal(Pictures.of(np.moveaxis(stack[0], -1, 0))[0], stack[0])


def test_a_data_array_says_what_is_what():
    values = np.random.default_rng(1).random((7, 3, 5, 3))
    array = xr.DataArray(values, dims=("color", "column", "sample", "row"))
    pictures = Pictures.of(array)
    assert (len(pictures), pictures[0].shape) == (5, (3, 3, 7))
    np.testing.assert_array_equal(pictures[4], values[:, :, 4, :].transpose(2, 1, 0))
    with pytest.raises(ImageError, match=r"dims out of sample, row, column, color; given \('sample', 'y'\)"):
        Pictures.of(xr.DataArray(np.zeros((2, 2)), dims=("sample", "y")))


def test_files_lie_in_folders_by_class(tmp_path):
    for name, seed in (("cat/b.png", 1), ("cat/a.png", 2), ("dog/a.png", 3)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(color(seed=seed)).save(tmp_path / name)
    (tmp_path / "cat" / "notes.txt").write_text("no picture")
    pictures = Pictures.of(tmp_path)
    assert pictures.names == ("cat/a.png", "cat/b.png", "dog/a.png")
    assert pictures.coords["label"].tolist() == ["cat", "cat", "dog"]
    np.testing.assert_array_equal(pictures.named("dog/a.png"), color(seed=3))
    assert pictures[1:].coords["label"].tolist() == ["cat", "dog"]
    both = Pictures.of([tmp_path / "cat", tmp_path / "dog"])
    assert both.names == ("0", "1", "2")
    assert not both.coords
    with pytest.raises(ImageError, match=r"no picture is called 'x'; there are 'cat/a.png'"):
        pictures.named("x")


def test_a_file_is_upright_and_grey_or_rgb(tmp_path):
    pixels = color(4, 6)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: shown a quarter to the right
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(Pictures.of(tmp_path / "turned.png")[0], np.rot90(pixels, -1))
    Image.fromarray(pixels).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.png")
    assert Pictures.of(tmp_path / "palette.png")[0].shape == (4, 6, 3)
    opaque = np.dstack([pixels, np.full((4, 6), 255, np.uint8)])
    Image.fromarray(opaque).save(tmp_path / "opaque.png")
    np.testing.assert_array_equal(Pictures.of(tmp_path / "opaque.png")[0], pixels)
    deep = np.arange(24, dtype=np.uint16).reshape(4, 6) * 2000
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(Pictures.of(tmp_path / "deep.png")[0][..., 0], deep)


def test_what_cannot_be_read_in_one_way_is_refused(tmp_path):
    clear = np.dstack([color(), np.full((4, 5), 254, np.uint8)])
    frames = [Image.fromarray(color(seed=k)) for k in range(3)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    (tmp_path / "broken.png").write_text("no picture")
    (tmp_path / "empty").mkdir()
    for source, words in (
        (Image.fromarray(clear), "transparent pixels"),
        (tmp_path / "moving.gif", "moving.gif holds 3 frames"),
        (tmp_path / "broken.png", "broken.png is no picture"),
        (tmp_path / "empty", "no pictures below"),
        (tmp_path / "absent", "no file and no folder"),
        ([], "the list is empty"),
        (np.zeros((3, 4, 3)), "in no or in two ways"),
        (np.zeros((2, 3, 5, 3)), "in no or in two ways"),
        (np.zeros((2, 4, 5, 6)), r"shape \(2, 4, 5, 6\)"),
        (np.zeros((4, 5), np.int64), "dtype int64"),
        (np.zeros((0, 5)), "no pictures"),
    ):
        with pytest.raises(ImageError, match=words):
            list(Pictures.of(source))
