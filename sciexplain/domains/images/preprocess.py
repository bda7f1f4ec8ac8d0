"""From original pictures to what a network takes, with the way back recorded: where each pixel came from."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from sciexplain.domains.images.pictures import COORDINATES, ImageError, Pictures

__all__ = ["IMAGENET", "NCHW", "CenterCrop", "Crop", "Gray", "Normalize", "Preprocess", "Resize", "load"]

#: Dims in the order of most networks: ``x.transpose(*sx.images.NCHW)``.
NCHW = ("sample", "color", "row", "column")

_INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "box", "lanczos")
_COLORS = {1: ("gray",), 3: ("red", "green", "blue")}


class Axis:
    """One axis of a picture on its way: `start + step k` is the edge of pixel k on the original."""

    def __init__(self, size: int) -> None:
        self.original, self.size = size, size
        self.start, self.step = 0.0, 1.0

    def cut(self, start: int, size: int) -> None:
        """Keep `size` pixels from `start`."""
        self.start += start * self.step
        self.size = size

    def scale(self, size: int) -> None:
        """The same stretch in `size` pixels."""
        self.step *= self.size / size
        self.size = size


class Step:
    """One step of a preprocessing: a value; `apply` changes a picture and notes where its pixels lie."""

    def apply(self, picture: np.ndarray, rows: Axis, columns: Axis) -> np.ndarray:
        """The changed picture (row, column, color).

        Parameters
        ----------
        picture : ndarray (row, column, color)
        rows, columns : Axis
            Changed in place.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Resize(Step):
    """To another size, with anti-aliasing.

    Attributes
    ----------
    size : int or (int, int)
        Of the shorter side, the other one in proportion (rounded down); or rows and columns.
    interpolation : "bilinear", "bicubic", "box", "lanczos" or "nearest"
        As in Pillow, which is what most networks were trained with.
    """

    size: int | tuple[int, int]
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        _check_size(self.size)
        if self.interpolation not in _INTERPOLATIONS:
            raise ImageError(
                f"interpolation={self.interpolation!r}; possible are {', '.join(_INTERPOLATIONS)}"
            )

    def apply(self, picture: np.ndarray, rows: Axis, columns: Axis) -> np.ndarray:
        """The picture in its new size."""
        if isinstance(self.size, tuple):
            height, width = self.size
        else:
            short = min(rows.size, columns.size)
            height, width = int(self.size * rows.size / short), int(self.size * columns.size / short)
        if (height, width) == (rows.size, columns.size):
            return picture
        rows.scale(height)
        columns.scale(width)
        return _resized(picture, height, width, self.interpolation)


@dataclass(frozen=True)
class CenterCrop(Step):
    """The middle of the picture.

    Attributes
    ----------
    size : int or (int, int), or float
        Pixels of a square, or rows and columns; a float is the share of the shorter side, for a square.
    """

    size: int | float | tuple[int, int]

    def __post_init__(self) -> None:
        if isinstance(self.size, float):
            if not 0 < self.size <= 1:
                raise ImageError(f"size={self.size!r}; a share of the shorter side lies in (0, 1]")
        else:
            _check_size(self.size)

    def apply(self, picture: np.ndarray, rows: Axis, columns: Axis) -> np.ndarray:
        """The middle."""
        if isinstance(self.size, tuple):
            height, width = self.size
        elif isinstance(self.size, float):
            height = width = max(1, int(self.size * min(rows.size, columns.size)))
        else:
            height = width = self.size
        top, left = (rows.size - height + 1) // 2, (columns.size - width + 1) // 2
        return Crop(top, left, height, width).apply(picture, rows, columns)


@dataclass(frozen=True)
class Crop(Step):
    """A rectangle of the picture.

    Attributes
    ----------
    top, left, height, width : int
        In pixels of the picture as the steps before leave it.
    """

    top: int
    left: int
    height: int
    width: int

    def __post_init__(self) -> None:
        _check_size((self.height, self.width))

    def apply(self, picture: np.ndarray, rows: Axis, columns: Axis) -> np.ndarray:
        """The rectangle."""
        bottom, right = self.top + self.height, self.left + self.width
        if self.top < 0 or self.left < 0 or bottom > rows.size or right > columns.size:
            raise ImageError(
                f"a crop of {self.height} x {self.width} does not fit into {rows.size} x {columns.size};"
                " resize first"
            )
        rows.cut(self.top, self.height)
        columns.cut(self.left, self.width)
        return picture[self.top : bottom, self.left : right]


@dataclass(frozen=True)
class Gray(Step):
    """From red, green and blue to one luminance (ITU-R 601: 0.299 R + 0.587 G + 0.114 B)."""

    WEIGHTS: ClassVar[tuple[float, float, float]] = (0.299, 0.587, 0.114)

    def apply(self, picture: np.ndarray, rows: Axis, columns: Axis) -> np.ndarray:
        """One color, as float: black 0, white 1."""
        if picture.shape[-1] == 1:
            return picture
        if picture.shape[-1] != 3:
            raise ImageError(f"Gray needs 3 colors, the picture has {picture.shape[-1]}")
        return _unit(picture) @ np.array(self.WEIGHTS, dtype=np.float32)[:, None]


@dataclass(frozen=True)
class Normalize(Step):
    """(value - mean) / std of each color, where black is 0 and white is 1; always the last step.

    Attributes
    ----------
    mean, std : tuple of float, one per color
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            value = getattr(self, name)
            values = (value,) if isinstance(value, int | float) else value
            object.__setattr__(self, name, tuple(float(v) for v in values))
        if len(self.mean) != len(self.std) or not all(s > 0 for s in self.std):
            raise ImageError(f"mean={self.mean}, std={self.std}; expected one of each per color, std above 0")

    def apply(self, picture: np.ndarray, rows: Axis, columns: Axis) -> np.ndarray:
        """Normalised, in float32."""
        if picture.shape[-1] != len(self.mean):
            raise ImageError(
                f"Normalize has {len(self.mean)} colors, the picture {picture.shape[-1]};"
                " networks for gray pictures: Gray() first"
            )
        unit = _unit(picture)
        return (unit - np.asarray(self.mean, unit.dtype)) / np.asarray(self.std, unit.dtype)


_STEPS: dict[str, Callable[..., Step]] = {
    step.__name__: step for step in (Resize, CenterCrop, Crop, Gray, Normalize)
}


@dataclass(frozen=True)
class Preprocess:
    """Steps from pictures to a network's input, as a value; calling it applies them.

    Without steps, 8 and 16 bit pictures become floats from 0 to 1, and floats stay as they are.

    Attributes
    ----------
    steps : tuple of Resize, CenterCrop, Crop, Gray, Normalize

    Examples
    --------
    >>> import numpy as np
    >>> prepare = Preprocess((Resize(4), CenterCrop(4), Normalize(0.5, 0.25)))
    >>> x = prepare(np.full((8, 16), 255, np.uint8))
    >>> x.dims, x.shape, float(x.max())
    (('sample', 'row', 'column', 'color'), (1, 4, 4, 1), 2.0)
    >>> Preprocess.from_json(prepare.to_json()) == prepare
    True
    """

    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        steps = (self.steps,) if isinstance(self.steps, Step) else tuple(self.steps)
        object.__setattr__(self, "steps", steps)
        for k, step in enumerate(steps):
            if not isinstance(step, Step):
                raise ImageError(f"steps are {', '.join(_STEPS)}; got {step!r}")
            if isinstance(step, Normalize) and k + 1 < len(steps):
                raise ImageError("Normalize is the last step: sizes and colors change before it")

    def __call__(self, source: Any) -> xr.DataArray:
        """Apply the steps to every picture.

        Parameters
        ----------
        source : Pictures, or anything that `Pictures.of` takes

        Returns
        -------
        DataArray (sample, row, column, color), float32 (float64 where the pictures are)
            Coordinates: `picture` (name), `color`, those of a DataArray's samples, `label` where folders name
            classes, and those that say where the pixels lie on the original; attributes: the steps.

        Raises
        ------
        ImageError
            A step does not fit, or pictures differ in size afterwards.
        """
        pictures = Pictures.of(source)
        arrays, records = [], []
        for name, picture in zip(pictures.names, pictures):
            rows, columns = Axis(picture.shape[0]), Axis(picture.shape[1])
            try:
                for step in self.steps:
                    picture = step.apply(picture, rows, columns)
            except ImageError as error:
                raise ImageError(f"picture {name!r}: {error}") from None
            arrays.append(_unit(picture))
            records.append(
                (rows.original, columns.original, rows.start, rows.step, columns.start, columns.step)
            )
        shapes = {array.shape: name for name, array in zip(pictures.names, arrays)}
        if len(shapes) > 1:
            listed = ", ".join(f"{shape} as {name!r}" for shape, name in list(shapes.items())[:5])
            raise ImageError(
                f"pictures differ in size (row, column, color): {listed}; end with Resize((rows, columns))"
                " or CenterCrop, and give all gray or all in color"
            )
        stack = np.stack(arrays)
        n, height, width, depth = stack.shape
        own = pictures.colors if pictures.colors is not None and len(pictures.colors) == depth else None
        coords: dict[str, Any] = {
            "sample": np.arange(n),
            **{key: ("sample", values) for key, values in pictures.coords.items()},
            "row": np.arange(height),
            "column": np.arange(width),
            "color": np.array(own or _COLORS.get(depth, tuple(map(str, range(depth))))),
            "picture": ("sample", np.array(pictures.names)),
        }
        coords |= {key: ("sample", np.array(column)) for key, column in zip(COORDINATES, zip(*records))}
        array = xr.DataArray(stack, coords, ("sample", "row", "column", "color"), name="input")
        array.attrs = {"images_preprocess": self.to_json()}
        last = self.steps[-1] if self.steps else None
        if isinstance(last, Normalize):
            array.attrs["images_values"] = json.dumps(asdict(last))
        return array

    def to_json(self) -> str:
        """The steps as JSON, for attributes and files."""
        return json.dumps([{"step": type(step).__name__, **_settings(step)} for step in self.steps])

    @staticmethod
    def from_json(text: str) -> Preprocess:
        """Back from `to_json`.

        Raises
        ------
        ImageError
            A step that is not known.
        """
        steps = []
        for record in json.loads(text):
            kind = record.pop("step", None)
            if kind not in _STEPS:
                raise ImageError(f"step {kind!r} is not known; there are {', '.join(_STEPS)}")
            steps.append(
                _STEPS[kind](**{k: tuple(v) if isinstance(v, list) else v for k, v in record.items()})
            )
        return Preprocess(tuple(steps))


def load(source: Any, preprocess: Preprocess | None = None) -> xr.DataArray:
    """Pictures as a labelled array, ready to be explained.

    Parameters
    ----------
    source : array, Tensor, DataArray, PIL image, path of a file or folder, or a sequence of them
        See `Pictures.of`.
    preprocess : Preprocess, optional
        By default sizes stay, and 8 and 16 bit pictures become floats from 0 to 1.

    Returns
    -------
    DataArray (sample, row, column, color)
        Networks that take (sample, color, row, column) get ``x.transpose(*sx.images.NCHW)``, which
        `sx.images.explain` does by itself.

    Raises
    ------
    ImageError
    """
    return (preprocess or Preprocess())(source)


def _settings(step: Step) -> dict[str, Any]:
    return {field.name: getattr(step, field.name) for field in fields(step)}  # type: ignore[arg-type]


def _unit(picture: np.ndarray) -> np.ndarray:
    """Integers as float32 from 0 (black) to 1 (white); floats as they are, half precision widened."""
    if picture.dtype.kind == "u":
        return picture.astype(np.float32) / np.float32(np.iinfo(picture.dtype).max)
    return picture.astype(np.float64 if picture.dtype == np.float64 else np.float32, copy=False)


def _resized(picture: np.ndarray, height: int, width: int, interpolation: str) -> np.ndarray:
    """By Pillow: 8 bit pictures in 8 bits, as networks saw them in training, others by color in float32."""
    from PIL import Image

    how = Image.Resampling[interpolation.upper()]
    if picture.dtype == np.uint8 and picture.shape[-1] in (1, 3):
        image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
        return np.asarray(image.resize((width, height), how)).reshape(height, width, -1)
    unit = np.moveaxis(_unit(picture).astype(np.float32), -1, 0)
    layers = [np.asarray(Image.fromarray(layer).resize((width, height), how)) for layer in unit]
    return np.stack(layers, axis=-1)


def _check_size(size: Any) -> None:
    sides = size if isinstance(size, tuple) else (size,)
    if len(sides) > 2 or not all(isinstance(s, int) and not isinstance(s, bool) and s > 0 for s in sides):
        raise ImageError(f"size={size!r}; expected a positive number of pixels, or (rows, columns)")


#: What the ImageNet networks of torchvision take.
IMAGENET = Preprocess((Resize(256), CenterCrop(224), Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))))
