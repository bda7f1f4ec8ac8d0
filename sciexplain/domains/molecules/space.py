"""Pictures in space: the potential of a probe atom on a plane, and on a surface around the molecule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from sciexplain.domains.molecules.errors import MoleculeError, PositionsError, require
from sciexplain.domains.molecules.molecules import Molecules
from sciexplain.domains.molecules.potential import box

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Surface", "plot_plane", "plot_surface", "surface"]

LEVEL = 3.8
"""sum over atoms of |r - r_a|^-2 (angstrom^-2) on the surface of Schuett et al. 2017, figure 5."""

CMAP = "viridis"


@dataclass(frozen=True, eq=False)
class Surface:
    """Triangles around a molecule.

    Attributes
    ----------
    vertices : DataArray (vertex, axis)
        Angstrom; give them to `local_potential`.
    faces : ndarray (face, 3), int64
        Vertices of each triangle.
    level : float
        Angstrom^-2.
    """

    vertices: xr.DataArray
    faces: np.ndarray
    level: float


def surface(molecule: Molecules, level: float = LEVEL, step: float = 0.15) -> Surface:
    """Where the sum over atoms of |r - r_a|^-2 is `level`: a smooth surface around the molecule.

    Parameters
    ----------
    molecule : Molecules
        One, with positions.
    level : float
        Angstrom^-2; smaller is further away.
    step : float
        Angstrom between the points from which triangles are made; every vertex then is put on the level.

    Raises
    ------
    PositionsError, MoleculeError
        No positions, several molecules; a level or step that is not positive.
    MissingPackageError
        scikit-image is not installed.

    References
    ----------
    Schuett et al. 2017, doi:10.1038/ncomms13890. Triangles: Lewiner et al. 2003,
    doi:10.1080/10867651.2003.10487582.
    """
    measure = require("skimage.measure")
    if not (level > 0 and step > 0):
        raise MoleculeError(f"level={level!r}, step={step!r}; expected positive numbers.")
    # the sum over n atoms is below the level where all are further than this
    points = box(molecule, step, margin=float(np.sqrt(len(molecule.elements) / level)) + 2 * step)
    places = molecule.positions
    assert places is not None
    values = _closeness(points.values, places)
    # linear between points: 1 / closeness is nearly a squared distance and far from any pole
    found, faces, _, _ = measure.marching_cubes(1.0 / values, 1.0 / level, spacing=(step,) * 3)
    vertices = found.astype(np.float64) + points.values[0, 0, 0]
    for _ in range(4):  # Newton's method along the gradient
        apart = vertices[:, None] - places
        near = (apart**2).sum(-1)
        gradient = (-2 * apart / near[..., None] ** 2).sum(1)
        size = (gradient**2).sum(-1, keepdims=True)
        move = (level - (1 / near).sum(1))[:, None] * np.divide(
            gradient, size, out=np.zeros_like(gradient), where=size > 0
        )
        vertices += np.clip(move, -step / 2, step / 2)
    array = xr.DataArray(vertices, dims=("vertex", "axis"), attrs={"units": "angstrom"})
    return Surface(array, faces.astype(np.int64), float(level))


def plot_plane(
    omega: xr.DataArray,
    molecule: Molecules,
    axes: Any = None,
    *,
    limits: tuple[float, float] | None = None,
    level: float = LEVEL,
    title: str | None = None,
) -> Figure:
    """The potential of a probe on a plane, with the atoms and the line where `closeness` is `level`.

    Parameters
    ----------
    omega : DataArray (v, u)
        As of `local_potential` on the points of `plane`.
    molecule : Molecules
        The one that it is of.
    axes : Axes, optional
    limits : (float, float), optional
        Ends of the scale; by default the range beyond the line, where no atom is too near for the network
        to know what it does. Give them to compare figures.
    level : float
        Angstrom^-2.
    title : str, optional

    Raises
    ------
    MoleculeError
        Not a plane of this molecule.
    """
    wanted = {"u", "v", "r_x", "r_y", "r_z", "closeness"}
    if (
        not isinstance(omega, xr.DataArray)
        or set(omega.dims) != {"u", "v"}
        or not wanted <= set(omega.coords)
    ):
        raise MoleculeError(
            "Expected the potential on a plane: local_potential(model, molecule, plane(molecule))."
        )
    _one(molecule)
    array = omega.transpose("v", "u")
    outside = array.values[(array["closeness"].values <= level) & np.isfinite(array.values)]
    low, high = _range(outside, limits)
    figure, ax = _axes(axes, (4.6, 4.2))
    u, v = array["u"].values, array["v"].values
    image = ax.pcolormesh(
        u, v, array.values, cmap=CMAP, vmin=low, vmax=high, shading="nearest", rasterized=True
    )
    ax.contour(u, v, array["closeness"].values, [level], colors="white", linewidths=1.2)
    at, away = _on_plane(array, molecule)
    for (x, y), far, symbol in zip(at, np.abs(away), molecule.symbols):
        near = bool(far < 0.6)  # the others are above or below
        ax.text(
            x, y, symbol, ha="center", va="center", fontsize=8 if near else 6, color="black",
            alpha=1.0 if near else 0.6,
            bbox={"boxstyle": "circle,pad=0.15", "fc": "white", "alpha": 0.8 if near else 0.4, "lw": 0},
        )  # fmt: skip
    ax.set_aspect("equal")
    ax.set_xlabel("u [angstrom]")
    ax.set_ylabel("v [angstrom]")
    ax.set_title(title or molecule.names[0], fontsize=10)
    _bar(figure, image, ax, omega, array.values, low, high)
    return figure


def plot_surface(
    omega: xr.DataArray,
    surface: Surface,
    molecule: Molecules,
    axes: Any = None,
    *,
    limits: tuple[float, float] | None = None,
    view: tuple[float, float] = (25.0, 20.0),
    title: str | None = None,
) -> Figure:
    """The potential of a probe on a surface, seen from one side; the molecule's bonds are drawn over it.

    Parameters
    ----------
    omega : DataArray (vertex,)
        As of `local_potential` at `surface.vertices`.
    surface : Surface
    molecule : Molecules
        The one that it is of.
    axes : Axes, optional
    limits : (float, float), optional
        Ends of the scale; by default the range on the surface.
    view : (float, float)
        Degrees by which the molecule is tilted and turned; (0, 0) looks down on its plane, the longest axis
        from left to right.
    title : str, optional

    Raises
    ------
    MoleculeError
        Values of another surface.
    """
    from matplotlib.collections import LineCollection, PolyCollection

    values = np.asarray(omega, dtype=np.float64)
    if values.shape != (surface.vertices.sizes["vertex"],) or not np.isfinite(values).all():
        raise MoleculeError(
            f"{values.shape} values for {surface.vertices.sizes['vertex']} vertices, or not finite ones: "
            "local_potential(model, molecule, surface.vertices)."
        )
    _one(molecule)
    low, high = _range(values, limits)
    turn = _view(molecule, view)
    assert molecule.positions is not None
    center = molecule.positions.mean(0)
    seen = (surface.vertices.values - center) @ turn.T
    corners = seen[surface.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    light = np.abs(normal[:, 2]) / np.maximum(np.linalg.norm(normal, axis=1), 1e-12)
    order = np.argsort(corners[:, :, 2].mean(1))  # what is nearest is painted last
    figure, ax = _axes(axes, (4.6, 4.4))
    mappable = _scale(low, high)
    rgba = mappable.to_rgba(values[surface.faces].mean(1))
    rgba[:, :3] *= (0.62 + 0.38 * light)[:, None]
    ax.add_collection(
        PolyCollection(
            corners[order][:, :, :2], facecolors=rgba[order], edgecolors=rgba[order], linewidths=0.3,
            rasterized=True,
        )
    )  # fmt: skip
    atoms = (molecule.positions - center) @ turn.T
    for a, b in bonded(molecule):
        ax.add_collection(LineCollection([atoms[[a, b], :2]], colors="white", linewidths=1.6, alpha=0.55))
    for (x, y, _), symbol in zip(atoms, molecule.symbols):
        if symbol != "H":
            ax.text(x, y, symbol, ha="center", va="center", fontsize=7, color="white", alpha=0.9)
    ax.set_xlim(seen[:, 0].min() - 0.2, seen[:, 0].max() + 0.2)
    ax.set_ylim(seen[:, 1].min() - 0.2, seen[:, 1].max() + 0.2)
    ax.set_aspect("equal")
    ax.set_axis_off()
    ax.set_title(title or molecule.names[0], fontsize=10)
    _bar(figure, mappable, ax, omega, values, low, high)
    return figure


def _closeness(points: np.ndarray, places: np.ndarray) -> np.ndarray:
    found = np.zeros(points.shape[:-1])
    for place in places:
        found += 1.0 / np.maximum(((points - place) ** 2).sum(-1), 1e-6)
    return found


def _one(molecule: Molecules) -> None:
    if molecule.count != 1 or molecule.positions is None:
        raise PositionsError(f"One molecule with positions is drawn; got {molecule!r}.")


def _range(values: np.ndarray, limits: tuple[float, float] | None) -> tuple[float, float]:
    if limits is None:
        if not values.size:
            raise MoleculeError("No point is far enough from all atoms: take a larger margin or level.")
        limits = (float(values.min()), float(values.max()))
        return limits if limits[0] < limits[1] else (limits[0] - 1, limits[0] + 1)
    if not (len(limits) == 2 and limits[0] < limits[1] and np.isfinite(limits).all()):
        raise MoleculeError(f"limits={limits!r}; expected (low, high).")
    return float(limits[0]), float(limits[1])


def _on_plane(omega: xr.DataArray, molecule: Molecules) -> tuple[np.ndarray, np.ndarray]:
    """Where the atoms are along u and v (atom, 2), and how far above (atom,)."""
    points = np.stack([omega[f"r_{axis}"].values for axis in "xyz"], -1)
    u, v = omega["u"].values, omega["v"].values
    along_u = (points[0, -1] - points[0, 0]) / (u[-1] - u[0])
    along_v = (points[-1, 0] - points[0, 0]) / (v[-1] - v[0])
    assert molecule.positions is not None
    apart = molecule.positions - points[0, 0]
    at = np.stack([apart @ along_u + u[0], apart @ along_v + v[0]], 1)
    return at, apart @ np.cross(along_u, along_v)


def _view(molecule: Molecules, view: tuple[float, float]) -> np.ndarray:
    """Rows: what goes right, up and towards the eye."""
    assert molecule.positions is not None
    base = np.linalg.svd(molecule.positions - molecule.positions.mean(0), full_matrices=True)[2]
    base[2] = np.cross(base[0], base[1])  # a picture, not its mirror image
    tilt, turn = np.deg2rad(view)
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    about_y = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    return about_x @ about_y @ base


def bonded(molecule: Molecules) -> list[tuple[int, int]]:
    """Bonds to draw; where none are known, pairs of atoms that are as close as bonded ones.

    Parameters
    ----------
    molecule : Molecules
        One, with positions.
    """
    if molecule.bonds is not None:
        return [(int(a), int(b)) for a, b in molecule.bonds.T]
    i, j, distance = molecule.pairs(2.2)
    light = np.minimum(molecule.elements[i], molecule.elements[j]) == 1
    heavy = np.maximum(molecule.elements[i], molecule.elements[j]) > 10
    near = distance < np.where(light, 1.25, 1.75) + 0.3 * heavy
    return [(int(a), int(b)) for a, b in zip(i[near], j[near]) if a < b]


def _axes(axes: Any, size: tuple[float, float]) -> tuple[Figure, Axes]:
    import matplotlib.pyplot as plt

    if axes is not None:
        return axes.figure, axes
    figure = plt.figure(figsize=size, layout="constrained")
    return figure, figure.add_subplot()


def _scale(low: float, high: float) -> Any:
    import matplotlib as mpl

    return mpl.cm.ScalarMappable(mpl.colors.Normalize(low, high), CMAP)


def _bar(
    figure: Any, mappable: Any, ax: Axes, omega: Any, values: np.ndarray, low: float, high: float
) -> None:
    known = values[np.isfinite(values)]
    below, above = bool((known < low).any()), bool((known > high).any())
    made = figure.colorbar(
        mappable, ax=ax, shrink=0.8,
        extend={(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[below, above],
    )  # fmt: skip
    attrs = getattr(omega, "attrs", {})
    unit = f" [{attrs['units']}]" if attrs.get("units", "1") != "1" else ""
    made.set_label(f"{attrs.get('long_name', 'potential')}{unit}", fontsize=9)
