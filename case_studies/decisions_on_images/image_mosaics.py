"""Pictures whose evidence lies in a known rectangle: mosaics of photos, thumbnails on a surround."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from image_networks import thumbnail_input

import sciexplain as sx

TILE = 112


def photo_mosaics(
    pictures: Sequence[np.ndarray], labels: np.ndarray, count: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Four photos of four classes in one picture of 224 x 224, drawn at random.

    Returns
    -------
    pixels : ndarray (mosaic, row, column, color), uint8
    tiles : ndarray (mosaic, 4), int
        Class of the upper left, upper right, lower left and lower right photo.
    """
    small = sx.images.Preprocess((sx.images.Resize(TILE, "bicubic"), sx.images.CenterCrop(TILE)))(pictures)
    parts = np.rint(small.values * 255).astype(np.uint8)
    rng = np.random.default_rng(seed)
    pixels, tiles = [], []
    while len(pixels) < count:
        chosen = rng.choice(len(parts), 4, replace=False)
        if len(set(labels[chosen])) == 4:
            a, b, c, d = parts[chosen]
            pixels.append(np.concatenate([np.concatenate([a, b], 1), np.concatenate([c, d], 1)]))
            tiles.append(labels[chosen])
    return np.stack(pixels), np.stack(tiles)


def tile_mask(number: np.ndarray) -> xr.DataArray:
    """True in the tile (mosaic,) of each mosaic: 0 upper left, 1 upper right, 2 lower left, 3 lower right."""
    row, column = np.divmod(np.arange(2 * TILE)[:, None] // TILE * 2 + np.arange(2 * TILE) // TILE, 2)
    mask = row * 2 + column == np.asarray(number)[:, None, None]
    return xr.DataArray(mask, dims=("sample", "row", "column"))


def surrounded(pictures: xr.DataArray, same_class: float, seed: int = 0) -> xr.DataArray:
    """Each thumbnail at half its size in the middle of another one.

    Parameters
    ----------
    pictures : DataArray (sample, row, column, color), uint8
    same_class : float
        Probability that the surround is of the same class as the middle; else it is of another class.

    Returns
    -------
    DataArray (sample, color, row, column)
        -1 to 1. `label` is that of the middle, rows and columns 8 to 23; `around` that of the surround.
    """
    rng = np.random.default_rng(seed)
    x = thumbnail_input(pictures)
    labels = pictures["label"].values
    same = rng.random(len(labels)) < same_class
    partner = np.array(
        [
            rng.choice(np.flatnonzero((labels == own) == alike))
            for own, alike in zip(labels, same, strict=True)
        ]
    )
    values = x.values[partner]
    values[:, :, 8:24, 8:24] = x.values.reshape(len(x), 3, 16, 2, 16, 2).mean((3, 5))
    return x.copy(data=values).assign_coords(around=("sample", labels[partner]))


def middle_mask() -> xr.DataArray:
    """True where `surrounded` puts the thumbnail."""
    mask = np.zeros((32, 32), bool)
    mask[8:24, 8:24] = True
    return xr.DataArray(mask, dims=("row", "column"))
