"""Explanations and their measures: what each method gives, how continuous and how selective it is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from image_methods import chance

import sciexplain as sx


def explained(
    net: Any, inputs: xr.DataArray, methods: Mapping[str, Any], target: Any = "predicted"
) -> dict[str, xr.Dataset]:
    """Name -> relevance of the pictures; the attribute `seconds` is the processor time of each."""
    found = {}
    for name, method in methods.items():
        started = time.process_time()
        ds = sx.explain(net, inputs, target=target, method=method, batch_size=32)
        ds.attrs["seconds"] = time.process_time() - started
        found[name] = ds
    return found


def additivity(found: Mapping[str, xr.Dataset]) -> pd.DataFrame:
    """Means over pictures of what adds up to the score and what does not; seconds of processor time."""
    rows = {}
    for name, ds in found.items():
        relevance = ds.relevance.values.astype(np.float64)
        sums = relevance.reshape(len(relevance), -1).sum(1)
        rows[name] = {
            "score": float(ds.score.mean()),
            "sum of relevance": float(sums.mean()),
            "absorbed": float(ds.absorbed.sum("operation").mean()) if "absorbed" in ds else 0.0,
            "unaccounted": float(ds["conservation_error"].mean()) if "conservation_error" in ds else np.nan,
            "negative share": float(-np.minimum(relevance, 0).sum() / np.abs(relevance).sum()),
            "seconds per picture": ds.attrs["seconds"] / len(relevance),
        }
    return pd.DataFrame(rows).T.rename_axis("method")


def sliding(inputs: xr.DataArray, reach: int) -> xr.DataArray:
    """(path, sample, ...): each picture moved by -reach ... reach columns, edges repeated."""
    columns = np.arange(inputs.sizes["column"])
    moved = [
        inputs.isel(column=np.clip(columns - shift, 0, len(columns) - 1)).assign_coords(column=columns)
        for shift in range(-reach, reach + 1)
    ]
    return xr.concat(moved, "path").transpose("path", *inputs.dims)


def continuity(net: Any, path: xr.DataArray, methods: Mapping[str, Any]) -> pd.DataFrame:
    """Per method: largest change of relevance per change of the picture along its way, mean over pictures."""
    target = [int(label) for label in path["label"].values]
    rows = {}
    for name, method in methods.items():
        ds = sx.continuity(net, None, method, target, path=path)
        rows[name] = {
            f"{scale} {part}": float(ds[part].sel(scale=scale))
            for scale in ("raw", "normalised")
            for part in ("mean", "low", "high")
        }
    return pd.DataFrame(rows).T.rename_axis("method")


def localisation(found: Mapping[str, Any], mask: xr.DataArray) -> pd.DataFrame:
    """Per method: relevance in the mask (mass, rank, pointing game) and the ratio outside to inside."""
    rows = {}
    for name, given in found.items():
        inside, ratio = sx.localisation(given, mask), sx.context_ratio(given, mask)
        rows[name] = {str(m): float(inside["mean"].sel(measure=m)) for m in inside["measure"].values}
        middle = {part: float(ratio[part].sel(variant="positive")) for part in ("mean", "low", "high")}
        rows[name] |= {"mu": middle["mean"], "mu low": middle["low"], "mu high": middle["high"]}
    return pd.DataFrame(rows).T.rename_axis("method")


def selectivity(
    net: Any,
    inputs: xr.DataArray,
    found: Mapping[str, xr.Dataset],
    regions: xr.DataArray,
    imputer: Any,
    steps: int | None = None,
) -> tuple[pd.DataFrame, dict[str, xr.Dataset]]:
    """Per method: AOPC with the most and the least relevant first, and their difference; and the curves."""
    target = [int(t) for t in next(iter(found.values()))["target"].values]
    maps: dict[str, Any] = {name: ds["relevance"] for name, ds in found.items()}
    maps["chance"] = chance(inputs)
    rows, curves = {}, {}
    for name, relevance in maps.items():
        ds = sx.selectivity(
            net, inputs, relevance, target, regions=regions, imputer=imputer, order="both", steps=steps
        )
        curves[name] = ds
        rows[name] = {
            "AOPC most": float(ds["aopc_mean"].sel(order="most")),
            "AOPC least": float(ds["aopc_mean"].sel(order="least")),
            "relevance gain": float(ds["relevance_gain_mean"]),
            "gain low": float(ds["relevance_gain_low"]),
            "gain high": float(ds["relevance_gain_high"]),
        }
    return pd.DataFrame(rows).T.rename_axis("method"), curves


def one_table(
    net: Any,
    inputs: xr.DataArray,
    methods: Mapping[str, Any],
    target: Any,
    regions: xr.DataArray,
    imputer: Any,
) -> pd.DataFrame:
    """`sx.compare_methods`: continuity between nearest neighbours, selectivity, conservation, seconds."""
    wanted = {
        "continuity": {"neighbours": 1},
        "selectivity": {"regions": regions, "imputer": imputer},
        "conservation": {},
        "time": {},
    }
    found = sx.compare_methods(net, inputs, methods, wanted, target)
    return found[["continuity", "selectivity", "aopc", "conservation", "time"]].to_dataframe()
