"""From a trained network and `mne.Epochs` to labelled relevance."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sciexplain.domains.eeg.convert import info_to_json
from sciexplain.domains.eeg.spec import (
    EpochsError,
    EpochsMismatchError,
    InputSpec,
    non_finite,
    pick_channels,
    unit_of,
)

if TYPE_CHECKING:
    import mne
    import torch
    import xarray as xr

__all__ = ["ModelInputError", "explain"]

Layout = Literal["nct", "n1ct"]
# A coordinate of these names is ours; a metadata column of the same name gets the prefix `metadata_`.
# fmt: off
_RESERVED = frozenset((
    "epoch", "channel", "time", "event", "event_sample", "event_previous", "event_code", "output",
    "output_label", "target", "score", "plane", "operation", "region", "band",
))
# fmt: on


class ModelInputError(EpochsError):
    """The model itself refuses an epoch, most often because it is too short."""


def explain(
    model: Any,
    epochs: mne.BaseEpochs,
    *,
    target: Any = "predicted",
    method: Any = "lrp",
    picks: Any = "eeg",
    scale: float | None = None,
    classes: Sequence[str] | None = None,
    trained_on: InputSpec | None = None,
    batch_size: int = 64,
    on_bad: Literal["raise", "ignore"] = "raise",
    progress: bool = True,
    input_layout: Layout = "nct",
    **kwargs: Any,
) -> xr.Dataset:
    """Explain a decoder on epochs: `sciexplain.explain` with channels, seconds and events on the result.

    Parameters
    ----------
    model : module from (batch, channel, time) to (batch, output)
    epochs : mne.Epochs, loaded or not; left as they are
    target : "predicted", "event" (each epoch's own class), a class name or index, one of these per epoch, or
        whatever `sciexplain.explain` takes
    method : as in `sciexplain.explain`
    picks : as in MNE; the order of names is the order the model gets. Bad channels are included, and refused
        by `on_bad`
    scale : factor from volt to the model's numbers; default that of `trained_on`, else 1e6 (microvolt)
    classes : names of the outputs in their order; default those of `trained_on`
    trained_on : what the model saw in training; every difference is an error
    batch_size : epochs per forward and backward pass
    on_bad : "ignore" explains bad channels like the others
    progress : show a bar over the batches
    input_layout : "n1ct" for a model that takes (batch, 1, channel, time)
    **kwargs : further arguments of `sciexplain.explain`, such as `layers` or `output`

    Returns
    -------
    Dataset with dims epoch, channel, time
        Coordinates: names (`channel`), `channel_type`, `channel_x`, `channel_y`, `channel_z` (metres, head
        frame), `time` in seconds, `event` (name), `event_sample`, `event_previous`, `event_code` and the
        simple columns of the metadata. Attributes: `eeg_unit` and `eeg_scale` of the input, `eeg_info` (JSON)
        for the way back.

    Raises
    ------
    EpochsMismatchError
        Differs from `trained_on`.
    EpochsError
        Nothing selected, bad channels, NaN or infinity, class names that do not fit.
    ModelInputError
        The model refuses the shape; if longer epochs would do, the message says how long.
    """
    import torch

    from sciexplain.api import explain as core

    scale, names = _settings(scale, classes, trained_on)
    if on_bad not in ("raise", "ignore"):
        raise EpochsError(f"on_bad={on_bad!r}: expected 'raise' or 'ignore'")
    if input_layout not in ("nct", "n1ct"):
        raise EpochsError(f"input_layout={input_layout!r}: expected 'nct' (batch, channel, time) or 'n1ct'")
    picked = pick_channels(epochs, picks)
    _check(picked, trained_on, on_bad)

    indices = _targets(target, names, _event_names(picked))
    inputs = _labelled(picked, scale, _dtype(model))
    about = {name: inputs.attrs.pop(name) for name in list(inputs.attrs)}
    if input_layout == "n1ct":
        inputs = inputs.expand_dims("plane", axis=1)
    outputs = _probe(model, torch.from_numpy(inputs.values[:1]), float(picked.info["sfreq"]), input_layout)
    if names and outputs is not None and len(names) != outputs:
        raise EpochsError(f"{len(names)} class names ({', '.join(names)}) for a model with {outputs} outputs")

    labels: dict[Hashable, Any] | None = {"output": list(names)} if names else None
    ds = core(
        model,
        inputs,
        target=indices,
        method=method,
        batch_size=batch_size,
        progress=progress,
        coords=labels,
        **kwargs,
    )
    if "plane" in ds.dims:
        ds = ds.squeeze("plane", drop=True)
    ds = _named(ds, names)
    ds.attrs.update(_attributes(picked, scale, about))
    for name in ("relevance", "input", "message"):
        if name in ds:
            ds[name].attrs.update(
                {k: v for k, v in ds.attrs.items() if k.startswith("eeg_") or k == "simulated"}
            )
    ds["relevance"].attrs.setdefault("units", _relevance_unit(ds, kwargs.get("output")))
    if "input" in ds:
        ds["input"].attrs["units"] = ds.attrs["eeg_unit"]
    return ds


def _settings(
    scale: float | None, classes: Sequence[str] | None, spec: InputSpec | None
) -> tuple[float, tuple[str, ...]]:
    """Scale and class names, from the arguments or the specification; they must not contradict each other."""
    names = tuple(str(name) for name in classes) if classes is not None else ()
    if isinstance(classes, str) or len(set(names)) != len(names):
        raise EpochsError(f"classes={classes!r}: expected different names, one per output")
    if spec is None:
        return (1e6 if scale is None else float(scale)), names
    if scale is not None and float(scale) != spec.scale:
        raise EpochsMismatchError(
            f"scale={scale:g}, but the model was trained on volt * {spec.scale:g} ({spec.unit})"
        )
    if names and spec.classes and names != spec.classes:
        raise EpochsMismatchError(
            f"classes={list(names)}, but the model was trained with {list(spec.classes)}"
        )
    return spec.scale, names or spec.classes


def _check(picked: mne.BaseEpochs, spec: InputSpec | None, on_bad: str) -> None:
    bad = list(picked.info["bads"])
    if bad and on_bad == "raise":
        raise EpochsError(
            f"bad channels among the picks: {', '.join(bad)}. Interpolate them (epochs.interpolate_bads()), "
            "pick others if the model was trained without them, or explain them all the same: on_bad='ignore'"
        )
    if spec is not None:
        if bad:
            picked = picked.copy()
            picked.info["bads"] = []
        spec.check(picked)
    broken = non_finite(picked.get_data(copy=False))
    if broken:
        raise EpochsError(f"{broken}. Drop or repair them first")


def _event_names(epochs: mne.BaseEpochs) -> list[str]:
    names = {code: name for name, code in epochs.event_id.items()}
    return [str(names.get(code, code)) for code in epochs.events[:, 2].tolist()]


def _targets(target: Any, classes: tuple[str, ...], events: list[str]) -> Any:
    """Class and event names to output indices; everything else goes to `sciexplain.explain` unchanged."""
    if isinstance(target, str):
        if target == "predicted":
            return target
        if target == "event":
            return np.array([_class_of_event(event, classes) for event in events])
        return _class_index(target, classes)
    values = getattr(target, "values", target)
    if (
        isinstance(values, list | tuple | np.ndarray)
        and len(values)
        and all(isinstance(v, str) for v in values)
    ):
        if len(values) != len(events):
            raise EpochsError(f"target: {len(values)} names for {len(events)} epochs")
        return np.array([_class_index(str(value), classes) for value in values])
    return target


def _class_index(name: str, classes: tuple[str, ...]) -> int:
    if not classes:
        raise EpochsError(
            f"target={name!r}: the names of the outputs are not known; give classes=(...) in their order"
        )
    if name not in classes:
        close = get_close_matches(name, classes, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise EpochsError(f"target={name!r} is not a class; there are {', '.join(classes)}{hint}")
    return classes.index(name)


def _class_of_event(event: str, classes: tuple[str, ...]) -> int:
    """The class with the event's name, or the one that is a tag of it (MNE: "run1/left")."""
    if event in classes:
        return classes.index(event)
    found = [name for name in classes if name in event.split("/")]
    if len(found) != 1:
        names = ", ".join(classes) or "none (give classes=...)"
        raise EpochsError(
            f"target='event': event {event!r} names {len(found)} of the classes; there are {names}"
        )
    return classes.index(found[0])


def _dtype(model: Any) -> Any:
    """Floating type of the model's parameters, so that a float64 model is explained in float64."""
    for parameter in getattr(model, "parameters", list)():
        if parameter.is_floating_point():
            return np.float64 if str(parameter.dtype) == "torch.float64" else np.float32
    return np.float32


def _labelled(epochs: mne.BaseEpochs, scale: float, dtype: Any) -> xr.DataArray:
    import xarray as xr

    data = (epochs.get_data(copy=False) * scale).astype(dtype)
    positions = np.array([ch["loc"][:3] for ch in epochs.info["chs"]], dtype=float)
    # MNE marks an unknown position by NaN, older files by zeros: nothing sits at the centre of the head.
    positions[~positions.any(axis=1)] = np.nan
    coords: dict[str, Any] = {
        "epoch": np.arange(len(epochs)),
        "channel": np.array(epochs.ch_names),
        "time": ("time", epochs.times.copy(), {"units": "s"}),
        "channel_type": ("channel", np.array(epochs.get_channel_types())),
        "event": ("epoch", np.array(_event_names(epochs))),
    }
    for axis, values in zip("xyz", positions.T):
        coords[f"channel_{axis}"] = ("channel", values, {"units": "m", "frame": "head"})
    for name, column in zip(("event_sample", "event_previous", "event_code"), epochs.events.T):
        coords[name] = ("epoch", column.astype(np.int64))
    columns, left_out = _metadata(epochs)
    coords.update({coord: ("epoch", values) for coord, (_, values) in columns.items()})
    array = xr.DataArray(data, coords, ("epoch", "channel", "time"), name="input")
    array.attrs["eeg_metadata"] = json.dumps({column: coord for coord, (column, _) in columns.items()})
    if left_out:
        array.attrs["eeg_metadata_left_out"] = json.dumps(left_out)
    return array


def _metadata(epochs: mne.BaseEpochs) -> tuple[dict[str, tuple[str, np.ndarray]], list[str]]:
    """Coordinate name -> (column, values) of what files can hold exactly, and the names of the others."""
    import pandas as pd

    columns: dict[str, tuple[str, np.ndarray]] = {}
    left_out: list[str] = []
    if epochs.metadata is None:
        return columns, left_out
    for column in epochs.metadata.columns:
        series, name = epochs.metadata[column], str(column)
        if isinstance(series.dtype, np.dtype) and series.dtype.kind in "biuf":
            values = series.to_numpy()
        elif all(isinstance(value, str) for value in series) and not isinstance(
            series.dtype, pd.CategoricalDtype
        ):
            values = np.array(series.tolist(), dtype=str)
        else:
            left_out.append(name)
            continue
        taken = name in _RESERVED or name.startswith("channel_") or name in columns
        columns[f"metadata_{name}" if taken else name] = (name, values)
    return columns, left_out


def _probe(model: Any, one: torch.Tensor, sfreq: float, layout: Layout) -> int | None:
    """Run one epoch: does the model take it? The number of outputs, None if they are not (batch, output)."""
    import torch

    if not isinstance(model, torch.nn.Module):
        return None
    with _evaluating(model):
        try:
            output = model(_on_device(model, one))
        except Exception as error:
            raise ModelInputError(_refusal(model, one, sfreq, layout, error)) from error
    return int(output.shape[1]) if isinstance(output, torch.Tensor) and output.ndim == 2 else None


def _refusal(model: Any, one: torch.Tensor, sfreq: float, layout: Layout, error: Exception) -> str:
    """The model's error with the shape it got, and what it would take instead if that can be found out."""
    import torch

    n_times = one.shape[-1]
    lines = [
        f"the model does not take one epoch of shape {tuple(one.shape)}, {n_times} samples = "
        f"{n_times / sfreq:.3f} s at {sfreq:g} Hz:",
        f"  {type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}",
    ]

    def takes(candidate: torch.Tensor) -> bool:
        try:
            model(_on_device(model, candidate))
        except Exception:
            return False
        return True

    def padded(length: int) -> torch.Tensor:
        return torch.nn.functional.pad(one, (0, length - n_times))

    other = one.unsqueeze(1) if layout == "nct" else one.squeeze(1)
    longer = next((n_times * factor for factor in (2, 4, 8, 16) if takes(padded(n_times * factor))), None)
    if takes(other):
        asked = "n1ct" if layout == "nct" else "nct"
        lines.append(f"It takes {tuple(other.shape)}: give input_layout={asked!r}.")
    elif longer is not None:
        short, enough = n_times, longer
        while enough - short > 1:
            middle = (short + enough) // 2
            short, enough = (short, middle) if takes(padded(middle)) else (middle, enough)
        lines.append(
            f"The epochs are too short: it takes {enough} samples = {enough / sfreq:.3f} s and more."
        )
    return "\n".join(lines)


def _on_device(model: Any, values: torch.Tensor) -> torch.Tensor:
    parameter = next(iter(model.parameters()), None)
    return values if parameter is None else values.to(parameter.device)


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Evaluation mode without gradients; the mode of every submodule is as before afterwards."""
    import torch

    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def _named(ds: xr.Dataset, classes: tuple[str, ...]) -> xr.Dataset:
    """Class names on the output coordinate, and as the target where that holds output indices."""
    if not classes:
        return ds
    labels = np.array(classes)
    if "output" in ds.dims and ds.sizes["output"] == len(classes):
        ds = ds.assign_coords(output_label=("output", labels))
    target = ds["target"]
    if target.dims == ("epoch",) and target.dtype.kind in "iu":
        ds["target"] = target.copy(data=labels[target.values])
    return ds


def _relevance_unit(ds: xr.Dataset, output: Any) -> str:
    """What relevance adds up to; the square of a gradient adds up to nothing of the output's."""
    kind = "output" if output == "as_is" else "logit"
    if "sensitivity" in str(ds.attrs.get("method", "")).lower():
        return f"{kind}\u00b2 / {ds.attrs['eeg_unit']}\u00b2"
    return kind


def _attributes(epochs: mne.BaseEpochs, scale: float, about: Mapping[str, Any]) -> Mapping[str, Any]:
    attributes: dict[str, Any] = {
        "domain": "eeg",
        "eeg_info": info_to_json(epochs),
        "eeg_unit": unit_of(scale),
        "eeg_scale": scale,
        **about,
    }
    if "simulated" in str(epochs.info["description"]).lower():
        attributes["simulated"] = 1
    return attributes
