"""Part `probes`: the energy that another atom would have around a molecule, as the network sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import molecule_networks as networks
import numpy as np
import pandas as pd

import sciexplain as sx
from sciexplain.report import Part

NAMES = {"benzene": "c1ccccc1", "toluene": "Cc1ccccc1", "methane": "C"}
PROBES = ("H", "C", "N", "O")
SYMMETRY = {"benzene": 6, "methane": 3}
"""By how many equal turns about an axis the molecule comes onto itself."""


def probes(short: bool) -> Part:
    """Omega_A(r) of four probes around benzene, toluene and methane: on a surface, on a plane, in numbers."""
    net, about = networks.qm7_net()
    molecules = sx.molecules.from_smiles(list(NAMES.values()), conformers=True)
    part = Part()
    part.figures["surface"] = _surfaces(net, molecules, PROBES[:2] if short else PROBES, about["unit"])
    part.figures["plane"] = _planes(net, molecules, "C", about["unit"])
    part.tables["range on the surface"] = _ranges(net, molecules)
    part.tables["symmetry"] = _symmetry(net, molecules)
    return part


def page(path: Path) -> Path:
    """Toluene with the energy of a probe carbon on its surface, to turn in a browser."""
    net, about = networks.qm7_net()
    toluene = sx.molecules.from_smiles([NAMES["toluene"]], conformers=True)
    around = sx.molecules.surface(toluene)
    omega = sx.molecules.local_potential(net, toluene, around.vertices, "C").assign_attrs(units=about["unit"])
    shown = sx.molecules.explain(net, toluene)
    sx.molecules.to_html(shown, toluene, path=path, surface=around, omega=omega)
    return path


def _surfaces(net: Any, molecules: sx.molecules.Molecules, atoms: tuple[str, ...], unit: str) -> Any:
    """A row per molecule, a column per probe; the scale is common to a column."""
    import matplotlib.pyplot as plt

    around = [sx.molecules.surface(molecules[m : m + 1]) for m in range(len(molecules))]
    figure, axes = plt.subplots(
        len(molecules), len(atoms), figsize=(3.6 * len(atoms), 3 * len(molecules)), layout="constrained"
    )
    for k, atom in enumerate(atoms):
        shells = [
            sx.molecules.local_potential(net, molecules[m : m + 1], one.vertices, atom).assign_attrs(
                units=unit
            )
            for m, one in enumerate(around)
        ]
        ends = (min(float(one.min()) for one in shells), max(float(one.max()) for one in shells))
        for m, (shell, one) in enumerate(zip(shells, around, strict=True)):
            sx.molecules.plot_surface(
                shell,
                one,
                molecules[m : m + 1],
                axes[m, k],
                limits=ends,
                title=f"{list(NAMES)[m]}, probe {atom}",
            )
    return figure


def _planes(net: Any, molecules: sx.molecules.Molecules, atom: str, unit: str) -> Any:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(molecules), figsize=(13, 4), layout="constrained")
    for m, (ax, name) in enumerate(zip(axes, NAMES, strict=True)):
        one = molecules[m : m + 1]
        omega = sx.molecules.local_potential(net, one, sx.molecules.plane(one), atom).assign_attrs(units=unit)
        sx.molecules.plot_plane(omega, one, ax, title=f"{name}, probe {atom}")
    return figure


def _ranges(net: Any, molecules: sx.molecules.Molecules) -> pd.DataFrame:
    """Least and largest Omega on the surface of closeness 3.8, and alone, 100 angstrom away; kcal/mol."""
    rows = {}
    for m, name in enumerate(NAMES):
        one = molecules[m : m + 1]
        points = sx.molecules.surface(one).vertices
        for atom in PROBES:
            omega = sx.molecules.local_potential(net, one, points, atom).values
            alone = float(sx.molecules.local_potential(net, one, np.array([[100.0, 0.0, 0.0]]), atom)[0])
            rows[name, atom] = {"least": omega.min(), "largest": omega.max(), "alone": alone}
    return pd.DataFrame(rows).T.rename_axis(["molecule", "probe"])


def _symmetry(net: Any, molecules: sx.molecules.Molecules) -> pd.DataFrame:
    """200 drawn points and where turns of the molecule bring them: largest spread, beside that of all.

    The molecule's own positions are not quite symmetric (a force field's); how far off they are, too.
    """
    rows = {}
    for m, (name, fold) in enumerate((n, SYMMETRY[n]) for n in NAMES if n in SYMMETRY):
        one = molecules[list(NAMES).index(name) : list(NAMES).index(name) + 1]
        assert one.positions is not None
        centre, axis = _axis(one, name)
        drawn = sx.molecules.surface(one).vertices.values
        drawn = drawn[np.random.default_rng(m).permutation(len(drawn))[:200]]
        turned = np.stack([_turn(drawn, centre, axis, 2 * np.pi * k / fold) for k in range(fold)])
        omega = sx.molecules.local_potential(net, one, turned, "C").values
        places = _turn(one.positions, centre, axis, 2 * np.pi / fold)
        off = np.linalg.norm(places[:, None] - one.positions[None], axis=-1).min(1).max()
        rows[name] = {
            "turns": fold,
            "positions off by, angstrom": off,
            "spread over turns": (omega.max(0) - omega.min(0)).max(),
            "spread over points": omega.max() - omega.min(),
        }
    return pd.DataFrame(rows).T.rename_axis("molecule")


def _axis(one: sx.molecules.Molecules, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A point on the axis and its direction: the normal of benzene's ring; a bond of methane."""
    assert one.positions is not None
    if name == "benzene":
        ring = one.positions[one.elements == 6]
        return ring.mean(0), np.linalg.svd(ring - ring.mean(0))[2][2]
    centre = one.positions[one.elements == 6][0]
    bond = one.positions[one.elements == 1][0] - centre
    return centre, bond / np.linalg.norm(bond)


def _turn(points: np.ndarray, centre: np.ndarray, axis: np.ndarray, angle: float) -> np.ndarray:
    """Rodrigues' rotation."""
    x = points - centre
    along = (x @ axis)[..., None] * axis
    return centre + along + np.cos(angle) * (x - along) + np.sin(angle) * np.cross(axis, x)
