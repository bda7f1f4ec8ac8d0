"""What all pictures of molecules share: one symmetric scale, white at zero, and its bar."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from sciexplain.domains.molecules.errors import MoleculeError
from sciexplain.domains.molecules.molecules import Molecules
from sciexplain.domains.molecules.regions import atom_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PANELS = 60


def color_map() -> Any:
    """Red for positive, blue for negative, white at 0; light enough at its ends for black bonds on it."""
    import matplotlib as mpl

    stops = mpl.colormaps["RdBu_r"](np.linspace(0.14, 0.86, 257))
    level = np.abs(np.linspace(-1, 1, 257))[:, None]
    white = np.clip(1 - level / 0.15, 0, 1)
    stops[:, :3] = stops[:, :3] * (1 - white) + white
    return mpl.colors.ListedColormap(stops, name="relevance_of_atoms")


def colors_of(values: np.ndarray, limit: float) -> np.ndarray:
    """Colour (..., 3) of each value on the scale from -limit to limit."""
    return np.asarray(color_map()(0.5 + 0.5 * np.clip(np.asarray(values) / limit, -1, 1)))[..., :3]


def limit_of(values: Sequence[np.ndarray], limit: float | None) -> float:
    """End of the shared scale: as given, or the largest magnitude that is drawn; 1 where all is 0.

    Raises
    ------
    MoleculeError
        A limit that is not positive.
    """
    if limit is not None:
        if not (np.isfinite(limit) and limit > 0):
            raise MoleculeError(f"limit={limit!r}; expected a positive end of the scale.")
        return float(limit)
    largest = max((float(np.abs(v).max()) for v in values if np.size(v)), default=0.0)
    return largest or 1.0


def flat_values(relevance: Any, molecules: Molecules) -> xr.DataArray:
    """Relevance (atom,) as float64.

    Raises
    ------
    MoleculeError
        Dims besides `atom`.
    """
    array = atom_values(relevance, molecules)
    if array.ndim != 1:
        raise MoleculeError(f"One value per atom is drawn; given the dims {array.dims}: select or sum one.")
    return array.astype(np.float64)


def chosen(which: Any, molecules: Molecules) -> list[int]:
    """The molecules to draw, as indices.

    Raises
    ------
    MoleculeError
        None, too many, or such that are not there.
    """
    wanted = np.atleast_1d(np.arange(len(molecules)) if which is None else np.asarray(which))
    if wanted.dtype == bool:
        wanted = np.flatnonzero(wanted)
    if wanted.dtype.kind not in "iu" or not len(wanted):
        raise MoleculeError(f"which={which!r}; expected indices of molecules.")
    wrong = wanted[(wanted < -len(molecules)) | (wanted >= len(molecules))]
    if len(wrong):
        raise MoleculeError(f"There are no molecules {wrong[:12].tolist()}; there are {len(molecules)}.")
    if len(wanted) > MOST_PANELS:
        raise MoleculeError(
            f"{len(wanted)} molecules to draw, at most {MOST_PANELS} in one picture: which=[0, 1, ...]."
        )
    return (wanted % len(molecules)).tolist()


def quantity(array: xr.DataArray, folded: bool) -> str:
    """What a bar says below its numbers."""
    unit = f" [{array.attrs['units']}]" if "units" in array.attrs else ""
    what = str(array.name or "relevance").replace("_", " ")
    return f"{what}{unit}" + (", hydrogens added to their atom" if folded else "")


def caption(relevance: Any, molecules: Molecules, m: int) -> str:
    """Name of a molecule, and its score where it is known."""
    name = molecules.names[m]
    words = name if len(name) <= 28 else name[:25] + "..."
    if isinstance(relevance, xr.Dataset) and "score" in relevance and relevance["score"].dims == ("sample",):
        words += f"\nscore {float(relevance['score'][m]):.5g}"
    return words


def bar(axes: Sequence[Axes], limit: float, label: str, beyond: bool) -> None:
    """A colour bar below; pointed ends say that values go beyond the scale."""
    import matplotlib as mpl

    figure: Any = axes[0].figure
    scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(-limit, limit), color_map())
    made = figure.colorbar(
        scale,
        ax=list(axes),
        location="bottom",
        extend="both" if beyond else "neither",
        shrink=0.6 if len(axes) > 1 else 0.9,
        aspect=40 if len(axes) > 2 else 22,
        pad=0.02,
    )
    made.set_label(textwrap.fill(label, int(figure.get_figwidth() * 14)), fontsize=9)
    made.ax.tick_params(labelsize=8)
