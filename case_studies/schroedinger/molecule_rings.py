"""Part `rings`: how stable the network finds rings of carbon."""

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

STRAIN = {3: 27.5, 4: 26.3, 5: 6.2, 6: 0.0, 7: 6.3}
"""kcal/mol of cyclopropane to cycloheptane, from heats of combustion. Eliel and Wilen 1994, Stereochemistry
of Organic Compounds."""

KINDS = {
    "c1ccccc1": "aromatic 6-ring",
    "C1CCCCC1": "6-ring, saturated",
    "C1=CCCCC1": "6-ring, one C=C",
    "C1=CCC=CC1": "6-ring, two C=C",
    "C1=CC=CCC1": "6-ring, two C=C",
    "C1CCCC1": "5-ring, saturated",
    "C1=CCCC1": "5-ring, one C=C",
    "C1=CC=CC1": "5-ring, two C=C",
    "C1CCC1": "4-ring, saturated",
    "C1=CCC1": "4-ring, one C=C",
    "C1CC1": "3-ring, saturated",
    "C1=CC1": "3-ring, one C=C",
    "C1CCCCCC1": "7-ring, saturated",
}
"""What a ring of carbon is by itself -> its name."""


def rings(short: bool) -> Part:
    """Energy and relevance of carbon rings by kind, their ranking, and strain and aromaticity as totals.

    Raises
    ------
    sciexplain.data.DataError
        QM7 cannot be obtained.
    """
    network, _ = networks.qm7_net()
    found, molecules = _all_rings(short)
    values = sources.both(network, molecules)
    means = sources.element_means(short)
    for name, one in values.items():
        table = _ring_sums(one, found)
        lesser = _ring_sums(sources.less_elements(one, means[name]), found)
        found[f"{name}, carbons"] = table["carbons"] / found["size"]
        found[f"{name}, less"] = lesser["all"] / found["size"]
    part = Part(notes={"rings": len(found), "molecules": len(molecules)})
    part.tables["per carbon of the ring"] = _by_kind(found)
    part.tables["strain"] = _strain(network)
    part.tables["aromatic stabilisation"] = _aromatic(network)
    part.figures["by kind"] = _boxes(found)
    part.figures["ranking of six-membered rings"] = _ranking(found, values["E_i"], molecules, means["E_i"])
    return part


def _all_rings(short: bool) -> tuple[pd.DataFrame, sx.molecules.Molecules]:
    """Carbon rings of QM7 that share no atom with another ring: kind, size, molecule, atoms; the molecules.

    In the short form at most the first 40 of each kind.
    """
    every, _ = sources.qm7()
    assert every.mols is not None
    rows = []
    for m, mol in enumerate(every.mols):
        info = mol.GetRingInfo()
        for atoms in info.AtomRings():
            own = [mol.GetAtomWithIdx(a) for a in atoms]
            alone = all(info.NumAtomRings(a) == 1 and one.GetAtomicNum() == 6 for a, one in zip(atoms, own))
            kind = _kind(mol, atoms) if alone else None
            if kind:
                hydrogens = [n.GetIdx() for one in own for n in one.GetNeighbors() if n.GetAtomicNum() == 1]
                rows.append((kind, len(atoms), m, list(atoms), hydrogens))
    table = pd.DataFrame(rows, columns=["kind", "size", "molecule", "atoms", "hydrogens"])
    if short:
        table = table[table.groupby("kind").cumcount() < 40].reset_index(drop=True)
    kept, table["molecule"] = np.unique(table["molecule"], return_inverse=True)
    return table, every[kept]


def _kind(mol: Any, atoms: tuple[int, ...]) -> str | None:
    """The name of a ring with what hangs on it cut off, double bonds out of the ring included; or None."""
    inside = set(atoms)
    for a in atoms:
        for bond in mol.GetAtomWithIdx(a).GetBonds():
            if bond.GetOtherAtomIdx(a) not in inside and bond.GetBondTypeAsDouble() > 1:
                return None  # a ketone's ring, say, is something else
    return KINDS.get(Chem.CanonSmiles(Chem.MolFragmentToSmiles(mol, list(atoms))))


def _ring_sums(values: Any, found: pd.DataFrame) -> pd.DataFrame:
    """Sums over the carbons of each ring, and over these and their hydrogens."""
    flat, owner = values.values, values["molecule"].values
    starts = np.searchsorted(owner, np.arange(owner[-1] + 1))
    carbons = [flat[starts[m] + np.array(atoms)].sum() for m, atoms in zip(found["molecule"], found["atoms"])]
    light = [
        flat[starts[m] + np.array(h, np.int64)].sum() for m, h in zip(found["molecule"], found["hydrogens"])
    ]
    return pd.DataFrame({"carbons": carbons, "all": np.add(carbons, light)})


def _by_kind(found: pd.DataFrame) -> pd.DataFrame:
    """Count, and mean and standard deviation over the rings of each kind; the most stable first."""
    groups = found.groupby("kind")
    table = pd.DataFrame({"rings": groups.size()})
    for name in ("E_i, less", "relevance, less", "E_i, carbons", "relevance, carbons"):
        table[name] = groups[name].mean()
        table[f"std {name}"] = groups[name].std()
    return table.sort_values("E_i, less")


def _strain(network: Any) -> pd.DataFrame:
    """Energy of cycloalkanes above as many CH2 of hexane's chain, kcal/mol, and known strain."""
    energies = sources.energy_table(network, ["CCCCC", "CCCCCC"])
    step = energies.loc["CCCCCC"] - energies.loc["CCCCC"]
    names = {n: "C1" + "C" * (n - 2) + "C1" for n in STRAIN}
    known = sources.energy_table(network, list(names.values()))
    rows = {}
    for n, smiles in names.items():
        if smiles in known.index:
            rows[smiles] = {"measured": STRAIN[n], **(known.loc[smiles] - n * step).to_dict()}
    return pd.DataFrame(rows).T.rename_axis("molecule")


def _aromatic(network: Any) -> pd.DataFrame:
    """3 cyclohexene -> benzene + 2 cyclohexane, kcal/mol; empty where QM7 has not all three."""
    benzene, saturated, one = "c1ccccc1", "C1CCCCC1", "C1=CCCCC1"
    known = sources.energy_table(network, [one, benzene, saturated])
    if len(known) < 3:
        return pd.DataFrame(columns=["measured", *known], index=pd.Index([], name="reaction"))
    change = known.loc[benzene] + 2 * known.loc[saturated] - 3 * known.loc[one]
    return pd.DataFrame({"measured": -35.6, **change.to_dict()}, index=pd.Index(["energy"], name="reaction"))


def _boxes(found: pd.DataFrame) -> Figure:
    """Distribution per kind, carbons with their hydrogens, less the means of the elements."""
    import matplotlib.pyplot as plt

    order = found.groupby("kind")["E_i, less"].median().sort_values().index.tolist()
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True, layout="constrained")
    for ax, name in zip(axes, ("E_i", "relevance"), strict=True):
        data = [found.loc[found["kind"] == kind, f"{name}, less"].values for kind in order]
        ax.boxplot(data, orientation="horizontal", widths=0.6, showfliers=False, medianprops={"color": "C0"})
        for row, points in enumerate(data, 1):
            shift = np.random.default_rng(0).uniform(-0.2, 0.2, len(points))
            ax.plot(points, row + shift, ".", color="C0", alpha=0.25, markersize=4)
        ax.axvline(0, color="#888888", linewidth=0.8)
        ax.set_xlabel(f"{name} per carbon of the ring, less the elements [kcal/mol]")
        ax.spines[["top", "right"]].set_visible(False)
    counts = found["kind"].value_counts()
    axes[0].set_yticks(range(1, len(order) + 1), [f"{kind} ({counts[kind]})" for kind in order])
    axes[0].invert_yaxis()
    return figure


def _ranking(
    found: pd.DataFrame, values: Any, molecules: sx.molecules.Molecules, means: dict[str, float]
) -> Figure:
    """The four most and the four least stable six-membered rings by E_i of their carbons."""
    six = found[found["size"] == 6].drop_duplicates("molecule").sort_values("E_i, carbons")
    chosen = [*six.index[:4], *six.index[-4:]]
    figure = sx.molecules.plot_molecules(
        sources.less_elements(values, means), molecules, [int(m) for m in found.loc[chosen, "molecule"]],
        title="six-membered rings of carbon: the four most and the four least stable by E_i",
    )  # fmt: skip
    panels = [ax for ax in figure.axes if ax.images][: len(chosen)]
    for ax, row in zip(panels, chosen, strict=True):
        ax.set_title(f"{found.loc[row, 'E_i, carbons']:.1f} per carbon", fontsize=9)
    return figure
