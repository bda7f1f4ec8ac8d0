"""Learn the Schroedinger equation, and read what was learned: energies of molecules, atoms, bonds, probes.

`schroedinger.py` beside this file is the same as a notebook, with the story told.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import molecule_alkanes
import molecule_groups
import molecule_networks
import molecule_probes
import molecule_rings
import molecule_truth

from sciexplain.data import DataError
from sciexplain.report import Study

PARTS = {
    "accuracy": ("How far off the networks are", molecule_networks.accuracy),
    "learning_curve": ("Learning curve", molecule_networks.learning_curve),
    "qm9": ("QM9", molecule_networks.qm9),
    "agreement": ("Explanations beside each other", molecule_truth.agreement),
    "logp": ("Beside what is known: logP", molecule_truth.logp),
    "motif": ("Beside what is known: a planted motif", molecule_truth.motif),
    "alkanes": ("Chains of carbon", molecule_alkanes.alkanes),
    "rings": ("Rings of carbon", molecule_rings.rings),
    "groups": ("Functional groups", molecule_groups.groups),
    "walks": ("Between which atoms", molecule_groups.walks),
    "probes": ("Probes around molecules", molecule_probes.probes),
}

STUDY = Study(
    "The Schroedinger equation",
    "what networks of molecules learned",
    PARTS,
    Path(__file__).resolve().parent,
    left_out=DataError,
)


def main(short: bool, output: Path, names: tuple[str, ...] = tuple(PARTS)) -> Path:
    """Run the parts, write tables (CSV), figures (PNG) and a page; returns the page.

    Parameters
    ----------
    short : bool
        Few molecules and the kept networks: minutes. Otherwise all molecules, and trainings.
    output : Path
        Folder of the results; parts that are there are not computed again.
    names : tuple of str
        Which parts; those whose data cannot be obtained are left out, with the reason.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    output.mkdir(parents=True, exist_ok=True)
    pages = [molecule_probes.page(output / "toluene.html")] if "probes" in names else []
    return STUDY.page(short, output, names, pages)


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    chosen = tuple(name for name in PARTS if name in sys.argv) or tuple(PARTS)
    print(main(short="--long" not in sys.argv, output=Path("reports/schroedinger"), names=chosen))
