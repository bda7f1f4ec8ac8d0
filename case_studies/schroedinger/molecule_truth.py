"""Parts `agreement`, `logp`, `motif`: explanations beside each other, and beside what is known to be true."""

from __future__ import annotations

from typing import Any

import molecule_networks as networks
import numpy as np
import pandas as pd
import xarray as xr

import sciexplain as sx
from sciexplain.evaluation.intervals import mean_interval
from sciexplain.report import Part

MOTIFS = {"nitro group": "[N+](=O)[O-]", "nitrile": "C#N", "sulfonamide": "S(=O)(=O)N"}
"""SMARTS of what a molecule has or has not; each is in at least 80 of the 3,935."""

SEEDS = 4
"""Further networks of logP in the long form."""

GENTLE = sx.LRP(sx.rules.Gamma(0.05))


def agreement(short: bool) -> Part:
    """Every explanation of atomization energies on test molecules of QM7, and how far any two agree.

    Raises
    ------
    sciexplain.data.DataError
        QM7 cannot be obtained.
    """
    net, _ = networks.qm7_net()
    test, _ = networks.qm7_split()
    some = test[:24] if short else test
    found = sx.molecules.every_method(net, some)
    atoms = {name: one["relevance"] for name, one in found.items()}
    atoms["E_i"] = sx.molecules.energies(net, some)["relevance"]
    atoms["positions"] = sx.molecules.position_sensitivity(net, some)["relevance"]
    part = Part(notes={"molecules": len(some)})
    part.tables["within a molecule"] = sx.molecules.agreement(atoms, some).round(2)
    part.tables["less the mean of each element"] = sx.molecules.agreement(
        atoms, some, per_element=True
    ).round(2)
    part.notes |= sums(net, some, found["LRP-0"])
    part.figures["agreement"] = _heatmaps(part.tables)
    return part


def sums(net: Any, some: sx.molecules.Molecules, lrp: xr.Dataset) -> dict[str, float]:
    """What should be equal: largest difference over molecules or atoms, kcal/mol.

    Pairs are without what the network adds for an element whatever surrounds it: relevance less pairs has to
    be one number per element.
    """
    per_molecule = np.bincount(some.molecule, lrp["relevance"].values, some.count)
    few = some[:5]
    walks = sx.molecules.walk_relevance(net, few, k=None)
    pairs = sx.molecules.pair_relevance(net, few)
    atoms = len(few.elements)
    of_walks = np.bincount(walks["atoms"].values[:, 0], walks["relevance"].values, atoms)
    of_pairs = np.bincount(pairs["atom_j"].values, pairs["relevance"].values, atoms)
    kept_apart = sx.molecules.explain(net, few, absorbed="keep")["relevance"].values
    return {
        "sum over atoms less the energy": float(np.abs(per_molecule - lrp["score"].values).max()),
        "walks from an atom less pairs with it": float(np.abs(of_walks - of_pairs).max()),
        "relevance less pairs, spread within an element": max(
            float(np.ptp((kept_apart - of_pairs)[few.elements == z])) for z in np.unique(few.elements)
        ),
    }


def logp(short: bool) -> Part:
    """Relevance beside Crippen's contributions, hydrogens folded, on test molecules: mean, median, interval.

    The long form trains four more networks that differ in their seed only. What a bond changes may be
    booked on either of its ends without changing any prediction; in the mean such choices are smaller.

    Raises
    ------
    sciexplain.data.DataError
        The SMILES cannot be obtained.
    """
    net, about = networks.logp_net()
    test, _ = networks.logp_split()
    some = test[:40] if short else test
    truth = sx.molecules.crippen_contributions(some)
    found = sx.molecules.every_method(net, some, steps=16 if short else 64)
    found["LRP-gamma, 0.05"] = sx.molecules.explain(net, some, GENTLE)
    found["E_i"] = sx.molecules.energies(net, some)
    part = Part(notes={"molecules": len(some), "error of the prediction": about["test_mae"]})
    if not short:
        together, part.notes[f"error of the mean of {SEEDS + 1} networks"] = _together(net, some)
        found |= {f"{name}, mean of {SEEDS + 1} networks": one for name, one in together.items()}
    rows = {}
    for name, one in found.items():
        each = sx.molecules.correlation(one, truth, some, folded=True)
        over = mean_interval(each, "sample")
        rows[name] = {
            "mean": float(over["mean"]),
            "low": float(over["low"]),
            "high": float(over["high"]),
            "median": float(each.median()),
        }
    part.tables["correlation with Crippen's contributions"] = (
        pd.DataFrame(rows).T.rename_axis("method").sort_values("mean", ascending=False)
    )
    drawn = some[[m for m in range(len(some)) if some.sizes[m] <= 40][:4]]
    known = sx.molecules.crippen_contributions(drawn)
    along = {"atom": np.arange(len(known)), "molecule": ("atom", drawn.molecule)}
    for title, values in (
        ("Crippen's contributions", xr.DataArray(known, along, "atom", "contribution", {"units": "logP"})),
        ("LRP-0", sx.molecules.explain(net, drawn)["relevance"].assign_attrs(units="logP")),
    ):
        part.figures[title] = sx.molecules.plot_molecules(values, drawn, limit=1.0, title=title)
    return part


def _together(net: Any, some: sx.molecules.Molecules) -> tuple[dict[str, xr.DataArray], float]:
    """Relevance of the mean prediction of `net` and of networks of other seeds, and how far off that is.

    Relevance is linear in what is explained, so it is the mean of theirs.
    """
    every = [net]
    for seed in range(1, SEEDS + 1):
        every.append(sx.molecules.train_logp(seed=seed, epochs=30, progress=False).network)
    found = {}
    for name, method in (("LRP-gamma, 0.05", GENTLE), ("LRP-0", sx.LRP(sx.rules.Zero()))):
        one_by_one = [sx.molecules.explain(one, some, method)["relevance"] for one in every]
        found[name] = sum(one_by_one[1:], one_by_one[0]) / len(every)
    parts = [sx.molecules.energies(one, some)["relevance"] for one in every]
    found["E_i"] = sum(parts[1:], parts[0]) / len(every)
    said = np.mean([sx.molecules.predict(one, some) for one in every], 0)
    return found, float(np.abs(said - some.properties["logp"]).mean())


def motif(short: bool) -> Part:
    """A property that is the presence of a substructure: are its atoms found? Area under the ROC curve.

    Raises
    ------
    sciexplain.data.DataError
        The SMILES cannot be obtained.
    """
    every = sx.molecules.crippen(hydrogens=False)
    rows = {}
    for name, smarts in list(MOTIFS.items())[: 1 if short else None]:
        net, test, right = _trained(every, smarts)
        having = test[test.properties["has"] > 0.5][:60]
        inside = sx.molecules.motif_atoms(having, smarts)
        found = sx.molecules.every_method(net, having, steps=16 if short else 64)
        found["E_i"] = sx.molecules.energies(net, having)
        scores = {
            method: float(sx.molecules.localisation(one, inside, having).mean())
            for method, one in found.items()
        }
        rows[name] = {"molecules": len(having), "right": right, **scores}
    return Part(tables={"atoms of the motif found (AUC)": pd.DataFrame(rows).rename_axis("what")})


def _trained(every: sx.molecules.Molecules, smarts: str) -> tuple[Any, sx.molecules.Molecules, float]:
    """A network that tells molecules with the motif from as many without; test fifth; share right."""
    from sciexplain.domains.molecules.training import fit
    from sciexplain.models.bond_graph import BondGraphNet

    inside = sx.molecules.motif_atoms(every, smarts)
    has = np.bincount(every.molecule, inside, every.count) > 0
    draw = np.random.default_rng(0)
    with_it = draw.permutation(np.flatnonzero(has))[:500]
    without = draw.permutation(np.flatnonzero(~has))[: len(with_it)]
    order = draw.permutation(np.concatenate([with_it, without]))
    chosen = every[order]
    chosen.properties["has"] = has[order].astype(float)
    test, train = sx.molecules.split(chosen, len(chosen) // 5)
    net = BondGraphNet(sorted(set(chosen.elements.tolist())), 32, 3, seed=0)
    fit(net, train, "has", epochs=25, lr=5e-3, progress=False)
    said = sx.molecules.predict(net, test) > 0.5
    return net, test, float((said == (test.properties["has"] > 0.5)).mean())


def _heatmaps(tables: dict[str, pd.DataFrame]) -> Any:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(tables), figsize=(13, 5.6), layout="constrained", sharey=True)
    for ax, (title, table) in zip(axes, tables.items(), strict=True):
        drawn = ax.imshow(table.values, cmap="RdBu_r", vmin=-1, vmax=1)
        ax.set_xticks(range(len(table)), table.columns, rotation=40, ha="right")
        ax.set_yticks(range(len(table)), table.index)
        for (row, column), value in np.ndenumerate(table.values):
            ax.text(
                column, row, f"{value:.2f}", ha="center", va="center", fontsize=7.5,
                color="white" if abs(value) > 0.6 else "black",
            )  # fmt: skip
        ax.set_title(title, fontsize=10)
    figure.colorbar(drawn, ax=axes, label="mean correlation over molecules", shrink=0.8)
    return figure
