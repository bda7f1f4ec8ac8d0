"""From relevance back to MNE objects, with the channels, positions, events and metadata it came from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from sciexplain.domains.eeg.spec import EpochsError

if TYPE_CHECKING:
    import mne
    import xarray as xr

__all__ = ["to_epochs", "to_evoked"]

# Coordinates of the epoch dim that carry the MNE events array; `event` beside them holds the names.
EVENT_COLUMNS = ("event_sample", "event_previous", "event_code")


def to_epochs(ds: xr.Dataset | xr.DataArray, variable: str = "relevance") -> mne.EpochsArray:
    """Turn a dataset of `sx.eeg.explain` into `mne.EpochsArray`, value for value.

    Relevance has no volt: its values are kept as they are, the channels' unit is set to "none" and
    ``info["description"]`` names the real unit. MNE still writes µV on EEG plots; give its plots
    ``scalings=dict(eeg=1), units=dict(eeg="logit")``, or use `plot_topomap` of this module.
    ``variable="input"`` gives the model's input back in volt (divided by the scale). Nothing is
    baseline-corrected here.

    Parameters
    ----------
    ds : Dataset, or DataArray (epoch, channel, time)
        With the attributes that `explain` wrote.
    variable : "relevance", "input", "message" or another variable with these dims

    Raises
    ------
    EpochsError
        A dim or an attribute that `explain` writes is missing.
    """
    import mne

    array = _variable(ds, variable)
    if set(array.dims) != {"epoch", "channel", "time"}:
        raise EpochsError(
            f"to_epochs needs the dims epoch, channel, time; given {', '.join(map(str, array.dims))}"
        )
    attrs = {**ds.attrs, **array.attrs}
    saved = _saved_info(attrs)
    array = array.transpose("epoch", "channel", "time")
    events, event_id = _events(array, saved)
    values = np.asarray(array.values, dtype=np.float64)
    if variable == "input":
        values = values / float(attrs["eeg_scale"])
    back = mne.EpochsArray(
        values,
        _info(array, saved, volt=variable == "input", unit=_unit(array, attrs)),
        events=events,
        tmin=float(array["time"].values[0]),
        event_id=event_id,
        metadata=_metadata(array, attrs),
        baseline=None,
        proj=False,
        verbose="error",
    )
    return _on_time(back, array)


def to_evoked(
    ds: xr.Dataset | xr.DataArray, by: str | None = None, variable: str = "relevance"
) -> mne.EvokedArray | list[mne.EvokedArray]:
    """Average relevance over epochs as `mne.EvokedArray`; units as in `to_epochs`.

    Parameters
    ----------
    ds : Dataset, or DataArray (epoch, channel, time) or, already averaged, (channel, time)
    by : coordinate of the epochs to average within, such as "target" or "event"
        Gives a list, one per value in the order of first appearance; the comment holds the value and ``nave``
        the number of epochs.
    variable : "relevance", "input", ...

    Raises
    ------
    EpochsError
        `by` is not a coordinate of the epochs, or dims or attributes are missing.
    """
    array = _variable(ds, variable)
    if "epoch" not in array.dims:
        if by is not None:
            raise EpochsError(
                f"to_evoked: by={by!r} needs an epoch dim; given {', '.join(map(str, array.dims))}"
            )
        return _evoked(array, {**ds.attrs, **array.attrs}, "all", 1, variable)
    attrs = {**ds.attrs, **array.attrs}
    if by is None:
        return _evoked(
            array.mean("epoch", dtype=np.float64, skipna=False), attrs, "all", array.sizes["epoch"], variable
        )
    labels = epoch_labels(ds, by)
    evokeds = []
    for label in dict.fromkeys(labels.tolist()):
        chosen = array.isel(epoch=np.flatnonzero(labels == label))
        mean = chosen.mean("epoch", dtype=np.float64, skipna=False)
        evokeds.append(_evoked(mean, attrs, f"{by}: {label}", chosen.sizes["epoch"], variable))
    return evokeds


def epoch_labels(ds: xr.Dataset | xr.DataArray, by: str) -> np.ndarray:
    """Values of a coordinate or variable along epochs, such as "target", "event" or "run"."""
    known = _epoch_variables(ds)
    if by not in known:
        raise EpochsError(
            f"by={by!r} is not a coordinate of the epochs; there are {', '.join(known) or 'none'}"
        )
    return np.asarray(ds[by].values)


def info_to_json(epochs: mne.BaseEpochs) -> str:
    """Everything of `info` that `to_epochs` needs, as one JSON string with exact floats."""
    info = epochs.info
    montage = epochs.get_montage()
    positions: dict[str, Any] = {} if montage is None else montage.get_positions()
    fiducials = {name: _plain(positions.get(name)) for name in ("nasion", "lpa", "rpa")}
    return json.dumps(
        {
            "sfreq": float(info["sfreq"]),
            "channels": list(epochs.ch_names),
            "types": list(epochs.get_channel_types()),
            "locations": [_plain(ch["loc"]) for ch in info["chs"]],
            "montage": positions.get("coord_frame"),
            "fiducials": fiducials,
            "highpass": float(info["highpass"]),
            "lowpass": float(info["lowpass"]),
            "line_freq": None if info["line_freq"] is None else float(info["line_freq"]),
            "custom_reference": int(info["custom_ref_applied"]),
            "bads": list(info["bads"]),
            "description": info["description"],
            "event_id": {str(name): int(code) for name, code in epochs.event_id.items()},
            "tmin": float(epochs.times[0]),
            "baseline": None if epochs.baseline is None else [float(edge) for edge in epochs.baseline],
        }
    )


def _variable(ds: xr.Dataset | xr.DataArray, name: str) -> xr.DataArray:
    import xarray as xr

    if isinstance(ds, xr.DataArray):
        return ds
    if name not in ds:
        raise EpochsError(
            f"the dataset has no variable {name!r}; there are {', '.join(map(str, ds.data_vars))}"
        )
    return ds[name]


def _epoch_variables(ds: xr.Dataset | xr.DataArray) -> list[str]:
    import xarray as xr

    found = {**ds.coords, **(ds.data_vars if isinstance(ds, xr.Dataset) else {})}
    return [str(name) for name, value in found.items() if value.dims == ("epoch",)]


def _saved_info(attrs: dict[str, Any]) -> dict[str, Any]:
    if "eeg_info" not in attrs:
        raise EpochsError(
            "the attribute `eeg_info` is missing: give the dataset of sx.eeg.explain, or pool with attributes"
        )
    return json.loads(attrs["eeg_info"])


def _unit(array: xr.DataArray, attrs: dict[str, Any]) -> str:
    return str(array.attrs.get("units", attrs.get("output_kind", "logit")))


def _evoked(
    array: xr.DataArray, attrs: dict[str, Any], comment: str, nave: int, variable: str
) -> mne.EvokedArray:
    import mne

    if set(array.dims) != {"channel", "time"}:
        raise EpochsError(f"to_evoked needs the dims channel, time; given {', '.join(map(str, array.dims))}")
    array = array.transpose("channel", "time")
    values = np.asarray(array.values, dtype=np.float64)
    if variable == "input":
        values = values / float(attrs["eeg_scale"])
    info = _info(array, _saved_info(attrs), volt=variable == "input", unit=_unit(array, attrs))
    back = mne.EvokedArray(
        values, info, tmin=float(array["time"].values[0]), comment=comment, nave=nave, verbose="error"
    )
    return _on_time(back, array)


def _info(array: xr.DataArray, saved: dict[str, Any], *, volt: bool, unit: str) -> mne.Info:
    """Channels of `array`, a selection or reordering of the saved ones, with type, position and unit."""
    import mne
    from mne.io.constants import FIFF

    names = [str(name) for name in array["channel"].values]
    unknown = [name for name in names if name not in saved["channels"]]
    if unknown:
        raise EpochsError(
            f"channels {unknown} are not among those of `eeg_info`: {', '.join(saved['channels'])}"
        )
    rows = [saved["channels"].index(name) for name in names]
    info = mne.create_info(names, _sfreq(array, saved), [saved["types"][i] for i in rows], verbose="error")
    locations = [np.array([np.nan if v is None else v for v in saved["locations"][i]]) for i in rows]
    if saved["montage"] is not None:
        eeg = {n: loc[:3] for n, loc in zip(names, locations) if np.isfinite(loc[:3]).all()}
        fiducials = {key: np.array(value) for key, value in saved["fiducials"].items() if value is not None}
        montage = mne.channels.make_dig_montage(eeg, coord_frame=saved["montage"], **fiducials)
        info.set_montage(montage, on_missing="ignore", verbose="error")
    for channel, location in zip(info["chs"], locations):
        channel["loc"][:] = location
        if not volt:
            channel["unit"] = FIFF.FIFF_UNIT_NONE
    with info._unlock():
        info["highpass"], info["lowpass"] = saved["highpass"], saved["lowpass"]
        info["line_freq"] = saved["line_freq"]
        info["custom_ref_applied"] = saved["custom_reference"]
        about = saved["description"] or ""
        info["description"] = about or None if volt else f"relevance, unit: {unit}, not volt. {about}".strip()
    info["bads"] = [name for name in saved["bads"] if name in names]
    return info


def _on_time(back: Any, array: xr.DataArray) -> Any:
    """MNE rounds the first time to a whole number of samples, which pooled windows are not at."""
    late = float(array["time"].values[0]) - float(back.times[0])
    return back if abs(late) < 1e-9 else back.shift_time(late, relative=True)


def _sfreq(array: xr.DataArray, saved: dict[str, Any]) -> float:
    """The saved rate, unless the time axis has been pooled to another even step."""
    times = np.asarray(array["time"].values, dtype=np.float64)
    if times.size < 2:
        return float(saved["sfreq"])
    steps = np.diff(times)
    step = float(steps.mean())
    if step <= 0 or not np.allclose(steps, step, rtol=1e-3, atol=0):
        raise EpochsError(
            f"MNE needs evenly spaced times; steps go from {steps.min():g} s to {steps.max():g} s"
        )
    return float(saved["sfreq"]) if np.isclose(step * saved["sfreq"], 1.0, rtol=1e-3) else 1.0 / step


def _events(array: xr.DataArray, saved: dict[str, Any]) -> tuple[np.ndarray, dict[str, int]]:
    missing = [name for name in EVENT_COLUMNS if name not in array.coords]
    if missing:
        raise EpochsError(f"coordinates of the epochs are missing: {', '.join(missing)}")
    events = np.stack([np.asarray(array[name].values, dtype=int) for name in EVENT_COLUMNS], axis=1)
    present = set(events[:, 2].tolist())
    event_id = {name: code for name, code in saved["event_id"].items() if code in present}
    for code in sorted(present - set(event_id.values())):
        event_id[str(code)] = code
    return events, event_id


def _metadata(array: xr.DataArray, attrs: dict[str, Any]) -> Any:
    import pandas as pd

    columns: dict[str, str] = json.loads(attrs.get("eeg_metadata", "{}"))
    kept = {name: array[coord].values for name, coord in columns.items() if coord in array.coords}
    return pd.DataFrame(kept) if kept else None


def _plain(values: Any) -> list[float | None] | None:
    """Floats as JSON can hold them: NaN, MNE's mark of an unknown position, becomes null."""
    if values is None:
        return None
    return [float(v) if np.isfinite(v) else None for v in np.asarray(values, dtype=float)]
