"""Original pictures: arrays, PIL images, files and folders as one sequence of arrays, read when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["COORDINATES", "ImageError", "Pictures"]

#: What a folder is searched for.
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

#: Coordinates of the samples that say where their pixels lie on the original picture.
COORDINATES = ("original_rows", "original_columns", "row_start", "row_step", "column_start", "column_step")

# Modes of Pillow whose array holds the values as they are; all others are converted first.
_AS_THEY_ARE = {"L", "RGB", "F", "I;16", "I;16B"}


class ImageError(ValueError):
    """Pictures, sizes or settings that cannot be used: what was given and what is expected."""


@dataclass(frozen=True, eq=False)
class Pictures(Sequence[np.ndarray]):
    """Original pictures of any sizes, each an array (row, column, color); files are read when asked for.

    Attributes
    ----------
    sources : tuple of Path or ndarray
    names : tuple of str
        File names below the folder, or "0", "1", ...
    coords : dict, name -> array, one value per picture
        What is known of them: the coordinates of a DataArray's samples; `label`, the folder that a file lies
        in, where all lie in folders.
    colors : tuple of str, or None
        Their names, where a DataArray has them.

    Examples
    --------
    >>> import numpy as np
    >>> two = Pictures.of([np.zeros((4, 6, 3), np.uint8), np.zeros((5, 5), np.uint8)])
    >>> len(two), two[0].shape, two[1].shape
    (2, (4, 6, 3), (5, 5, 1))
    """

    sources: tuple[Path | np.ndarray, ...]
    names: tuple[str, ...]
    coords: Mapping[str, np.ndarray] = field(default_factory=dict)
    colors: tuple[str, ...] | None = None

    @staticmethod
    def of(source: Any) -> Pictures:
        """Pictures of whatever holds them.

        Parameters
        ----------
        source : Pictures, array, Tensor, DataArray, PIL image, path of a file or folder, or a list of them
            Arrays are (row, column), (row, column, color) or, several at once, (sample, row, column),
            (sample, row, column, color) and (sample, color, row, column), with 1 or 3 colors; a DataArray
            says by its dims what is what, with any number of colors. 8 and 16 bit integers go from black to
            white; floats are values as they are. A folder is searched for pictures; folders in it name
            classes.

        Raises
        ------
        ImageError
            No pictures, dims that can be read in two ways, transparent pixels, several frames in a file.
        """
        if isinstance(source, Pictures):
            return source
        if isinstance(source, str | Path):
            return _files(Path(source))
        if isinstance(source, list | tuple):
            parts = [Pictures.of(item) for item in source]
            if not parts:
                raise ImageError("no pictures: the list is empty")
            names = [name for part in parts for name in part.names]
            if len(set(names)) < len(names):  # arrays count from 0, files of two folders may be namesakes
                names = [str(k) for k in range(len(names))]
            known = [key for key in parts[0].coords if all(key in part.coords for part in parts)]
            coords = {key: np.concatenate([part.coords[key] for part in parts]) for key in known}
            if "sample" in coords and len(np.unique(coords["sample"])) < len(names):
                del coords["sample"]
            colors = {part.colors for part in parts}
            return Pictures(
                tuple(item for part in parts for item in part.sources),
                tuple(names),
                coords,
                colors.pop() if len(colors) == 1 else None,
            )
        if _is_pil(source):
            return Pictures((_from_pil(source, "the image"),), ("0",))
        if getattr(source, "dims", None):
            return _by_name(source)
        arrays = _arrays(source)
        return Pictures(tuple(arrays), tuple(str(k) for k in range(len(arrays))))

    @property
    def labels(self) -> tuple[Any, ...] | None:
        """The coordinate `label`, None without one."""
        return tuple(self.coords["label"].tolist()) if "label" in self.coords else None

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: Any) -> Any:
        """The picture as (row, column, color); for a slice, Pictures."""
        if isinstance(index, slice):
            coords = {key: values[index] for key, values in self.coords.items()}
            return Pictures(self.sources[index], self.names[index], coords, self.colors)
        source = self.sources[index]
        return source if isinstance(source, np.ndarray) else _read(source)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[k] for k in range(len(self)))

    def named(self, name: str) -> np.ndarray:
        """The picture of this name.

        Raises
        ------
        ImageError
        """
        if name not in self.names:
            raise ImageError(f"no picture is called {name!r}; there are {_few(self.names)}")
        return self[self.names.index(name)]


def _files(path: Path) -> Pictures:
    if path.is_file():
        return Pictures((path,), (path.name,))
    if not path.is_dir():
        raise ImageError(f"{path} is no file and no folder")
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not found:
        raise ImageError(f"no pictures below {path}: looked for {', '.join(SUFFIXES)}")
    below = [p.relative_to(path) for p in found]
    labels = np.array([p.parts[0] for p in below])
    coords = {"label": labels} if all(len(p.parts) > 1 for p in below) else {}
    return Pictures(tuple(found), tuple(p.as_posix() for p in below), coords)


def _read(path: Path) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if (frames := getattr(image, "n_frames", 1)) > 1:
                raise ImageError(
                    f"{path.name} holds {frames} frames; give the one you mean: image.seek(k), or an array"
                )
            return _from_pil(image, path.name)
    except UnidentifiedImageError as error:
        raise ImageError(f"{path.name} is no picture that Pillow can read: {error}") from None


def _is_pil(source: Any) -> bool:
    return hasattr(source, "getbands") and hasattr(source, "convert")


def _from_pil(image: Any, name: str) -> np.ndarray:
    """Upright, grey or RGB; transparency is refused, since nobody knows what lies behind."""
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        lowest = image.getextrema()[3][0]
        if lowest < 255:
            raise ImageError(
                f"{name} has transparent pixels; paste it on the background that the network knows first"
            )
        image = image.convert("RGB")
    if image.mode not in _AS_THEY_ARE:
        image = image.convert("L" if image.mode == "1" else "RGB")
    array = np.array(image)
    if array.dtype.kind == "u":
        array = array.astype(array.dtype.newbyteorder("="))
    return array[:, :, None] if array.ndim == 2 else array


def _arrays(source: Any) -> list[np.ndarray]:
    """The pictures of one array, as (row, column, color)."""
    if hasattr(source, "detach"):
        source = source.detach().cpu().numpy()
    array = np.asarray(source)
    _check_values(array)
    shape = array.shape
    last, first = shape[-1:] in ((1,), (3,)), shape[-3:-2] in ((1,), (3,))
    if array.ndim == 2:
        return [array[:, :, None]]
    if array.ndim == 3 and last != first:
        return [array if last else np.moveaxis(array, 0, -1)]
    if array.ndim == 3 and not last:
        return list(array[..., None])
    if array.ndim == 4 and last != first:
        return list(array if last else np.moveaxis(array, 1, -1))
    raise ImageError(
        f"an array of shape {shape} can be read in no or in two ways; give an xarray.DataArray with the dims "
        "sample, row, column, color in its order"
    )


def _by_name(source: Any) -> Pictures:
    """The pictures of a DataArray, with what it says about its samples."""
    dims = source.dims
    possible = ("sample", "row", "column", "color")
    if not {"row", "column"} <= set(dims) <= set(possible):
        raise ImageError(f"a DataArray of pictures has dims out of {', '.join(possible)}; given {dims}")
    absent = {dim: 1 for dim in ("sample", "color") if dim not in dims}
    array = source.expand_dims(absent).transpose(*possible)
    _check_values(array.values)
    # an array that is prepared anew is its own original
    coords = {
        str(k): v.values for k, v in array.coords.items() if v.dims == ("sample",) and k not in COORDINATES
    }
    names = coords.pop("picture", None)
    names = range(len(array)) if names is None else names
    colors = tuple(str(c) for c in array["color"].values) if "color" in source.coords else None
    return Pictures(tuple(array.values), tuple(str(name) for name in names), coords, colors)


def _check_values(array: np.ndarray) -> None:
    if array.dtype.kind not in "fb" and array.dtype not in (np.uint8, np.uint16):
        raise ImageError(
            f"pictures have dtype {array.dtype}; expected uint8, uint16, bool or floats (values as they are)"
        )
    if 0 in array.shape:
        raise ImageError(f"no pictures: an array of shape {array.shape}")


def _few(names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more
