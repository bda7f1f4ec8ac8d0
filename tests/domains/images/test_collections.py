"""mnist, cifar10, imagenet_photos: what is in them, from the files themselves, and refusals."""

from __future__ import annotations

import gzip
import io
import zipfile

import numpy as np
import pytest

from sciexplain import data
from sciexplain.domains.images.collections import (
    CIFAR10_CLASSES,
    PHOTO_CLASSES,
    cifar10,
    imagenet_photos,
    mnist,
)
from sciexplain.domains.images.pictures import ImageError


def have(name: str) -> None:
    if not data.available(name):
        pytest.skip(f"{name} is not on this disk")


def test_mnist_is_the_file():
    have("mnist_5k")
    path = next(iter(data.fetch("mnist_5k", offline=True).values()))
    line = gzip.decompress(path.read_bytes()).splitlines()[2345]
    numbers = [int(value) for value in line.split(b",")]
    digits = mnist(offline=True)
    assert digits.dims == ("sample", "row", "column")
    assert digits.dtype == np.uint8
    one = digits.sel(sample=2345)
    assert int(one.label) == numbers[-1]
    assert one.values[3, 14] == numbers[3 * 28 + 14]
    assert one.values.ravel().tolist() == numbers[:-1]


def test_mnist_splits_share_no_sample():
    have("mnist_5k")
    train, test = mnist("train", offline=True), mnist("test", offline=True)
    assert np.bincount(train.label).tolist() == [400] * 10
    assert np.bincount(test.label).tolist() == [100] * 10
    assert set(train.sample.values) | set(test.sample.values) == set(range(5000))
    assert set(test.split.values) == {"test"}


@pytest.mark.mirror
def test_cifar10_is_the_archive():
    have("cifar10")
    pillow = pytest.importorskip("PIL.Image")
    pictures = cifar10("test", 3, offline=True)
    assert dict(pictures.sizes) == {"sample": 30, "row": 32, "column": 32, "color": 3}
    assert pictures.class_name.values.tolist() == [name for name in CIFAR10_CLASSES for _ in range(3)]
    assert pictures.label.values.tolist() == [label for label in range(10) for _ in range(3)]
    with zipfile.ZipFile(next(iter(data.fetch("cifar10", offline=True).values()))) as archive:
        frog = pillow.open(io.BytesIO(archive.read("test/frog/0002.jpg")))
    pixel = frog.getpixel((5, 20))  # column, row
    assert tuple(pictures.isel(sample=20).values[20, 5]) == pixel


def test_photos_have_their_labels():
    have("imagenet_photos")
    pictures, labels = imagenet_photos(offline=True)
    assert len(pictures) == len(labels) == 20
    assert pictures.labels[4] == "strawberry"
    assert labels[4] == 949
    assert set(labels) == set(PHOTO_CLASSES)
    red, green, blue = pictures[4].reshape(-1, 3).mean(0)
    assert red > max(green, blue)  # strawberries
    assert pictures[10].shape == (683, 1024, 3)


def test_refusals():
    with pytest.raises(ImageError, match="split='valid'"):
        mnist("valid")
    with pytest.raises(ImageError, match="split='all'"):
        cifar10("all")
    for wrong in (0, 1001, True, 2.0):
        with pytest.raises(ImageError, match="1 to 1000"):
            cifar10("test", wrong)
