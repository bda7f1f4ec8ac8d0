"""What a model was trained on, and whether new epochs are the same kind of thing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import mne

__all__ = ["EpochsError", "EpochsMismatchError", "InputSpec"]

_UNITS = {1.0: "V", 1e3: "mV", 1e6: "uV", 1e9: "nV"}


class EpochsError(ValueError):
    """Epochs that cannot be explained as they are: bad channels, NaN, nothing selected, a wrong shape."""


class EpochsMismatchError(EpochsError):
    """Epochs that differ from what the model was trained on; every difference is listed."""


def unit_of(scale: float) -> str:
    """Name of the unit that ``scale * volt`` is counted in.

    >>> unit_of(1e6), unit_of(2.0)
    ('uV', 'V / 2')
    """
    return _UNITS.get(float(scale), f"V / {scale:g}")


@dataclass(frozen=True)
class InputSpec:
    """The input that a model was trained on.

    An order of channels or a sampling rate that differs from training gives a well-formed explanation of
    nonsense, and the model cannot notice. Keep this beside the weights (`to_json`) and give it to
    `explain(..., trained_on=spec)`.

    Parameters
    ----------
    channels : names in the model's order
    sfreq : sampling rate in Hz
    n_times : samples per epoch
    tmin : time of the first sample, seconds from the event
    unit, scale : the model saw ``volt * scale``, a number of `unit` (filled in from `scale` when left out)
    classes : names of the outputs, in their order; may be empty
    highpass, lowpass : filter edges in Hz; None is not checked
    reference : "as recorded", "average" (an active projector) or "custom"; None is not checked

    Examples
    --------
    >>> spec = InputSpec(channels=("C3", "C4"), sfreq=160.0, n_times=320, tmin=0.5, classes=("left", "right"))
    >>> InputSpec.from_json(spec.to_json()) == spec
    True
    """

    channels: tuple[str, ...]
    sfreq: float
    n_times: int
    tmin: float
    unit: str = ""
    scale: float = 1e6
    classes: tuple[str, ...] = ()
    highpass: float | None = None
    lowpass: float | None = None
    reference: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(str(name) for name in self.channels))
        object.__setattr__(self, "classes", tuple(str(name) for name in self.classes))
        repeated = _repeated(self.channels) or _repeated(self.classes)
        if repeated:
            raise EpochsError(f"InputSpec: names must be different, {repeated} occur more than once")
        if not self.channels or self.n_times < 1 or not self.sfreq > 0 or not self.scale > 0:
            raise EpochsError(
                "InputSpec: needs at least one channel, n_times >= 1, sfreq > 0 and scale > 0; given "
                f"{len(self.channels)} channels, n_times={self.n_times}, sfreq={self.sfreq}, "
                f"scale={self.scale}"
            )
        if not self.unit:
            object.__setattr__(self, "unit", unit_of(self.scale))
        elif self.unit in _UNITS.values() and self.unit != unit_of(self.scale):
            raise EpochsError(
                f"InputSpec: scale {self.scale:g} turns volt into {unit_of(self.scale)}, not {self.unit}"
            )

    @classmethod
    def from_epochs(
        cls,
        epochs: mne.BaseEpochs,
        picks: Any = "eeg",
        scale: float = 1e6,
        *,
        classes: Sequence[str] = (),
    ) -> InputSpec:
        """Describe training epochs; `picks` as in MNE, `scale` from volt to the model's numbers."""
        picked = pick_channels(epochs, picks)
        return cls(
            channels=tuple(picked.ch_names),
            sfreq=float(picked.info["sfreq"]),
            n_times=len(picked.times),
            tmin=float(picked.times[0]),
            unit=unit_of(scale),
            scale=float(scale),
            classes=tuple(classes),
            highpass=float(picked.info["highpass"]),
            lowpass=float(picked.info["lowpass"]),
            reference=_reference(picked.info),
        )

    def to_json(self) -> str:
        """One line of JSON; every float comes back exactly."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> InputSpec:
        """The inverse of `to_json`; unknown or missing fields are an error that names them."""
        given = json.loads(text)
        if not isinstance(given, dict):
            raise EpochsError(f"InputSpec.from_json: expected a JSON object, got {type(given).__name__}")
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(given) - known)
        missing = sorted({"channels", "sfreq", "n_times", "tmin"} - set(given))
        if unknown or missing:
            raise EpochsError(f"InputSpec.from_json: unknown fields {unknown}, missing fields {missing}")
        return cls(**given)

    def check(self, epochs: mne.BaseEpochs, picks: Any = "all") -> None:
        """Compare epochs with the training input.

        Raises
        ------
        EpochsMismatchError
            Lists every difference: channels missing, extra or in another order, sampling rate, length, first
            time, filter, reference, bad channels, NaN or infinite samples.
        """
        picked = pick_channels(epochs, picks)
        differences = [
            *self._channel_differences(list(picked.ch_names)),
            *self._sampling_differences(picked),
            *self._processing_differences(picked.info),
        ]
        bad = [name for name in picked.info["bads"] if name in self.channels]
        if bad:
            differences.append(f"bad channels among those the model reads: {', '.join(bad)}")
        broken = non_finite(picked.get_data(copy=False))
        if broken:
            differences.append(broken)
        if differences:
            raise EpochsMismatchError(
                "these epochs are not what the model was trained on:\n  " + "\n  ".join(differences)
            )

    def _channel_differences(self, given: list[str]) -> list[str]:
        missing = [name for name in self.channels if name not in given]
        extra = [name for name in given if name not in self.channels]
        lines = []
        if missing:
            lines.append(f"channels missing: {', '.join(missing)}")
        if extra:
            lines.append(
                f"channels the model does not know: {', '.join(extra)} (drop them: picks=spec.channels)"
            )
        if not lines and tuple(given) != self.channels:
            first = next(i for i, pair in enumerate(zip(self.channels, given)) if pair[0] != pair[1])
            lines.append(
                f"channels in another order: channel {first} is {given[first]}, in training it was "
                f"{self.channels[first]} (picks=spec.channels puts them in order)"
            )
        return lines

    def _sampling_differences(self, epochs: mne.BaseEpochs) -> list[str]:
        lines = []
        sfreq = float(epochs.info["sfreq"])
        # 1e-6: resampled files carry 249.99999 where 250 is meant; a real difference is far larger.
        if abs(sfreq - self.sfreq) > 1e-6 * self.sfreq:
            lines.append(
                f"sampling rate {sfreq:g} Hz, in training {self.sfreq:g} Hz (epochs.resample({self.sfreq:g}))"
            )
        if len(epochs.times) != self.n_times:
            lines.append(
                f"{len(epochs.times)} samples per epoch ({len(epochs.times) / sfreq:.3f} s), in training "
                f"{self.n_times} ({self.n_times / self.sfreq:.3f} s)"
            )
        # Half a sample is the most that rounding of the event to the grid can shift.
        if abs(float(epochs.times[0]) - self.tmin) > 0.5 / self.sfreq:
            lines.append(f"epochs start at {epochs.times[0]:g} s, in training at {self.tmin:g} s")
        return lines

    def _processing_differences(self, info: mne.Info) -> list[str]:
        lines = []
        for name in ("highpass", "lowpass"):
            want = getattr(self, name)
            if want is not None and abs(float(info[name]) - want) > 1e-6 * max(abs(want), 1.0):
                lines.append(f"{name} {info[name]:g} Hz, in training {want:g} Hz")
        if self.reference is not None and _reference(info) != self.reference:
            lines.append(f"reference '{_reference(info)}', in training '{self.reference}'")
        return lines


def pick_channels(epochs: mne.BaseEpochs, picks: Any) -> mne.BaseEpochs:
    """A loaded copy with the picked channels, bad ones included, in the order of `picks`."""
    import mne

    if not isinstance(epochs, mne.BaseEpochs):
        raise TypeError(f"expected mne.Epochs, got {type(epochs).__module__}.{type(epochs).__name__}")
    if isinstance(picks, tuple | np.ndarray):
        picks = list(picks)
    picked = epochs.copy().load_data()
    if len(picked) == 0:
        raise EpochsError("there are no epochs: the selection is empty, or all were dropped")
    try:
        return picked.pick(picks, exclude=())
    except ValueError as error:
        kinds = ", ".join(f"{n} {kind}" for kind, n in _count(epochs.get_channel_types()).items())
        shown = ", ".join(epochs.ch_names[:8]) + (", ..." if len(epochs.ch_names) > 8 else "")
        raise EpochsError(f"picks={picks!r} selects no such channels; there are {kinds}: {shown}") from error


def non_finite(data: np.ndarray) -> str:
    """Say which epochs of (epoch, channel, time) hold NaN or infinity; an empty string if none does."""
    broken = np.flatnonzero(~np.isfinite(data).all(axis=(1, 2)))
    if not broken.size:
        return ""
    shown = ", ".join(str(i) for i in broken[:10]) + (", ..." if broken.size > 10 else "")
    return f"NaN or infinite samples in {broken.size} of {len(data)} epochs: {shown}"


def _reference(info: mne.Info) -> str:
    from mne.io.constants import FIFF

    if any(p["kind"] == FIFF.FIFFV_PROJ_ITEM_EEG_AVREF and p["active"] for p in info["projs"]):
        return "average"
    return "custom" if info["custom_ref_applied"] else "as recorded"


def _repeated(names: Sequence[str]) -> list[str]:
    return [name for name, n in _count(names).items() if n > 1]


def _count(names: Sequence[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts
