"""Part `alkanes`: chains of carbon, within the sizes that the network learned from and beyond."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import molecule_networks as networks
import molecule_sources as sources
import numpy as np
import pandas as pd
from rdkit import Chem

import sciexplain as sx
from sciexplain.report import Part

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXPERIMENT = -280.5
"""kcal/mol per CH2 at 298 K: heats of formation of propane (-25.0) to heptane (-44.9) fall by 4.96 each, less
those of the lone atoms, C 171.3 and H 52.1. With zero-point energy, which PBE0's figure here is without."""


def alkanes(short: bool) -> Part:
    """Energy against length, what CH3 and CH2 have, longer chains, other shapes, other geometries.

    Raises
    ------
    sciexplain.data.DataError
        QM7 cannot be obtained.
    """
    network, _ = networks.qm7_net()
    lengths = list(range(1, 11))
    chains = {n: sources.zigzag(n) for n in lengths}
    part = Part()
    part.tables["energy against length"], reason = _lengths(network, chains)
    if reason:
        part.notes["GFN2-xTB"] = f"left out: {reason}"
    means = sources.element_means(short)
    along = pd.concat({n: _along(network, chains[n], means) for n in (7, 10)}, names=["carbons"])
    part.tables["groups along a chain"] = along
    part.tables["other shapes"] = _shapes(network, chains, 8 if short else 40)
    part.tables["other geometries"] = _geometries(network, 60 if short else 600)
    part.figures["alkanes"] = _figure(part.tables["energy against length"], along)
    relevance = sources.both(network, chains[7])["relevance"]
    part.figures["heptane"] = sx.molecules.plot_molecules(
        sources.less_elements(relevance, means["relevance"]),
        chains[7],
        title="heptane",
    )
    return part


def _lengths(network: Any, chains: dict[int, sx.molecules.Molecules]) -> tuple[pd.DataFrame, str]:
    """Energies (kcal/mol) by number of carbons, and what each CH2 more adds; why xTB is left out."""
    found, _ = sources.qm7()
    places = sources.of_qm7(*["C" * n for n in chains])
    table = pd.DataFrame(index=pd.Index(list(chains), name="carbons"), dtype=float)
    for name in ("PBE0", "network at QM7's positions"):
        table[name] = np.nan
    for n, place in zip(chains, places, strict=True):
        if place is not None:
            table.loc[n, "PBE0"] = found.properties["energy"][place]
            table.loc[n, "network at QM7's positions"] = sx.molecules.predict(network, found[place])[0]
    table["network"] = [float(sx.molecules.predict(network, one)[0]) for one in chains.values()]
    reason = ""
    try:
        table["GFN2-xTB"] = [
            sx.molecules.xtb_energies(one).properties["energy"][0] for one in chains.values()
        ]
    except sx.molecules.MissingPackageError as error:
        reason = str(error)
    for name in list(table):
        table[f"CH2: {name}"] = table[name].diff()
    return table, reason


def _along(network: Any, chain: sx.molecules.Molecules, means: dict[str, dict[str, float]]) -> pd.DataFrame:
    """Of each carbon with its hydrogens, kcal/mol: the sum, and the sum less the means of the elements."""
    carbons = int((chain.elements == 6).sum())
    groups = sx.molecules.atom_lists(chain, {str(k): {0: [k]} for k in range(carbons)}, hydrogens=True)
    table = pd.DataFrame(index=pd.RangeIndex(1, carbons + 1, name="carbon"))
    table["group"] = ["CH3" if k in (0, carbons - 1) else "CH2" for k in range(carbons)]
    for name, values in sources.both(network, chain).items():
        for label, shown in ((name, values), (f"{name}, less", sources.less_elements(values, means[name]))):
            pooled = sx.molecules.pool(shown, groups, per="molecule").isel(sample=0)
            table[label] = [float(pooled.sel(region=str(k))) for k in range(carbons)]
    return table


def _shapes(network: Any, chains: dict[int, sx.molecules.Molecules], count: int) -> pd.DataFrame:
    """Shapes by ETKDG: energy above the zigzag (kcal/mol) by the network, MMFF94 and, if there, GFN2-xTB."""
    rows = {}
    for n in (4, 6, 7, 8, 10):
        shapes, force_field = sources.conformers("C" * n, count)
        known = force_field - sources.mmff(chains[n])
        found = sx.molecules.predict(network, shapes) - sx.molecules.predict(network, chains[n])
        row = {
            "shapes": len(known),
            "MMFF94 mean": known.mean(),
            "MMFF94 max": known.max(),
            "network mean": found.mean(),
            "network max": found.max(),
            "difference, mean": np.abs(found - known).mean(),
            "correlation": np.corrcoef(found, known)[0, 1] if known.std() > 1e-3 else np.nan,
        }
        try:
            tight = (
                sx.molecules.xtb_energies(shapes).properties["energy"]
                - sx.molecules.xtb_energies(chains[n]).properties["energy"]
            )
            row |= {"GFN2-xTB mean": tight.mean(), "GFN2-xTB max": tight.max()}
        except sx.molecules.MissingPackageError:
            pass
        rows[n] = row
    return pd.DataFrame(rows).T.rename_axis("carbons")


def _geometries(network: Any, count: int) -> pd.DataFrame:
    """The same molecules of QM7 at its own positions and at those of ETKDG and MMFF94; kcal/mol."""
    found, _ = sources.qm7()
    chosen = np.linspace(0, len(found) - 1, count).astype(int)
    own = found[chosen]
    assert own.mols is not None
    stereo = [Chem.MolToSmiles(Chem.RemoveHs(mol)) for mol in own.mols]
    made = sx.molecules.from_smiles(stereo, conformers=True, skip_invalid=True)
    kept = made.rows
    own, y = own[kept], own.properties["energy"][kept]
    at_own, at_made = sx.molecules.predict(network, own), sx.molecules.predict(network, made)
    e_own, e_made = (_heavy_mean(network, one) for one in (own, made))
    rows = {
        "error at QM7's positions": np.abs(at_own - y),
        "error at RDKit's positions": np.abs(at_made - y),
        "RDKit's less QM7's": at_made - at_own,
        "the same, without sign": np.abs(at_made - at_own),
        "relevance per heavy atom, without sign": np.abs(e_made - e_own),
    }
    try:
        tight = [sx.molecules.xtb_energies(one).properties["energy"] for one in (own, made)]
        rows["GFN2-xTB, RDKit's less QM7's"] = tight[1] - tight[0]
    except sx.molecules.MissingPackageError:
        pass
    table = pd.DataFrame(
        {
            name: {"mean": v.mean(), "median": np.median(v), "95 %": np.quantile(v, 0.95)}
            for name, v in rows.items()
        }
    ).T
    table.insert(0, "molecules", len(kept))
    return table.rename_axis("kcal/mol")


def _heavy_mean(network: Any, molecules: sx.molecules.Molecules) -> np.ndarray:
    """Relevance of the heavy atoms of each molecule, per heavy atom; it does not hang on their order."""
    relevance = sx.molecules.explain(network, molecules)["relevance"].values
    heavy = molecules.elements != 1
    total = np.bincount(molecules.molecule, relevance * heavy, molecules.count)
    return total / np.bincount(molecules.molecule, heavy, molecules.count)


def _figure(lengths: pd.DataFrame, along: pd.DataFrame) -> Figure:
    """What each CH2 adds, and what the groups along heptane and decane have less the means of elements."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    steps = lengths.loc[2:]
    known = {"network": "C0", "network at QM7's positions": "C1", "PBE0": "black"}
    for name, color in known.items():
        axes[0].plot(steps.index, steps[f"CH2: {name}"], "o-", color=color, label=name, markersize=4)
    axes[0].axvspan(7.5, 10.5, color="#eeeeee", zorder=0)
    axes[0].text(9, axes[0].get_ylim()[1], "larger than\nany of QM7", ha="center", va="top", fontsize=8)
    axes[0].set_xlabel("carbons")
    axes[0].set_ylabel("energy of one more CH2 [kcal/mol]")
    axes[0].legend(frameon=False, fontsize=8)
    for ax, n in zip(axes[1:], (7, 10), strict=True):
        one = along.loc[n]
        for name, mark in (("relevance", "o-"), ("E_i", "s--")):
            ax.plot(one.index, one[f"{name}, less"], mark, label=name, markersize=4)
        ax.axhline(0, color="#888888", linewidth=0.8)
        ax.set_title("heptane" if n == 7 else "decane", fontsize=10)
        ax.set_xlabel("carbon, with its hydrogens")
        ax.set_xticks(one.index)
        ax.set_ylabel("less the mean of the elements [kcal/mol]")
        ax.legend(frameon=False, fontsize=8)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return figure
