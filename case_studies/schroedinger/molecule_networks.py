"""The networks of the study, kept in `networks/`: energies of QM7, and logP; how far off they are.

Their commands write them anew:
python -m sciexplain.domains.molecules.training qm7 --threads 1 --output qm7_schnet.safetensors
python -m sciexplain.domains.molecules.training logp --threads 1 --output logp.safetensors
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

import sciexplain as sx
from sciexplain.report import Part

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sciexplain.domains.molecules.training import Outcome

HERE = Path(__file__).resolve().parent
QM7 = HERE / "networks" / "qm7_schnet.safetensors"
LOGP = HERE / "networks" / "logp.safetensors"

SIZES = (500, 1500, 3000, 5701)
"""Training molecules of the learning curve."""

PAPER = 0.84
"""kcal/mol. DTNN on QM9 with 100,000 training molecules, Schuett et al. 2017, table 1."""


def qm7_net(path: Path = QM7) -> tuple[torch.nn.Module, dict[str, Any]]:
    """SchNet of atomization energies in kcal/mol, and its notes: error, names of the test molecules."""
    return sx.models.load_checkpoint(path)


def logp_net(path: Path = LOGP) -> tuple[torch.nn.Module, dict[str, Any]]:
    """Network of logP on bonds, and its notes: error, names of the test molecules."""
    return sx.models.load_checkpoint(path)


@lru_cache(maxsize=1)
def qm7_split() -> tuple[sx.molecules.Molecules, sx.molecules.Molecules]:
    """1,000 molecules that the network of energies never saw, and the 5,701 that it learned from."""
    test, _, train = sx.molecules.split(sx.molecules.qm7(), 1000, 400)
    return _as_kept(test, qm7_net()[1]), train


@lru_cache(maxsize=1)
def logp_split() -> tuple[sx.molecules.Molecules, sx.molecules.Molecules]:
    """600 molecules that the network of logP never saw, and those that it learned from."""
    test, _, train = sx.molecules.split(sx.molecules.crippen(), 600, 300)
    return _as_kept(test, logp_net()[1]), train


def _as_kept(test: sx.molecules.Molecules, about: dict[str, Any]) -> sx.molecules.Molecules:
    if list(test.names) != about["test_names"]:
        raise ValueError(f"The kept network of {about['study']} was tested on other molecules than these.")
    return test


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> float:
    """Largest difference of two networks' weights; 0 where they are the same."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return max(float((a.double() - b.double()).abs().max()) for a, b in pairs)


def errors(
    net: torch.nn.Module, train: sx.molecules.Molecules, test: sx.molecules.Molecules, name: str
) -> dict[str, float]:
    """Mean absolute errors on test molecules: of the network, of the mean, of a fit of the composition.

    Worked out here and not by the training, which says the same in the notes of the checkpoint.

    Parameters
    ----------
    net : Module
    train, test : Molecules
        What mean and composition are of, and what all three are tried on.
    name : str
        The property.
    """
    truth = test.properties[name]
    formulas = [
        np.stack([np.bincount(part.molecule, part.elements == z, part.count) for z in range(1, 60)], 1)
        for part in (train, test)
    ]
    weights = np.linalg.pinv(formulas[0]) @ train.properties[name]
    found = {
        "network": sx.molecules.predict(net, test),
        "mean of the training molecules": np.full(test.count, train.properties[name].mean()),
        "fit of the composition": formulas[1] @ weights,
    }
    return {what: float(np.mean(np.abs(values - truth))) for what, values in found.items()}


@lru_cache(maxsize=8)
def trained_qm7(network: str, n_train: int, epochs: int) -> Outcome:
    """A network of energies trained now; several parts of a run may want the same."""
    return sx.molecules.train_qm7(network, n_train=n_train, epochs=epochs, progress=False)


def accuracy(short: bool) -> Part:
    """How far off the networks are; in the long form they are trained again, and a DTNN beside them.

    The notes say whether the weights are bit for bit those that are kept.
    """
    net, about = qm7_net()
    test, train = qm7_split()
    logp, about_logp = logp_net()
    test_logp, train_logp = logp_split()
    found, found_logp = errors(net, train, test, "energy"), errors(logp, train_logp, test_logp, "logp")
    rows = [("QM7 energies, kcal/mol", f"kept SchNet: {what}", len(test), v) for what, v in found.items()]
    rows += [("logP", f"kept BondGraphNet: {what}", len(test_logp), v) for what, v in found_logp.items()]
    part = Part(notes={
        "QM7 error by the notes of the checkpoint": about["test_mae"],
        "logP error by the notes of the checkpoint": about_logp["test_mae"],
    })  # fmt: skip
    if not short:
        for kind in ("SchNet", "DTNN"):
            outcome = trained_qm7(kind, SIZES[-1], 60)
            error = errors(outcome.network, train, test, "energy")["network"]
            rows.append(("QM7 energies, kcal/mol", f"{kind} trained now", len(test), error))
            part.notes[f"{kind}: minutes of processor time"] = outcome.log.cpu_seconds[-1] / 60
            if kind == "SchNet":
                part.notes["SchNet: largest difference to the kept weights"] = same_weights(
                    outcome.network, net
                )
        outcome = sx.molecules.train_logp(epochs=30, progress=False)
        error = errors(outcome.network, train_logp, test_logp, "logp")["network"]
        rows.append(("logP", "BondGraphNet trained now", len(test_logp), error))
        part.notes["BondGraphNet: minutes of processor time"] = outcome.log.cpu_seconds[-1] / 60
        part.notes["BondGraphNet: largest difference to the kept weights"] = same_weights(
            outcome.network, logp
        )
    columns = ["property", "what", "test molecules", "mean absolute error"]
    part.tables["errors"] = pd.DataFrame(
        [(p, what.replace(": network", ""), n, v) for p, what, n, v in rows], columns=columns
    ).set_index("property")
    return part


def learning_curve(short: bool) -> Part:
    """Error on the 1,000 test molecules of QM7 against the number of training molecules.

    The long form trains on 500 to all 5,701, 60 epochs each. The short form trains on 250 and 500 for 6
    epochs: that the error falls, and no more; its last point is the kept network.
    """
    sizes, epochs = ((250, 500), 6) if short else (SIZES, 60)
    rows = {}
    for size in sizes:
        outcome = trained_qm7("SchNet", size, epochs)
        minutes = outcome.log.cpu_seconds[-1] / 60
        rows[size] = (epochs, outcome.test_mae, outcome.composition_mae, minutes)
    table = pd.DataFrame.from_dict(
        rows,
        orient="index",
        columns=["epochs", "mean absolute error", "fit of the composition", "CPU minutes"],
    ).rename_axis("training molecules")
    part = Part(tables={"learning curve": table})
    part.notes["kept network: 5,701 molecules, 60 epochs"] = qm7_net()[1]["test_mae"]
    if short:
        part.notes["short form"] = "two points of 6 epochs: far from trained; 60 epochs are the long form"
    part.figures["learning curve"] = _curve(table, part.notes["kept network: 5,701 molecules, 60 epochs"])
    return part


def qm9(short: bool) -> Part:
    """50,000 molecules of QM9, 24 epochs, 10,000 test molecules: half an hour, so in the long form only."""
    if short:
        return Part(notes={"left out": "half an hour of processor time, in the long form only"})
    outcome = sx.molecules.train_qm9(epochs=24, progress=False)
    rows = {
        "SchNet, 50,000 training molecules, 24 epochs": outcome.test_mae,
        "fit of the composition": outcome.composition_mae,
        "mean of the training molecules": outcome.mean_mae,
        "the paper's DTNN, 100,000 training molecules": PAPER,
    }
    table = pd.DataFrame({"mean absolute error, kcal/mol": rows}).rename_axis("what")
    minutes = outcome.log.cpu_seconds[-1] / 60
    notes = {"minutes of processor time": minutes, "test molecules": len(outcome.test)}
    return Part(tables={"QM9": table}, notes=notes)


def _curve(table: pd.DataFrame, kept: float) -> Figure:
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(5.5, 4), layout="constrained")
    epochs = int(table["epochs"].iloc[0])
    error = table["mean absolute error"]
    ax.loglog(table.index, error, "o-", label=f"SchNet, {epochs} epochs")
    if epochs != 60:
        ax.loglog([SIZES[-1]], [kept], "s", label="the kept SchNet, 60 epochs")
    ax.axhline(table["fit of the composition"].iloc[-1], color="grey", linestyle="--", label="composition")
    ax.axhline(PAPER, color="black", linestyle=":", label="DTNN of the paper, QM9, 100,000")
    shown = [*table.index, SIZES[-1]] if epochs != 60 else list(table.index)
    ax.set_xticks(shown, [f"{n:,}" for n in shown])
    highest = max(error.max(), table["fit of the composition"].iloc[-1])
    ticks = [t for t in (0.5, 1, 2, 5, 10, 20, 50, 100) if t <= 1.5 * highest]
    ax.set_yticks(ticks, [f"{t:g}" for t in ticks])
    ax.minorticks_off()
    ax.set_xlabel("training molecules of QM7")
    ax.set_ylabel("error on 1,000 test molecules, kcal/mol")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=8)
    return figure
