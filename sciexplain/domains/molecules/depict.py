"""Structural formulas with relevance as colour: figures, and SVG that tells each atom's value on hover."""

from __future__ import annotations

import os
import textwrap
from dataclasses import dataclass
from html import escape
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from sciexplain.domains.molecules import colours
from sciexplain.domains.molecules.errors import MoleculeError, ParseError, require
from sciexplain.domains.molecules.molecules import SYMBOLS, Molecules

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_molecules", "plot_walks", "to_svg"]

_BOND = 34  # pixels of a bond in a panel, unless the molecule is too large for it
_RADIUS = 0.42  # of the coloured discs, in bonds
_FINER = 3  # pixels of a figure's panel for each of these
_SIDE = 230
_LETTERS = 12  # of a title in an inch
_FOOT = 84  # pixels below the panels of an SVG


def plot_molecules(
    relevance: Any,
    molecules: Molecules,
    which: Any = None,
    axes: Any = None,
    *,
    limit: float | None = None,
    fold: bool = True,
    ids: bool = False,
    title: str | None = None,
) -> Figure:
    """Structural formulas, each atom on a disc in the colour of its relevance; one scale for all.

    Parameters
    ----------
    relevance : relevance dataset, DataArray (atom,) or ndarray (atom,)
    molecules : Molecules
        With RDKit molecules.
    which : int or sequence of int, optional
        The molecules to draw; all by default, at most 60.
    axes : Axes, or as many as molecules, optional
    limit : float, optional
        The scale goes from -limit to limit; by default to the largest magnitude that is drawn. Give it to
        compare figures.
    fold : bool
        Draw no hydrogens, and add their relevance to their atom; the sum stays.
    ids : bool
        Write `atom_index` at each atom.
    title : str, optional

    Raises
    ------
    ParseError
        Molecules without bonds.
    MoleculeError, RegionError
        Unknown molecules, another number of axes; relevance of other atoms.
    """
    array = colours.flat_values(relevance, molecules)
    wanted = colours.chosen(which, molecules)
    drawn = [_drawing(molecules, m, array.values, fold) for m in wanted]
    end = colours.limit_of([d.values for d in drawn], limit)
    figure, panels = _panels(axes, len(drawn), title)
    for ax, one, m in zip(panels, drawn, wanted):
        _show(ax, one, colours.colors_of(one.values, end), ids)
        ax.set_title(colours.caption(relevance, molecules, m), fontsize=8)
    beyond = any((np.abs(d.values) > end * (1 + 1e-9)).any() for d in drawn)
    colours.bar(panels, end, colours.quantity(array, any(d.folded for d in drawn)), beyond)
    return figure


def plot_walks(
    walks: xr.Dataset,
    molecules: Molecules,
    which: int = 0,
    axes: Any = None,
    *,
    top: int = 30,
    limit: float | None = None,
    title: str | None = None,
) -> Figure:
    """Walks, or pairs, as arcs over a structural formula: the larger |R|, the wider and the less pale.

    Parameters
    ----------
    walks : Dataset
        As of `walk_relevance` (a walk starts at its dot) or `pair_relevance` (from atom j to atom i).
    molecules : Molecules
        Those that the walks are of, with RDKit molecules.
    which : int
        The molecule.
    axes : Axes, optional
    top : int
        Only so many arcs, largest |R| first; the figure tells what share of sum |R| they are.
    limit : float, optional
        As for `plot_molecules`.
    title : str, optional

    Raises
    ------
    MoleculeError
        No walks of this molecule, or a dataset of something else.
    """
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise MoleculeError(f"top={top!r}; expected how many arcs to draw.")
    (m,) = colours.chosen(int(which), molecules)
    paths, values = _paths(walks, molecules, m)
    order = np.argsort(-np.abs(values), kind="stable")[:top]
    known = float(np.abs(values).sum())
    share = float(np.abs(values[order]).sum()) / known if known else 0.0
    end = colours.limit_of([values[order]], limit)
    own = paths[order] - molecules.starts[m]
    light = molecules.elements[molecules.molecule == m][np.unique(own)] == 1
    one = _drawing(molecules, m, np.zeros(len(molecules.elements)), fold=not light.any())
    place = {int(a): k for k, a in enumerate(one.atoms)}
    figure, (ax,) = _panels(axes, 1, title, side=4.2)
    at = _show(ax, one, None, ids=False)
    for rank in range(len(order))[::-1]:  # the largest on top
        path = at[[place[int(a)] for a in own[rank]]]
        _arc(ax, path, float(values[order[rank]]), end, rank, at.mean(0))
    name = str(walks["relevance"].dims[0])
    words = f"{len(order)} of {len(values)} {name}s, {share:.0%} of the sum of |R|"
    ax.set_title(f"{colours.caption(None, molecules, m)}\n{words}", fontsize=8)
    label = colours.quantity(walks["relevance"], False).replace("relevance", f"relevance of {name}s", 1)
    colours.bar([ax], end, label, bool((np.abs(values) > end * (1 + 1e-9)).any()))
    return figure


def to_svg(
    relevance: Any,
    molecules: Molecules,
    which: Any = None,
    path: str | os.PathLike[str] | None = None,
    *,
    columns: int = 4,
    limit: float | None = None,
    fold: bool = True,
) -> str:
    """The same as one SVG for web pages: hovering over an atom tells its index, element and relevance.

    Parameters
    ----------
    relevance, molecules, which, limit, fold
        As for `plot_molecules`.
    path : path, optional
        Also write it to this file.
    columns : int
        Molecules in a row.

    Returns
    -------
    str
        Every atom is a `<circle class="atom">` with `data-molecule`, `data-atom` (`atom_index`) and
        `data-relevance`.

    Raises
    ------
    ParseError, MoleculeError, RegionError
        As `plot_molecules`.
    """
    if isinstance(columns, bool) or not isinstance(columns, int) or columns < 1:
        raise MoleculeError(f"columns={columns!r}; expected how many molecules in a row.")
    array = colours.flat_values(relevance, molecules)
    wanted = colours.chosen(which, molecules)
    drawn = [_drawing(molecules, m, array.values, fold) for m in wanted]
    end = colours.limit_of([d.values for d in drawn], limit)
    unit = f" {array.attrs['units']}" if "units" in array.attrs else ""
    across = min(columns, len(drawn))
    width, height = max(across * _SIDE, 320), -(-len(drawn) // across) * (_SIDE + 34) + _FOOT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for k, (one, m) in enumerate(zip(drawn, wanted)):
        x, y = k % across * _SIDE, k // across * (_SIDE + 34)
        for line, text in enumerate(colours.caption(relevance, molecules, m).split("\n")):
            parts.append(
                f'<text x="{x + _SIDE / 2}" y="{y + 13 + 13 * line}" text-anchor="middle">'
                f"{escape(text)}</text>"
            )
        inner, at, radius = _svg(one, colours.colors_of(one.values, end))
        parts.append(f'<g transform="translate({x},{y + 30})">{inner}')
        for (cx, cy), atom, value in zip(at, one.atoms.tolist(), one.values.tolist()):
            symbol = SYMBOLS[molecules.elements[molecules.starts[m] + atom]]
            parts.append(
                f'<circle class="atom" cx="{cx:.1f}" cy="{cy:.1f}" r="{radius:.1f}" fill="transparent"'
                f' data-molecule="{m}" data-atom="{atom}" data-relevance="{value!r}">'
                f"<title>{symbol}{atom}: {value:+.4g}{escape(unit)}</title></circle>"
            )
        parts.append("</g>")
    label = colours.quantity(array, any(d.folded for d in drawn))
    parts += [_svg_bar(width, height, end, escape(label)), "</svg>"]
    text = "\n".join(parts)
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text


@dataclass(frozen=True)
class _Drawing:
    """A flat RDKit molecule, the atom_index of each of its atoms, and their values."""

    mol: Any
    atoms: np.ndarray
    values: np.ndarray
    folded: bool


def _drawing(molecules: Molecules, m: int, values: np.ndarray, fold: bool) -> _Drawing:
    if molecules.mols is None:
        raise ParseError(
            "Structural formulas need bonds: read SMILES or SDF, or sx.molecules.perceive_bonds(molecules)."
        )
    chem, draw = require("rdkit.Chem"), require("rdkit.Chem.Draw.rdMolDraw2D")
    mol = chem.Mol(molecules.mols[m])
    mol.RemoveAllConformers()
    n = mol.GetNumAtoms()
    own = values[molecules.starts[m] : molecules.starts[m] + n].copy()
    for atom in mol.GetAtoms():
        atom.SetIntProp("_origin", atom.GetIdx())
    if fold:
        with require("rdkit.rdBase").BlockLogs():
            mol = chem.RemoveHs(mol)
    atoms = np.array([atom.GetIntProp("_origin") for atom in mol.GetAtoms()], np.int64)
    gone = np.setdiff1d(np.arange(n), atoms)
    for h in gone.tolist():  # RDKit only removes hydrogens that have one neighbour
        (home,) = molecules.mols[m].GetAtomWithIdx(h).GetNeighbors()
        own[home.GetIdx()] += own[h]
    mol = draw.PrepareMolForDrawing(mol, kekulize=True, addChiralHs=False, forceCoords=True)
    return _Drawing(mol, atoms, own[atoms], len(gone) > 0)


def _draw(drawer: Any, one: _Drawing, colors: np.ndarray | None, finer: int) -> np.ndarray:
    """Draw a molecule; returns where its atoms (atom, 2) are, in pixels from the top left."""
    options = drawer.drawOptions()
    options.useBWAtomPalette()
    options.clearBackground = False
    options.fixedBondLength = _BOND * finer
    options.bondLineWidth = 1.4 * finer
    options.scaleBondWidth = False
    options.padding = 0.08
    options.highlightRadius = _RADIUS
    options.fillHighlights = True
    options.atomHighlightsAreCircles = True
    every = list(range(len(one.atoms)))
    if colors is None:
        drawer.DrawMolecule(one.mol)
    else:
        drawer.DrawMolecule(
            one.mol,
            highlightAtoms=every,
            highlightBonds=[],
            highlightAtomColors={k: tuple(map(float, colors[k])) for k in every},
        )
    drawer.FinishDrawing()
    points = [drawer.GetDrawCoords(k) for k in every]
    return np.array([(p.x, p.y) for p in points])


def _show(ax: Axes, one: _Drawing, colors: np.ndarray | None, ids: bool) -> np.ndarray:
    """Draw into axes in pixels; returns where the atoms (atom, 2) are."""
    from matplotlib.image import imread

    draw = require("rdkit.Chem.Draw.rdMolDraw2D")
    side = _SIDE * _FINER
    drawer = draw.MolDraw2DCairo(side, side)
    at = _draw(drawer, one, colors, _FINER)
    ax.imshow(imread(BytesIO(drawer.GetDrawingText())), interpolation="antialiased")
    ax.set_axis_off()
    for k, atom in enumerate(one.atoms.tolist() if ids else ()):
        near = [neighbour.GetIdx() for neighbour in one.mol.GetAtomWithIdx(k).GetNeighbors()]
        away = at[k] - at[near].mean(0) if near else np.array([1.0, -1.0])
        x, y = at[k] + 0.55 * _BOND * _FINER * away / (np.linalg.norm(away) or 1.0)
        ax.text(x, y, str(atom), fontsize=6, color="#555555", ha="center", va="center")
    return at


def _svg(one: _Drawing, colors: np.ndarray) -> tuple[str, np.ndarray, float]:
    """The inside of a molecule's SVG, where its atoms are, and the radius of a disc."""
    draw = require("rdkit.Chem.Draw.rdMolDraw2D")
    drawer = draw.MolDraw2DSVG(_SIDE, _SIDE)
    at = _draw(drawer, one, colors, 1)
    text = drawer.GetDrawingText()
    start = text.index(">", text.index("<svg")) + 1
    inner = text[start : text.rindex("</svg>")]
    ends = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in one.mol.GetBonds()]
    bonds = [float(np.linalg.norm(at[a] - at[b])) for a, b in ends]
    return inner, at, _RADIUS * (float(np.mean(bonds)) if bonds else _BOND)


def _svg_bar(width: int, height: int, end: float, label: str) -> str:
    stops = "".join(
        f'<stop offset="{x:.3f}" stop-color="rgb({",".join(str(round(255 * c)) for c in color)})"/>'
        for x, color in zip(np.linspace(0, 1, 33), colours.colors_of(np.linspace(-1, 1, 33), 1.0).tolist())
    )
    left, top, long = width / 2 - 120, height - _FOOT + 14, 240
    ticks = "".join(
        f'<text x="{left + long * (0.5 + 0.5 * k)}" y="{top + 28}" text-anchor="middle">{k * end:.3g}</text>'
        for k in (-1, -0.5, 0, 0.5, 1)
    )
    return (
        f'<linearGradient id="scale">{stops}</linearGradient>'
        f'<rect x="{left}" y="{top}" width="{long}" height="14" fill="url(#scale)" stroke="#888"/>{ticks}'
        f'<text x="{width / 2}" y="{top + 46}" text-anchor="middle">{label}</text>'
    )


def _panels(axes: Any, count: int, title: str | None, side: float = 2.3) -> tuple[Figure, list[Axes]]:
    """The given axes, or new ones, at most four in a row."""
    import matplotlib.pyplot as plt

    if axes is not None:
        given = list(np.ravel(np.asarray(axes, dtype=object)))
        if len(given) != count:
            raise MoleculeError(f"{count} molecules to draw, {len(given)} axes given.")
        return given[0].figure, given
    columns = min(4, count)
    rows = -(-count // columns)
    # the bar below, and its label, need some width
    size = (max(columns * side, 3.6), rows * (side + 0.35) + 0.8)
    figure = plt.figure(figsize=size, layout="constrained")
    made = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in made[count:]:
        unused.remove()
    if title:
        figure.suptitle(textwrap.fill(title, int(size[0] * _LETTERS)), fontsize=11)
    return figure, list(made[:count])


def _paths(walks: xr.Dataset, molecules: Molecules, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Atoms (arc, step), rows of `elements`, and relevance (arc,) of a molecule's walks or pairs."""
    if not isinstance(walks, xr.Dataset) or "relevance" not in walks:
        raise MoleculeError("Arcs are drawn of a dataset, as of walk_relevance or pair_relevance.")
    if "atoms" in walks.variables:
        paths = walks["atoms"].transpose("walk", "step").values
    elif {"atom_i", "atom_j"} <= set(walks.variables):
        paths = np.stack([walks["atom_j"].values, walks["atom_i"].values], 1)
    else:
        raise MoleculeError(
            f"Neither `atoms` nor `atom_i`, `atom_j` is in the dataset; it has {list(walks)}."
        )
    if paths.size and paths.max() >= len(molecules.elements):
        raise MoleculeError("The walks are of other molecules: they visit atoms that are not there.")
    own = molecules.molecule[paths[:, 0]] == m
    if not own.any():
        raise MoleculeError(f"There are no walks of {molecules.label(m)}.")
    return paths[own].astype(np.int64), walks["relevance"].values[own].astype(np.float64)


def _arc(ax: Axes, path: np.ndarray, value: float, end: float, rank: int, middle: np.ndarray) -> None:
    """One walk over positions (step, 2): bent lines, loops where it stays, a dot where it starts."""
    from matplotlib.patches import Circle, PathPatch
    from matplotlib.path import Path as Line

    strength = min(abs(value) / end, 1.0)
    color = colours.colors_of(np.sign(value) * 1.0, 1.0)
    look: dict[str, Any] = {
        "edgecolor": color, "facecolor": "none", "alpha": 0.15 + 0.75 * strength,
        "linewidth": 0.6 + 2.6 * strength, "capstyle": "round",
    }  # fmt: skip
    bend = (0.1 + 0.03 * (rank % 5)) * (1 if rank % 2 else -1)  # so that walks over one bond lie side by side
    size = _BOND * _FINER
    for a, b in pairwise(path):
        step = b - a
        if not step.any():
            out = a - middle
            out = out / (np.linalg.norm(out) or 1.0) if out.any() else np.array([0.0, -1.0])
            radius = size * (0.12 + 0.025 * (rank % 5))
            ax.add_patch(Circle(a + out * radius, radius, **look))
            continue
        control = (a + b) / 2 + bend * np.array([-step[1], step[0]])
        ax.add_patch(PathPatch(Line([a, control, b], [Line.MOVETO, Line.CURVE3, Line.CURVE3]), **look))
    ax.add_patch(
        Circle(path[0], size * (0.04 + 0.05 * strength), color=color, alpha=look["alpha"], linewidth=0)
    )
