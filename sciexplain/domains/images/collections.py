"""Labelled pictures to study: MNIST digits, CIFAR-10 thumbnails, ImageNet photos."""

from __future__ import annotations

import gzip
import io
import zipfile
from typing import TYPE_CHECKING

import numpy as np

from .pictures import ImageError, Pictures

if TYPE_CHECKING:
    import xarray as xr

CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
"""In the order of the labels 0 to 9."""

PHOTO_CLASSES = {
    22: "bald eagle",
    99: "goose",
    129: "spoonbill",
    243: "bull mastiff",
    251: "dalmatian",
    305: "dung beetle",
    317: "leafhopper",
    438: "beaker",
    455: "bottlecap",
    471: "cannon",
    541: "drum",
    559: "folding chair",
    609: "jeep",
    630: "loafer",
    741: "prayer rug",
    853: "thatch",
    915: "yurt",
    949: "strawberry",
    990: "buckeye",
}
"""ImageNet class -> what it is, of the photos in `imagenet_photos`."""

_PER_DIGIT = 500  # in mnist_5k, one digit after the other
_PER_CLASS = {"train": 5000, "test": 1000}


def mnist(split: str = "all", *, offline: bool = False) -> xr.DataArray:
    """Hand-written digits, 500 of each (LeCun et al. 1998).

    Parameters
    ----------
    split : {"all", "train", "test"}
        The excerpt has no split of its own: here the first 400 of each digit are "train", the others "test".
    offline : bool
        Use the cache and the mirror only.

    Returns
    -------
    DataArray (sample, row, column), uint8
        0 (paper) to 255 (ink); coordinates `label` (sample), int, and `split` (sample). Samples are numbered
        as in the file, so they keep their number in every split.

    Raises
    ------
    ImageError
        Unknown split.
    sciexplain.data.DataError
        The file cannot be obtained; says what was tried and what to do.
    """
    import xarray as xr

    from sciexplain import data

    _one_of(split, ("all", "train", "test"))
    path = next(iter(data.fetch("mnist_5k", offline=offline).values()))
    with gzip.open(path, "rt") as lines:
        table = np.loadtxt(lines, delimiter=",", dtype=np.uint8)
    of_train = np.arange(len(table)) % _PER_DIGIT < 400
    digits = xr.DataArray(
        table[:, :-1].reshape(-1, 28, 28),
        dims=("sample", "row", "column"),
        coords={
            "sample": np.arange(len(table)),
            "label": ("sample", table[:, -1].astype(np.int64)),
            "split": ("sample", np.where(of_train, "train", "test")),
        },
        name="mnist",
    )
    return digits if split == "all" else digits.isel(sample=np.flatnonzero(of_train == (split == "train")))


def cifar10(split: str = "test", per_class: int | None = None, *, offline: bool = False) -> xr.DataArray:
    """Colour thumbnails of ten classes (Krizhevsky 2009), as JPEG copies.

    Parameters
    ----------
    split : {"train", "test"}
        50,000 and 10,000 pictures; decoding takes a tenth of a second per thousand, or two.
    per_class : int, optional
        Only the first of each class.
    offline : bool
        Use the cache and the mirror only.

    Returns
    -------
    DataArray (sample, row, column, color), uint8
        Coordinates `label` (sample), int, `class_name` (sample), and `color`, "red", "green", "blue". One
        class after the other.

    Raises
    ------
    ImageError
        Unknown split, per_class out of range, or Pillow is not installed.
    sciexplain.data.DataError
        The file cannot be obtained: only a mirror has it.
    """
    import xarray as xr

    from sciexplain import data

    try:
        from PIL import Image
    except ImportError as error:
        raise ImageError("CIFAR-10's JPEG files need Pillow: pip install 'sciexplain[images]'") from error
    _one_of(split, tuple(_PER_CLASS))
    most = _PER_CLASS[split]
    count = most if per_class is None else per_class
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= most:
        raise ImageError(f"per_class={per_class!r}, expected an int from 1 to {most} ({split}), or None")
    path = next(iter(data.fetch("cifar10", offline=offline).values()))
    pixels = np.empty((len(CIFAR10_CLASSES), count, 32, 32, 3), np.uint8)
    with zipfile.ZipFile(path) as archive:
        for label, name in enumerate(CIFAR10_CLASSES):
            for number in range(count):
                with Image.open(io.BytesIO(archive.read(f"{split}/{name}/{number:04d}.jpg"))) as picture:
                    pixels[label, number] = np.asarray(picture)
    labels = np.arange(len(CIFAR10_CLASSES)).repeat(count)
    return xr.DataArray(
        pixels.reshape(-1, 32, 32, 3),
        dims=("sample", "row", "column", "color"),
        coords={
            "sample": np.arange(len(labels)),
            "label": ("sample", labels),
            "class_name": ("sample", np.array(CIFAR10_CLASSES)[labels]),
            "color": ["red", "green", "blue"],
        },
        name="cifar10",
    )


def imagenet_photos(*, offline: bool = False) -> tuple[Pictures, np.ndarray]:
    """Twenty colour photos of nineteen ImageNet classes, as foolbox carries them.

    Parameters
    ----------
    offline : bool
        Use the cache and the mirror only.

    Returns
    -------
    pictures : Pictures
        With the class names of `PHOTO_CLASSES` as labels; 512 x 512, one of 683 x 1024.
    labels : ndarray (photo,), int
        Index of the class, 0 to 999.

    Raises
    ------
    sciexplain.data.DataError
        A file cannot be obtained; says what was tried and what to do.
    """
    from sciexplain import data

    files = data.fetch("imagenet_photos", offline=offline)
    labels = np.array([int(path.stem.rsplit("_", 1)[1]) for path in files.values()])
    names = tuple(PHOTO_CLASSES[int(label)] for label in labels)
    return Pictures(tuple(files.values()), tuple(files), {"label": np.array(names)}), labels


def _one_of(split: str, known: tuple[str, ...]) -> None:
    if split not in known:
        raise ImageError(f"split={split!r}, expected one of {', '.join(map(repr, known))}")
