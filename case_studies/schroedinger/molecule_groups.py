"""Parts `groups` and `walks`: what functional groups have on average, and where relevance goes."""

from __future__ import annotations

from typing import Any

import molecule_networks as networks
import molecule_sources as sources
import numpy as np
import pandas as pd

import sciexplain as sx
from sciexplain.report import Part

FEWEST = 20
"""Occurrences of a group that is listed in the long form; a fifth of it in the short one."""


def groups(short: bool) -> Part:
    """Energy of functional groups over QM7 less the means of the elements, with its spread.

    Beside it a fit: by how much a molecule's PBE0 energy, less the fit of its composition, changes with each
    occurrence of a group. No network is in that number.

    Raises
    ------
    sciexplain.data.DataError
        QM7 cannot be obtained.
    """
    molecules, values = sources.explained(short)
    means = sources.element_means(short)
    found = sx.molecules.functional_groups(molecules)
    columns = {}
    for name in ("E_i", "relevance"):
        over = sx.molecules.summary(sources.less_elements(values[name], means[name]), found).to_dataframe()
        if not columns:
            columns["count"], columns["molecules"] = over["count"], over["molecules"]
        columns[name], columns[f"std {name}"] = over["mean"], over["std"]
    table = pd.DataFrame(columns)
    table["fit to PBE0"] = _fit(molecules, found)
    shown = table[(table["count"] >= (FEWEST // 5 if short else FEWEST)) & (table.index != "rest")]
    shown = shown.sort_values("E_i").rename_axis("group")
    part = Part(notes={"molecules": len(molecules)}, tables={"kcal/mol per occurrence": shown})
    part.tables["do they agree over groups (Spearman)"] = (
        shown[["E_i", "relevance", "fit to PBE0"]].corr("spearman").rename_axis("what")
    )
    part.figures["groups"] = _bars(shown)
    return part


def _fit(molecules: sx.molecules.Molecules, found: Any) -> pd.Series:
    """Least squares of what the composition leaves over of PBE0's energies, on counts of groups."""
    energies = molecules.properties["energy"]
    reference = sx.molecules.composition(molecules, energies)
    parts = np.array([reference[int(z)] for z in molecules.elements])
    left = energies - np.bincount(molecules.molecule, parts, molecules.count)
    counts = np.zeros((len(molecules), len(found.regions)))
    np.add.at(counts, (found.molecule, found.region), 1.0)
    names = list(found.regions)
    kept = [k for k, name in enumerate(names) if name != "rest" and counts[:, k].any()]
    fitted = np.linalg.lstsq(counts[:, kept], left, rcond=None)[0]
    return pd.Series(fitted, index=[names[k] for k in kept])


def walks(short: bool) -> Part:
    """Pairs of atoms of two molecules as arcs, and what share the largest walks carry."""
    net, about = networks.qm7_net()
    named = {"N-methylacetamide": "CNC(C)=O", "benzene": "c1ccccc1"}
    molecules = sx.molecules.from_smiles(list(named.values()), conformers=True)
    part = Part()
    rows = {}
    for m, name in enumerate(named):
        one = molecules[m : m + 1]
        found = sx.molecules.walk_relevance(net, one, k=None)
        size = np.sort(np.abs(found["relevance"].values))[::-1]
        rows[name] = {
            "walks": len(size),
            "sum": float(found["relevance"].sum()),
            "sum of |R|": size.sum(),
        } | {f"share of the {many} largest": size[:many].sum() / size.sum() for many in (10, 100, 1000)}
        pairs = sx.molecules.pair_relevance(net, one)
        pairs = pairs.isel(pair=np.flatnonzero(pairs["atom_i"].values != pairs["atom_j"].values))
        pairs["relevance"].attrs["units"] = about["unit"]
        part.figures[f"pairs of {name}"] = sx.molecules.plot_walks(pairs, one, top=24, title=name)
    part.tables["walks"] = pd.DataFrame(rows).T.rename_axis("molecule")
    return part


def _bars(table: pd.DataFrame) -> Any:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, 3, figsize=(12, 0.3 * len(table) + 1.2), sharex=True, sharey=True, layout="constrained"
    )
    rows = np.arange(len(table))
    for ax, name in zip(axes, ("E_i", "relevance", "fit to PBE0"), strict=True):
        spread = table.get(f"std {name}")
        ax.barh(rows, table[name], xerr=spread, color="C0", ecolor="#888888", height=0.7)
        ax.axvline(0, color="#888888", linewidth=0.8)
        ax.set_xlabel(f"{name} [kcal/mol per occurrence]")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(rows, [f"{name} ({int(n)})" for name, n in table["count"].items()])
    axes[0].invert_yaxis()
    return figure
