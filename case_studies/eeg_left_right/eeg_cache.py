"""Results on disk: reused when settings and code are the same, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

import sciexplain as sx

_SHARED = ("eeg_agreement.py", "eeg_decoders.py")


def key(settings: Mapping[str, Any], code: str) -> str:
    """Ten letters that change with the settings, the version of sciexplain and the study's own code."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    digest.update(sx.__version__.encode())
    for name in (*_SHARED, Path(code).name):
        digest.update(Path(__file__).with_name(name).read_bytes())
    return digest.hexdigest()[:10]


def cached(
    folder: Path,
    name: str,
    settings: Mapping[str, Any],
    code: str,
    make: Callable[[], tuple[pd.DataFrame, xr.Dataset]],
) -> tuple[pd.DataFrame, xr.Dataset]:
    """The table and the maps of one subject or task, from the folder if they are there; `code` made them."""
    stem = f"{name}-{key(settings, code)}"
    table, maps = folder / f"{stem}.csv", folder / f"{stem}.nc"
    if not (table.exists() and maps.exists()):
        folder.mkdir(parents=True, exist_ok=True)
        frame, dataset = make()
        # The maps first: a table without maps would be made again, maps without a table too.
        replace(maps, lambda path: dataset.to_netcdf(path, engine="h5netcdf"))
        replace(table, lambda path: frame.to_csv(path, index=False))
    with xr.open_dataset(maps, engine="h5netcdf") as opened:
        return pd.read_csv(table), opened.load()


def replace(target: Path, write: Callable[[Path], Any]) -> Path:
    """Write to a temporary name beside the target, then rename."""
    partial = target.with_name(f".{target.name}.partial")
    try:
        write(partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target
