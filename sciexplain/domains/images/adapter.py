"""From a network and pictures to labelled relevance per pixel."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np
import xarray as xr

from sciexplain.domains.images.pictures import ImageError
from sciexplain.domains.images.preprocess import NCHW, Preprocess, load

__all__ = ["explain"]

_PIXELS = ("row", "column", "color")


def explain(
    model: Any,
    pictures: Any,
    target: Any = "predicted",
    method: Any = "lrp",
    *,
    preprocess: Preprocess | None = None,
    classes: Sequence[str] | None = None,
    layout: Literal["nchw", "nhwc"] = "nchw",
    batch_size: int | None = 16,
    progress: bool = False,
    **kwargs: Any,
) -> xr.Dataset:
    """Explain a network on pictures: `sciexplain.explain` with rows, columns, colors and the way back.

    Parameters
    ----------
    model : module from (sample, color, row, column) to (sample, output)
    pictures : DataArray of `load`, or whatever `load` takes
    target : "predicted", "label" (each picture's own), a class name or index, one of these per picture, or
        whatever `sciexplain.explain` takes
    method : as in `sciexplain.explain`
    preprocess : what the network was trained with; for pictures that `load` has not prepared yet
    classes : names of the outputs in their order; a name that occurs twice gets its index behind it
    layout : "nhwc" for a model that takes (sample, row, column, color)
    batch_size : pictures per forward and backward pass; None for all at once
    progress : show a bar over the batches
    **kwargs : further arguments of `sciexplain.explain`, such as `layers` or `output`

    Returns
    -------
    Dataset with dims sample, row, column, color
        Coordinates: those of `load`. Attributes: `domain`, `images_preprocess` and `images_values` (JSON).
        Relevance on the original picture: `on_original`; the picture that the network saw: `to_picture`.

    Raises
    ------
    ImageError
        Prepared pictures and `preprocess` together, class names that do not fit, no labels.
    """
    from sciexplain.api import explain as core

    if layout not in ("nchw", "nhwc"):
        raise ImageError(f"layout={layout!r}: expected 'nchw' (sample, color, row, column) or 'nhwc'")
    inputs = _prepared(pictures, preprocess)
    record = {key: value for key, value in inputs.attrs.items() if str(key).startswith("images_")}
    names = None if classes is None else _unique(classes)
    given = inputs.transpose(*NCHW) if layout == "nchw" else inputs
    labels: dict[Hashable, Any] | None = None if names is None else {"output": names}
    ds = core(
        model,
        given.copy(data=np.ascontiguousarray(given.values)),
        target=_targets(target, inputs, names),
        method=method,
        batch_size=batch_size,
        progress=progress,
        coords=labels,
        **kwargs,
    )
    for name, array in ds.data_vars.items():
        if set(_PIXELS) <= set(array.dims):
            ds[name] = array.transpose(..., *_PIXELS)
    ds.attrs |= {"domain": "images", **record}
    for name in ("relevance", "input", "message"):
        if name in ds:
            ds[name].attrs |= record
    return ds


def _prepared(pictures: Any, preprocess: Preprocess | None) -> xr.DataArray:
    """Pictures as the network takes them: as they are where `load` made them."""
    if isinstance(pictures, xr.Dataset):
        raise ImageError(
            "pictures are a DataArray, got a Dataset; give ds.input to explain the same pictures again"
        )
    if isinstance(pictures, xr.DataArray) and set(pictures.dims) == {"sample", *_PIXELS}:
        done = "images_preprocess" in pictures.attrs
        if done and preprocess is not None:
            raise ImageError(
                "these pictures have been prepared already (their attribute images_preprocess); give them "
                "without preprocess=, or give the originals"
            )
        if done or (preprocess is None and pictures.dtype.kind == "f"):
            return pictures.transpose("sample", *_PIXELS)
    return load(pictures, preprocess)


def _unique(classes: Sequence[str]) -> list[str]:
    """ImageNet has two kinds of crane: names that occur twice get the index of their output."""
    if isinstance(classes, str):
        raise ImageError(f"classes={classes!r}: expected one name per output")
    names = [str(name) for name in classes]
    return [f"{name} ({k})" if names.count(name) > 1 else name for k, name in enumerate(names)]


def _targets(target: Any, inputs: xr.DataArray, classes: list[str] | None) -> Any:
    """Names to indices, with a hint where one is misspelt; all else stays as it is."""
    if isinstance(target, str) and target == "label":
        if "label" not in inputs.coords:
            raise ImageError(
                "target='label' needs the coordinate `label` on the pictures: a folder per class, or "
                "x.assign_coords(label=('sample', [...]))"
            )
        target = inputs["label"].values.tolist()
    if isinstance(target, str):
        return target if target == "predicted" else _index(target, classes)
    if isinstance(target, list | tuple | np.ndarray):
        return [_index(v, classes) if isinstance(v, str) else v for v in np.asarray(target).tolist()]
    return target


def _index(name: str, classes: list[str] | None) -> int:
    if classes is None:
        raise ImageError(
            f"target={name!r}: the names of the outputs are not known; give classes=[...] in order"
        )
    if name not in classes:
        close = get_close_matches(name, classes, n=3)
        hint = f"; did you mean {', '.join(map(repr, close))}?" if close else ""
        raise ImageError(f"target={name!r} is none of the {len(classes)} classes{hint}")
    return classes.index(name)
