"""How the energy answers to positions: forces, sensitivity, the energy of a probe atom around a molecule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sciexplain.domains.molecules.adapter import Precision, dataset, in_precision
from sciexplain.domains.molecules.errors import MoleculeError, PositionsError
from sciexplain.domains.molecules.molecules import NUMBERS, SYMBOLS, Molecules
from sciexplain.domains.molecules.protocol import ProtocolError, atom_model, chunks
from sciexplain.labelling import provenance

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["box", "local_potential", "plane", "position_sensitivity"]


def position_sensitivity(
    model: Any,
    molecules: Molecules,
    *,
    target: int = 0,
    precision: Precision = "double",
    batch_size: int | None = 256,
) -> xr.Dataset:
    """How fast the score changes with the position of each atom: |dE / dr_a|^2, and the forces.

    It says what moving an atom would do, not what its presence does: in an equilibrium all of it is 0.

    Parameters
    ----------
    model : nn.Module or AtomModel
        Whose edges are distances, or that takes positions.
    molecules : Molecules
    target, precision, batch_size
        As for `remove_atoms`.

    Returns
    -------
    Dataset
        As of `explain`; `relevance` is |dE / dr|^2, `force (atom, axis)` = -dE / dr, per angstrom.

    Raises
    ------
    PositionsError
        There are no positions.
    ProtocolError
        The score does not depend on them.
    """
    given = atom_model(model)
    used = in_precision(given, precision)
    if molecules.positions is None:
        raise PositionsError("Forces need positions: read xyz or SDF, or from_smiles(..., conformers=True).")
    forces, totals = [], []
    for part, _, _ in chunks(molecules, batch_size):
        place = torch.tensor(part.positions, dtype=used.dtype, requires_grad=True)
        with torch.enable_grad():
            out = used.network(**used.values(part, place))
            out = out[:, None] if out.dim() == 1 else out
            found = None
            if out.requires_grad:
                (found,) = torch.autograd.grad(out[:, target].sum(), place, allow_unused=True)
        if found is None:
            raise ProtocolError(f"The score of {type(given.network).__name__} does not depend on positions.")
        forces.append(-found.double().cpu().numpy())
        totals.append(out.detach()[:, target].double().cpu().numpy())
    force = np.concatenate(forces)
    ds = dataset(
        molecules,
        (force**2).sum(1),
        score=xr.DataArray(np.concatenate(totals), dims="sample"),
        explanation="squared gradient of the score by the position of the atom",
        unit=None,
        attrs={"method": "sensitivity to positions", **provenance(given.network)},
    )
    unit = given.unit or "1"
    ds.relevance.attrs["units"] = f"({unit} / angstrom)^2"
    ds["force"] = (("atom", "axis"), force, {"units": f"{unit} / angstrom"})
    return ds.assign_coords(axis=["x", "y", "z"])


def local_potential(
    model: Any,
    molecule: Molecules,
    points: Any,
    probe: str | int = "H",
    *,
    precision: Precision = "double",
    batch_size: int = 20_000,
) -> xr.DataArray:
    """Omega_A(r): the part of the energy that a probe atom of element A at r would have.

    The probe receives messages from the molecule's atoms and sends none, so it leaves them as they are: a
    local chemical potential of what the network learned (Schuett et al. 2017, figure 5).

    Parameters
    ----------
    model : nn.Module or AtomModel
        Whose edges are distances and that says what single atoms add.
    molecule : Molecules
        One molecule, with positions.
    points : array (..., 3) or DataArray (..., axis)
        Angstrom; see `plane` and `box`.
    probe : str or int
        Element that the network knows, by symbol or atomic number.
    precision : {"double", "model"}
    batch_size : int
        Points per pass.

    Returns
    -------
    DataArray, dims of `points` without its last
        Omega in the unit of the network; NaN where the probe is within 0.3 angstrom of an atom.
        `closeness`, a coordinate: sum of |r - r_a|^-2, whose level 3.8 is the paper's surface.

    Raises
    ------
    MoleculeError
        More than one molecule, an element that is none, points of another shape.
    ProtocolError
        The network has no edges of distances, or no parts of atoms.
    """
    given = atom_model(model)
    used = in_precision(given, precision)
    number = NUMBERS.get(probe) if isinstance(probe, str) else int(probe)
    if number is None or not 0 < number < len(SYMBOLS):
        raise MoleculeError(f"probe={probe!r} is no element.")
    if molecule.count != 1:
        raise MoleculeError(f"The potential of one molecule is asked for; got {molecule.count}.")
    wants = set((used.arguments or {}).values())
    if used.cutoff is None or "edge" not in wants or "positions" in wants:
        raise ProtocolError(
            f"{type(given.network).__name__} makes its own pairs of atoms: a probe that sends nothing cannot"
            " be added. Omega needs networks whose edges are given as distances."
        )
    place = np.asarray(points, dtype=float)
    if place.ndim == 0 or place.shape[-1] != 3:
        raise MoleculeError(f"points have the shape {place.shape}; expected (..., 3).")
    flat = place.reshape(-1, 3)
    found = np.full(len(flat), np.nan)
    closeness = np.zeros(len(flat))
    known = used.values(molecule)
    for start in range(0, len(flat), batch_size):
        some = slice(start, start + batch_size)
        apart = np.linalg.norm(flat[some, None] - molecule.positions, axis=-1)
        closeness[some] = (np.maximum(apart, 1e-3) ** -2).sum(1)
        free = np.flatnonzero((apart >= 0.3).all(1))
        found[start + free] = _of_probes(used, molecule, known, number, apart[free])
    if not isinstance(points, xr.DataArray):
        points = xr.DataArray(place, dims=[*(f"point_{k}" for k in range(place.ndim - 1)), "axis"])
    omega = xr.DataArray(
        found.reshape(place.shape[:-1]),
        dims=points.dims[:-1],
        coords=points.isel({points.dims[-1]: 0}, drop=True).coords,
        name=f"omega_{SYMBOLS[number]}",
    )
    shape = omega.dims
    for k, axis in enumerate("xyz"):
        omega = omega.assign_coords({f"r_{axis}": (shape, place[..., k], {"units": "angstrom"})})
    omega = omega.assign_coords(closeness=(shape, closeness.reshape(omega.shape), {"units": "angstrom^-2"}))
    omega.attrs.update(
        long_name=f"energy of a probe {SYMBOLS[number]}", units=given.unit or "1", **provenance(given.network)
    )
    return omega


def _of_probes(
    model: Any, molecule: Molecules, known: dict[str, Any], number: int, apart: np.ndarray
) -> np.ndarray:
    """Parts of the energy (probe,) at distances (probe, atom) from the atoms."""
    n, many = len(molecule.elements), len(apart)
    if not many:
        return np.zeros(0)
    receives, sends = np.nonzero(apart < model.cutoff)
    added: dict[str, Any] = {
        "elements": np.full(many, number),
        "molecule": np.zeros(many, np.int64),
        "i": receives + n,
        "j": sends,
        "edge": apart[receives, sends],
    }
    values = {}
    for name, what in model.arguments.items():
        value = known[name]
        if isinstance(value, Tensor) and what in added:
            more = torch.from_numpy(added[what]).to(value.device, value.dtype)
            value = torch.cat([value, more])
        values[name] = value
    with torch.no_grad():
        parts = model.energies(**values)
    return parts[n:].double().cpu().numpy()


def plane(molecule: Molecules, step: float = 0.1, margin: float = 2.0, offset: float = 0.0) -> xr.DataArray:
    """Points (v, u, axis) on the plane nearest to all atoms.

    Parameters
    ----------
    molecule : Molecules
        One, with positions.
    step, margin : float
        Angstrom between points, and from the outermost atoms to the edge.
    offset : float
        Angstrom above the plane.

    Returns
    -------
    DataArray (v, u, axis)
        Angstrom; u and v are distances from the middle along the longest and the second axis of the molecule.
    """
    center, axes = _axes(molecule)
    inside = (_places(molecule) - center) @ axes.T
    u, v = (_line(inside[:, k], step, margin) for k in range(2))
    points = center + u[None, :, None] * axes[0] + v[:, None, None] * axes[1] + offset * axes[2]
    return xr.DataArray(
        points,
        dims=("v", "u", "axis"),
        coords={"u": ("u", u, {"units": "angstrom"}), "v": ("v", v, {"units": "angstrom"})},
        attrs={"units": "angstrom"},
    )


def box(molecule: Molecules, step: float = 0.25, margin: float = 2.0) -> xr.DataArray:
    """Points (x, y, z, axis) of a box around all atoms.

    Parameters
    ----------
    molecule : Molecules
        One, with positions.
    step, margin : float
        Angstrom between points, and from the outermost atoms to the faces.

    Returns
    -------
    DataArray (x, y, z, axis)
        Angstrom.
    """
    place = _places(molecule)
    lines = [_line(place[:, k], step, margin) for k in range(3)]
    points = np.stack(np.meshgrid(*lines, indexing="ij"), -1)
    coords = {a: (a, line, {"units": "angstrom"}) for a, line in zip("xyz", lines)}
    return xr.DataArray(points, dims=("x", "y", "z", "axis"), coords=coords, attrs={"units": "angstrom"})


def _places(molecule: Molecules) -> np.ndarray:
    if molecule.count != 1 or molecule.positions is None:
        raise PositionsError(f"Points around one molecule with positions are asked for; got {molecule!r}.")
    return molecule.positions


def _axes(molecule: Molecules) -> tuple[np.ndarray, np.ndarray]:
    """Middle of the atoms, and orthonormal axes from the longest to the shortest."""
    place = _places(molecule)
    center = place.mean(0)
    axes = np.linalg.svd(place - center, full_matrices=True)[2]
    return center, axes


def _line(values: Sequence[float] | np.ndarray, step: float, margin: float) -> np.ndarray:
    if not (step > 0 and margin >= 0):
        raise MoleculeError(f"step={step!r}, margin={margin!r}: expected positive lengths in angstrom.")
    low, high = float(np.min(values)) - margin, float(np.max(values)) + margin
    count = int(np.ceil((high - low) / step)) + 1
    return (low + high) / 2 + (np.arange(count) - (count - 1) / 2) * step
