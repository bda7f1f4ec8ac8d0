"""EEG: from a decoder and `mne.Epochs` to relevance per channel and moment, and back to MNE and pictures."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# Public name -> module that defines it; loaded when first asked for, so that `import sciexplain` does not
# load MNE.
_HOME = {
    "explain": "adapter",
    "ModelInputError": "adapter",
    "InputSpec": "spec",
    "EpochsError": "spec",
    "EpochsMismatchError": "spec",
    "to_epochs": "convert",
    "to_evoked": "convert",
    "BANDS": "regions",
    "hemispheres": "regions",
    "lobes": "regions",
    "neighbourhoods": "regions",
    "ocular": "regions",
    "scalp_order": "regions",
    "windows": "regions",
    "PlotError": "plots",
    "plot_bands": "plots",
    "plot_class_averages": "plots",
    "plot_time_course": "plots",
    "plot_topomap": "plots",
    "plot_trial": "plots",
    "simulate_motor_imagery": "simulation",
    "eegmmidb": "recordings",
    "key_press": "recordings",
    "CSPLDA": "csp",
    "LinearDecoder": "csp",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
