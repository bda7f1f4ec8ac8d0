"""Simulated left/right motor imagery with known sources: data whose correct explanation is known.

Every trial is a sum of potentials that dipoles in a layered sphere produce at 22 electrodes:

    signal = hand areas (mu and beta, suppressed opposite to the imagined hand)  <- alone knows the class
           + occipital alpha + 1/f background + blinks + sensor noise

Parameters differ per subject and are drawn from a seeded generator; their ranges were fixed on the accuracy
of CSP + LDA alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import mne
    import xarray as xr

CHANNELS = (
    *("Fp1", "Fp2", "F3", "Fz", "F4"),
    *("FC3", "FC1", "FC2", "FC4"),
    *("C5", "C3", "Cz", "C4", "C6"),
    *("CP3", "CPz", "CP4"),
    *("P3", "Pz", "P4", "O1", "O2"),
)
"""The 22 channels, all in MNE's `standard_1020` montage."""

EVENT_ID = {"left": 1, "right": 2}
BANDS = {"mu": (8.0, 13.0), "beta": (13.0, 30.0)}
"""Hz; each rhythm before the cue has power only inside its band."""

WINDOW = (0.5, 3.0)
"""Seconds after the cue in which the hand areas desynchronise; outside, no signal depends on the class."""

_RAMP = 0.25  # s, inside WINDOW at either end: an abrupt change would leak out of the bands
_CORTEX = 0.80  # radius of the dipoles over the radius of the head; MNE's brain sphere ends at 0.90
_BACKGROUND_DIPOLES = 200
_MICROVOLT = 1e-6


@dataclass(frozen=True)
class Simulation:
    """Simulated epochs and the truth that made them.

    Attributes
    ----------
    epochs : mne.EpochsArray
        Volt, potentials against infinity (no common reference); metadata column `blinks`.
    truth : xr.Dataset
        `gain` (hemisphere, channel) V/(A m): potential of a unit hand-area dipole; `active` (event,
        hemisphere): opposite to the hand; `desynchronisation` (event, hemisphere, band): share of the
        amplitude lost inside `window` in the mean trial; `envelope` (time): 1 where that loss is complete,
        0 outside the window; `window` (edge) s; `band_edge` (band, edge) and `peak` (band) Hz; `moment`
        (hemisphere, band) A m RMS before the cue; `position`, `orientation` (hemisphere, xyz), head
        coordinates; `blink_gain`, `alpha_gain` (channel): scalp patterns of the sources that do not know
        the class.
    """

    epochs: mne.EpochsArray
    truth: xr.Dataset


@dataclass(frozen=True)
class _Subject:
    """What differs between subjects. Amplitudes: volt (RMS) at the electrode where the source peaks."""

    mu_peak: float
    beta_peak: float
    mu_amplitude: np.ndarray  # (hemisphere,)
    beta_amplitude: np.ndarray
    contralateral: np.ndarray  # (band,) mean share of the amplitude that is lost opposite to the hand
    ipsilateral: np.ndarray  # (band,) and on the same side
    alpha_peak: float
    alpha_amplitude: float
    background_exponent: float
    background_amplitude: float
    blink_amplitude: float
    blink_rate: float  # blinks per second
    hand_shift: np.ndarray  # (hemisphere, xyz) m
    hand_tilt: np.ndarray  # (hemisphere, xyz) added to the unit radial orientation


def _draw_subject(rng: np.random.Generator) -> _Subject:
    mu_peak = rng.uniform(9.5, 11.5)
    contralateral = rng.uniform(0.25, 0.70)
    ipsilateral = contralateral * rng.uniform(0.1, 0.4)
    mu = rng.uniform(1.5, 4.0) * rng.uniform(0.85, 1.15, 2) * _MICROVOLT
    return _Subject(
        mu_peak=mu_peak,
        beta_peak=rng.uniform(18.0, 24.0),
        mu_amplitude=mu,
        beta_amplitude=mu * rng.uniform(0.3, 0.5),
        contralateral=contralateral * np.array([1.0, 0.8]),
        ipsilateral=ipsilateral * np.array([1.0, 0.8]),
        alpha_peak=rng.uniform(9.0, 11.5),
        alpha_amplitude=rng.uniform(2.0, 6.0) * _MICROVOLT,
        background_exponent=rng.uniform(1.0, 1.4),
        background_amplitude=rng.uniform(8.0, 12.0) * _MICROVOLT,
        blink_amplitude=rng.uniform(80.0, 150.0) * _MICROVOLT,
        blink_rate=rng.uniform(0.1, 0.3),
        hand_shift=rng.normal(0.0, 0.004, (2, 3)),
        hand_tilt=rng.normal(0.0, 0.25, (2, 3)),
    )


def simulate_motor_imagery(
    subject: int = 1,
    n_trials: int = 100,
    *,
    seed: int = 0,
    sfreq: float = 250.0,
    effect: float = 1.0,
    blinks: bool = True,
) -> Simulation:
    """Simulate one subject who imagines moving the left or the right hand.

    Trials last 4 s, from 0.5 s before the cue, in random order, as many left as right (one more left where
    `n_trials` is odd). The same `subject`, `seed` and options give the same numbers; a subject's anatomy and
    rhythms do not depend on `n_trials`, `effect` or `blinks`.

    Parameters
    ----------
    subject : int >= 1
    n_trials : int >= 2
    seed : int >= 0
    sfreq : float
        Hz, at least 100.
    effect : float in [0, 1]
        Factor on every desynchronisation; 0 leaves no class information at all, a control for explanations.
    blinks : bool
        Whether the eyes blink (independent of the class).

    Returns
    -------
    Simulation

    Examples
    --------
    >>> sim = simulate_motor_imagery(subject=1, n_trials=4)
    >>> sim.epochs.get_data().shape
    (4, 22, 1000)
    >>> sim.truth.active.sel(event="left", hemisphere="right").item()
    True
    """
    _check(subject, n_trials, seed, sfreq, effect)
    import mne

    # One stream per purpose, so that more trials or no blinks leave the others' numbers alone.
    streams = np.random.SeedSequence([seed, subject]).spawn(8)
    draw = [np.random.default_rng(s) for s in streams]
    person = _draw_subject(draw[0])
    head = _head()
    hands = _hand_dipoles(head, person)
    gain = head.gain(*hands)  # (channel, hemisphere)

    n_times = round(4.0 * sfreq)
    times = (np.arange(n_times) + round(-0.5 * sfreq)) / sfreq  # samples lie on the grid through the cue
    envelope = _window_envelope(times)
    labels = draw[1].permutation(np.arange(n_trials) % 2)  # 0 left, 1 right
    active = np.array([[False, True], [True, False]])  # (event, hemisphere): opposite to the hand
    bands = np.array(list(BANDS.values()))
    peaks = np.array([person.mu_peak, person.beta_peak])

    # (event, hemisphere, band); a trial realises between 0.5 and 1.5 of it
    loss = effect * np.where(active[:, :, None], person.contralateral, person.ipsilateral)
    realised = np.clip(loss[labels] * draw[2].uniform(0.5, 1.5, (n_trials, 1, 1)), 0.0, 1.0)

    size = n_trials * n_times
    data = np.zeros((len(CHANNELS), n_trials, n_times))
    strongest = np.abs(gain).max(axis=0)
    moment = np.stack([person.mu_amplitude, person.beta_amplitude], axis=1) / strongest[:, None]
    for band, width in enumerate((1.0, 2.5)):
        rhythm = _coloured(draw[3], 2, size, sfreq, _peak(peaks[band], width, bands[band]))
        rhythm = rhythm.reshape(2, n_trials, n_times) * moment[:, band, None, None]
        rhythm *= 1.0 - realised[:, :, band].T[:, :, None] * envelope
        data += np.tensordot(gain, rhythm, axes=1)

    alpha_gain = head.gain(*_toward(head, ("O1", "O2"))).sum(axis=1)
    alpha_gain /= np.abs(alpha_gain).max()
    alpha = _coloured(draw[4], 1, size, sfreq, _peak(person.alpha_peak, 0.8, BANDS["mu"]))
    data += np.multiply.outer(alpha_gain * person.alpha_amplitude, alpha.reshape(n_trials, n_times))

    data += _background(draw[5], head, person, size, sfreq).reshape(data.shape)
    data += draw[6].normal(0.0, 0.5 * _MICROVOLT, data.shape)

    blink_gain = head.gain(*_toward(head, ("Fp1", "Fp2"))).sum(axis=1)
    blink_gain /= np.abs(blink_gain).max()
    counts = np.zeros(n_trials, dtype=int)
    if blinks:
        course, counts = _blinks(draw[7], person, n_trials, times)
        data += np.multiply.outer(blink_gain, course)

    info = _info(sfreq)
    description = (
        f"simulated motor imagery, subject {subject}, seed {seed}: dipoles in a layered sphere; "
        "volt, against infinity"
    )
    info["description"] = description
    epochs = mne.EpochsArray(
        np.ascontiguousarray(data.transpose(1, 0, 2)),
        info,
        events=np.column_stack([np.arange(n_trials) * n_times, np.zeros(n_trials, int), labels + 1]),
        event_id=EVENT_ID,
        tmin=times[0],
        baseline=None,
        metadata=_metadata(counts),
        verbose="ERROR",
    )
    truth = _truth(
        gain=(("hemisphere", "channel"), gain.T, "V/(A m)"),
        active=(("event", "hemisphere"), active, "1"),
        desynchronisation=(("event", "hemisphere", "band"), loss, "1"),
        envelope=(("time",), envelope, "1"),
        window=(("edge",), np.array(WINDOW), "s"),
        band_edge=(("band", "edge"), bands, "Hz"),
        peak=(("band",), peaks, "Hz"),
        moment=(("hemisphere", "band"), moment, "A m"),
        position=(("hemisphere", "xyz"), hands[0], "m"),
        orientation=(("hemisphere", "xyz"), hands[1], "1"),
        blink_gain=(("channel",), blink_gain, "1"),
        alpha_gain=(("channel",), alpha_gain, "1"),
    )
    truth = truth.assign_coords(time=("time", epochs.times, {"units": "s"}))
    return Simulation(
        epochs, truth.assign_attrs(description=description, subject=subject, seed=seed, simulated=1)
    )


# --- the head -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Head:
    sphere: Any  # mne.bem.ConductorModel
    info: Any
    centre: np.ndarray
    radius: float
    electrodes: dict[str, np.ndarray]  # m, head coordinates

    def gain(self, positions: np.ndarray, orientations: np.ndarray) -> np.ndarray:
        """Potential (channel, dipole) in volt of a dipole of 1 A m at each position (dipole, xyz)."""
        import mne

        src = mne.setup_volume_source_space(
            pos={"rr": positions, "nn": orientations}, sphere=self.sphere, verbose="ERROR"
        )
        forward = mne.make_forward_solution(
            self.info, trans=None, src=src, bem=self.sphere, meg=False, eeg=True, verbose="ERROR"
        )
        if forward["nsource"] != len(positions):  # MNE leaves out dipoles outside the brain
            raise RuntimeError(
                f"{len(positions)} dipoles were placed, {forward['nsource']} lie inside the brain sphere"
            )
        free = forward["sol"]["data"].reshape(len(CHANNELS), len(positions), 3)
        return np.einsum("cdx,dx->cd", free, orientations)


def _info(sfreq: float) -> mne.Info:
    import mne

    info = mne.create_info(list(CHANNELS), sfreq, "eeg", verbose="ERROR")
    # MNE 1.13 renamed standard_1020; the positions are the same.
    renamed = "colin27_1020" in mne.channels.get_builtin_montages()
    info.set_montage("colin27_1020" if renamed else "standard_1020", verbose="ERROR")
    return info


@lru_cache(maxsize=1)
def _head() -> _Head:
    import mne

    info = _info(250.0)
    sphere = mne.make_sphere_model("auto", "auto", info, verbose="ERROR")
    electrodes = {c["ch_name"]: np.array(c["loc"][:3]) for c in info["chs"]}
    return _Head(sphere, info, np.array(sphere["r0"]), float(sphere["layers"][-1]["rad"]), electrodes)


@lru_cache(maxsize=1)
def _background_mixing() -> np.ndarray:
    """M (channel, channel) with M M^T = G G^T, G the gains of random cortical dipoles; one for all."""
    head = _head()
    rng = np.random.default_rng(20180205)
    outward = rng.normal(size=(_BACKGROUND_DIPOLES, 3))
    outward[:, 2] = np.abs(outward[:, 2])  # upper half of the head
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    depth = rng.uniform(0.55, _CORTEX, (_BACKGROUND_DIPOLES, 1)) * head.radius
    orientation = rng.normal(size=outward.shape)
    orientation /= np.linalg.norm(orientation, axis=1, keepdims=True)
    gain = head.gain(head.centre + depth * outward, orientation)
    values, vectors = np.linalg.eigh(gain @ gain.T)
    return vectors * np.sqrt(np.maximum(values, 0.0))


def _toward(head: _Head, electrodes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Radial dipoles under the electrodes: positions and orientations (dipole, xyz)."""
    outward = np.array([head.electrodes[name] for name in electrodes]) - head.centre
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    return head.centre + _CORTEX * head.radius * outward, outward


def _hand_dipoles(head: _Head, person: _Subject) -> tuple[np.ndarray, np.ndarray]:
    """Left and right hand area: below C3 and C4, moved along the cortex and tilted a little per subject."""
    position, outward = _toward(head, ("C3", "C4"))
    moved = position + person.hand_shift - head.centre
    moved *= (
        _CORTEX * head.radius / np.linalg.norm(moved, axis=1, keepdims=True)
    )  # the depth stays: none leaves the brain
    orientation = outward + person.hand_tilt
    return head.centre + moved, orientation / np.linalg.norm(orientation, axis=1, keepdims=True)


# --- time courses -------------------------------------------------------------------------------------------


def _coloured(rng: np.random.Generator, rows: int, size: int, sfreq: float, amplitude: Any) -> np.ndarray:
    """Gaussian noise (rows, size) of unit RMS whose amplitude spectrum is `amplitude(frequency)`."""
    from scipy import fft

    n = fft.next_fast_len(size, real=True)
    frequency = fft.rfftfreq(n, 1 / sfreq)
    spectrum = amplitude(frequency)
    noise = fft.irfft(fft.rfft(rng.standard_normal((rows, n)), axis=1) * spectrum, n, axis=1)
    twosided = 2 * (spectrum**2).sum() - spectrum[0] ** 2 - (spectrum[-1] ** 2 if n % 2 == 0 else 0.0)
    return noise[:, :size] / np.sqrt(twosided / n)


def _peak(centre: float, width: float, band: Sequence[float]) -> Any:
    """Gaussian peak that is zero outside the band, so that "in the band" is exact."""
    return lambda f: np.exp(-(((f - centre) / width) ** 2) / 4) * ((f >= band[0]) & (f <= band[1]))


def _background(
    rng: np.random.Generator, head: _Head, person: _Subject, size: int, sfreq: float
) -> np.ndarray:
    """1/f activity (channel, size) of many cortical dipoles.

    All of them share one spectrum and are Gaussian, so 22 coloured series mixed to the covariance G G^T are
    the same process as 200 series times G, at a ninth of the work.
    """

    def spectrum(f: np.ndarray) -> np.ndarray:
        return np.where(f < 0.5, 0.0, np.maximum(f, 0.5) ** (-person.background_exponent / 2))

    mixing = _background_mixing()
    rms = np.sqrt((mixing**2).sum(axis=1))  # per channel
    return (mixing / rms.mean() * person.background_amplitude) @ _coloured(
        rng, len(CHANNELS), size, sfreq, spectrum
    )


def _window_envelope(times: np.ndarray) -> np.ndarray:
    """0 outside WINDOW, 1 inside, raised-cosine ramps just inside its edges."""
    inside = np.minimum(times - WINDOW[0], WINDOW[1] - times)
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(inside / _RAMP, 0.0, 1.0))


def _blinks(
    rng: np.random.Generator, person: _Subject, n_trials: int, times: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Time course (trial, time) in volt at the strongest electrode, and the number of blinks per trial."""
    counts = rng.poisson(person.blink_rate * 4.0, n_trials)
    trial = np.repeat(np.arange(n_trials), counts)
    onset = rng.uniform(times[0], times[-1], (trial.size, 1))
    height = person.blink_amplitude * rng.uniform(0.8, 1.2, (trial.size, 1))
    course = np.zeros((n_trials, times.size))
    np.add.at(course, trial, height * np.exp(-0.5 * ((times - onset) / 0.07) ** 2))
    return course, counts


# --- plumbing -----------------------------------------------------------------------------------------------


def _truth(**variables: tuple[tuple[str, ...], np.ndarray, str]) -> xr.Dataset:
    import xarray as xr

    return xr.Dataset(
        {name: (dims, values, {"units": unit}) for name, (dims, values, unit) in variables.items()},
        coords={
            "hemisphere": ["left", "right"],
            "channel": list(CHANNELS),
            "event": list(EVENT_ID),
            "band": list(BANDS),
            "edge": ["start", "stop"],
            "xyz": ["x", "y", "z"],
        },
    )


def _metadata(counts: np.ndarray) -> Any:
    import pandas as pd

    return pd.DataFrame({"blinks": counts})


def _check(subject: int, n_trials: int, seed: int, sfreq: float, effect: float) -> None:
    wrong = [
        f"{name}={value!r} (expected {expected})"
        for name, value, expected, fine in (
            (
                "subject",
                subject,
                "an integer from 1",
                isinstance(subject, (int, np.integer)) and subject >= 1,
            ),
            (
                "n_trials",
                n_trials,
                "an integer from 2",
                isinstance(n_trials, (int, np.integer)) and n_trials >= 2,
            ),
            ("seed", seed, "an integer from 0", isinstance(seed, (int, np.integer)) and seed >= 0),
            ("sfreq", sfreq, "at least 100 Hz: beta reaches 30 Hz", sfreq >= 100),
            ("effect", effect, "0 to 1", 0 <= effect <= 1),
        )
        if not fine
    ]
    if wrong:
        raise ValueError("cannot simulate with " + ", ".join(wrong))
