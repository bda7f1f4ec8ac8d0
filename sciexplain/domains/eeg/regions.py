"""Regions of the scalp, windows and bands: mappings for `sx.regions` and `sx.band_relevance`.

Every function returns region -> members. A channel in two regions is shared evenly by `sx.regions`, one in no
region goes to its `rest` row, so relevance pooled with any of these still adds up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from sciexplain.domains.eeg.spec import EpochsError

__all__ = ["BANDS", "hemispheres", "lobes", "neighbourhoods", "ocular", "scalp_order", "windows"]

#: EEG bands in Hz, lower edge included (Kane et al. 2017, Clin. Neurophysiol. Pract. 2:170, the IFCN
#: glossary; gamma cut at 45 Hz, below mains interference). Alpha over the sensorimotor cortex is called mu.
BANDS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "delta": (1.0, 4.0),
        "theta": (4.0, 8.0),
        "alpha": (8.0, 13.0),
        "beta": (13.0, 30.0),
        "gamma": (30.0, 45.0),
    }
)

# fmt: off
_LOBES = {
    "N": "frontal", "F": "frontal", "C": "central", "T": "temporal", "P": "parietal", "O": "occipital",
    "I": "occipital",
}
# Front to back. Temporal positions lie in the coronal row of their neighbours: FT with FC, T with C.
_ROWS = (
    ("N",), ("FP",), ("AFP",), ("AF",), ("AFF",), ("F",), ("FFC", "FFT"), ("FC", "FT"), ("FCC", "FTT"),
    ("C", "T"), ("CCP", "TTP"), ("CP", "TP"), ("CPP", "TPP"), ("P",), ("PPO",), ("PO",), ("POO",), ("O",),
    ("OI",), ("I",),
)
# fmt: on
_ROW_OF = {letters: i for i, row in enumerate(_ROWS) for letters in row}
# Names of 1958 that 10-10 renamed (Chatrian et al. 1985).
_RENAMED = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
_PATTERN = re.compile(r"^([A-Z]+?)(Z|\d{1,2})H?$")


def lobes(channel: Any) -> dict[str, list[str]]:
    """Lobes by the letters of 10-20, 10-10 and 10-5 names.

    A letter is a lobe: F frontal, C central, T temporal, P parietal, O occipital (I, the inion, too); Fp and
    AF are frontal. A position between two lobes is in both: FC in frontal and central, FT in frontal and
    temporal, CP in central and parietal, TP in temporal and parietal, PO in parietal and occipital. Other
    names, such as the mastoids, are in none. Old names count as what they became: T3 is T7, T5 is P7.

    Parameters
    ----------
    channel : DataArray of names, names, or MNE object with `ch_names`

    Examples
    --------
    >>> lobes(["Fp1", "FC3", "Cz", "M1"])
    {'frontal': ['Fp1', 'FC3'], 'central': ['FC3', 'Cz']}
    """
    names = channel_names(channel)
    found: dict[str, list[str]] = {lobe: [] for lobe in dict.fromkeys(_LOBES.values())}
    for name in names:
        for lobe in _lobes_of(name):
            found[lobe].append(name)
    return _filled(found, names, "is a 10-20 name")


def hemispheres(channel: Any, midline: Literal["share", "own", "rest"] = "share") -> dict[str, list[str]]:
    """Left and right half of the scalp.

    Odd 10-20 numbers are left, even right, z midline; other names go by position (x of the head frame points
    right, the midline is 1 cm wide), and without one are in none.

    Parameters
    ----------
    channel : DataArray of names with `channel_x`, names, or MNE object
    midline : "share" half to each side, "own" region "midline", or "rest"

    Examples
    --------
    >>> hemispheres(["C3", "Cz", "C4"])
    {'left': ['C3', 'Cz'], 'right': ['Cz', 'C4']}
    >>> hemispheres(["C3", "Cz", "C4"], midline="own")
    {'left': ['C3'], 'right': ['C4'], 'midline': ['Cz']}
    """
    if midline not in ("share", "own", "rest"):
        raise EpochsError(f"midline={midline!r}: expected 'share', 'own' or 'rest'")
    names = channel_names(channel)
    positions = channel_positions(channel)
    found: dict[str, list[str]] = {"left": [], "right": [], "midline": []}
    for name, position in zip(names, positions):
        side = _side(name, position)
        if side == "midline" and midline == "share":
            found["left"].append(name)
            found["right"].append(name)
        elif side and not (side == "midline" and midline == "rest"):
            found[side].append(name)
    return _filled(found, names, "is a 10-20 name or has a position")


def ocular(channel: Any) -> dict[str, list[str]]:
    """Channels beside the eyes, for checking whether a decoder reads eye movements.

    Fp and AF (blinks) and F7, F8, F9, F10 (saccades to the sides).

    >>> ocular(["Fp1", "AF3", "F7", "F3", "Cz"])
    {'ocular': ['Fp1', 'AF3', 'F7']}
    """
    names = channel_names(channel)
    found = [
        n
        for n in names
        if (code := _parse(n)) and (code[0] in ("FP", "AFP", "AF") or "".join(code) in _SACCADE)
    ]
    return _filled({"ocular": found}, names, "is beside the eyes (Fp, AF, F7 to F10)")


_SACCADE = ("F7", "F8", "F9", "F10")


def neighbourhoods(
    channel: Any, anchors: Sequence[str] | Mapping[str, Any], max_distance: float = float("inf")
) -> dict[str, list[str]]:
    """Each channel belongs to the nearest anchor; ties (within 1 um) to all the nearest.

    Parameters
    ----------
    channel : DataArray of names with `channel_x`, `channel_y`, `channel_z`, or MNE object
    anchors : names of channels, or region -> name of a channel or position (3,) in metres, such as a known
        source
    max_distance : metres, straight through the head; channels farther from every anchor are in none

    Raises
    ------
    EpochsError
        An anchor is not a channel, or a channel has no position (each is named).
    """
    names = channel_names(channel)
    positions = channel_positions(channel)
    unplaced = [name for name, position in zip(names, positions) if not np.isfinite(position).all()]
    if unplaced:
        raise EpochsError(
            f"channels without a position: {', '.join(unplaced)} (epochs.set_montage('standard_1020')?)"
        )
    if not isinstance(anchors, Mapping):
        anchors = {name: name for name in anchors}
    places = np.array(
        [_place(region, anchor, names, positions) for region, anchor in anchors.items()]
    ).reshape(-1, 3)
    if not len(places):
        raise EpochsError("neighbourhoods: no anchors given")
    distances = np.linalg.norm(positions[:, None] - places[None], axis=-1)
    nearest = distances.min(axis=1)
    members = (distances <= nearest[:, None] + 1e-6) & (nearest[:, None] <= max_distance)
    found = {
        region: [n for n, inside in zip(names, members[:, i]) if inside] for i, region in enumerate(anchors)
    }
    return _filled(found, names, f"lies within {max_distance:g} m of an anchor")


def windows(time: Any, edges: Sequence[float] | float) -> dict[str, tuple[float, float]]:
    """Consecutive time windows [start, stop), named by their edges in seconds.

    Parameters
    ----------
    time : DataArray or numbers, seconds
    edges : edges of the windows, or the width of equal windows that start with the first sample

    Examples
    --------
    >>> windows([0.0, 0.25, 0.5, 0.75], 0.5)
    {'0 to 0.5 s': (0.0, 0.5), '0.5 to 1 s': (0.5, 1.0)}
    """
    times = np.asarray(getattr(time, "values", time), dtype=float)
    if times.size == 0 or not np.isfinite(times).all():
        raise EpochsError("windows: needs at least one time, all finite")
    if isinstance(edges, int | float | np.integer):
        if not edges > 0:
            raise EpochsError(f"windows: the width must be positive, given {edges:g}")
        first, last = float(times.min()), float(times.max())
        # 0.1 * 3 is not 0.3: unrounded edges would put the sample at 0.3 s into the window before.
        count = int(np.floor((last - first) / edges + 1e-9)) + 1
        steps = np.round(first + edges * np.arange(count + 1), 12)
    else:
        steps = np.asarray(edges, dtype=float)
        if steps.size < 2 or not (np.diff(steps) > 0).all():
            raise EpochsError(f"windows: needs two or more increasing edges, given {list(edges)}")
    return {f"{a + 0.0:g} to {b:g} s": (float(a), float(b)) for a, b in pairwise(steps)}


def scalp_order(channel: Any) -> np.ndarray:
    """Indices that sort channels as one reads a scalp: rows front to back, left to right within a row.

    Rows are those of the 10-20 system; if any name is not of it, rows are 2 cm deep, and without positions
    the order stays.

    >>> [["O1", "C4", "Cz", "Fp2", "C3"][i] for i in scalp_order(["O1", "C4", "Cz", "Fp2", "C3"])]
    ['Fp2', 'C3', 'Cz', 'C4', 'O1']
    """
    names = channel_names(channel)
    parsed = [_parse(name) for name in names]
    if all(code is not None and code[0] in _ROW_OF for code in parsed):
        keys = [(_ROW_OF[row], _across(number)) for row, number in (code for code in parsed if code)]
    else:
        positions = channel_positions(channel)
        if not np.isfinite(positions).all():
            return np.arange(len(names))
        keys = [(int(-round(y / 0.02)), float(x)) for x, y, _ in positions]
    return np.array(sorted(range(len(names)), key=lambda i: keys[i]), dtype=int)


def channel_names(channel: Any) -> list[str]:
    """Names from a DataArray, an MNE object or names."""
    channel = getattr(channel, "ch_names", channel)
    channel = getattr(channel, "values", channel)
    if isinstance(channel, str) or not isinstance(channel, Iterable):
        raise EpochsError(f"expected channel names, a DataArray of them or an MNE object, given {channel!r}")
    return [str(name) for name in channel]


def channel_positions(channel: Any) -> np.ndarray:
    """(channel, 3) in metres, head frame: x right, y front, z up; NaN where unknown."""
    names = channel_names(channel)
    info = getattr(channel, "info", channel)
    if hasattr(info, "ch_names"):
        positions = np.array([ch["loc"][:3] for ch in info["chs"]], dtype=float)
        positions[~positions.any(axis=1)] = np.nan
        return positions
    coords = getattr(channel, "coords", {})
    if all(f"channel_{axis}" in coords for axis in "xyz"):
        return np.stack([np.asarray(coords[f"channel_{axis}"].values, dtype=float) for axis in "xyz"], axis=1)
    return np.full((len(names), 3), np.nan)


def _parse(name: str) -> tuple[str, str] | None:
    """Letters and number of a 10-20 name in upper case; None for other names, EOG among them."""
    # Recordings of PhysioNet pad names with dots ("Fc5.").
    plain = name.strip(" .").upper()
    plain = _RENAMED.get(plain, plain)
    match = _PATTERN.match(plain)
    if match is None or match[1] not in _ROW_OF:
        return None
    return match[1], match[2]


def _lobes_of(name: str) -> list[str]:
    code = _parse(name)
    if code is None:
        return []
    letters = code[0].replace("FP", "F").replace("A", "")
    return list(dict.fromkeys(_LOBES[letter] for letter in letters))


def _side(name: str, position: np.ndarray) -> str | None:
    code = _parse(name)
    if code is not None:
        return "midline" if code[1] == "Z" else ("left" if int(code[1]) % 2 else "right")
    # Earlobes and mastoids carry the same numbers without being scalp positions.
    match = re.match(r"^[AM]([12])$", name.strip(" .").upper())
    if match:
        return "left" if match[1] == "1" else "right"
    if not np.isfinite(position[0]):
        return None
    return "midline" if abs(position[0]) <= 0.005 else ("left" if position[0] < 0 else "right")


def _across(number: str) -> float:
    """Left to right: 7 5 3 1 z 2 4 6 8."""
    if number == "Z":
        return 0.0
    return float(int(number)) if int(number) % 2 == 0 else -float(int(number)) - 1.0


def _place(region: str, anchor: Any, names: list[str], positions: np.ndarray) -> np.ndarray:
    if isinstance(anchor, str):
        if anchor not in names:
            raise EpochsError(f"anchor {anchor!r} is not a channel; there are {', '.join(names)}")
        return positions[names.index(anchor)]
    place = np.asarray(anchor, dtype=float)
    if place.shape != (3,) or not np.isfinite(place).all():
        raise EpochsError(
            f"anchor {region!r}: expected a channel name or a position (3,) in metres, given {anchor!r}"
        )
    return place


def _filled(found: dict[str, list[str]], names: list[str], what: str) -> dict[str, list[str]]:
    """Only the regions that have channels; none at all is an error, it would pool everything into `rest`."""
    kept = {region: members for region, members in found.items() if members}
    if not kept:
        raise EpochsError(f"no channel of {', '.join(names)} {what}")
    return kept
