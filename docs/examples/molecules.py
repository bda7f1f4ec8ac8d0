"""The figures and numbers of docs/molecules.md.

The network of energies is the one that the case study keeps.
"""

import time
from io import BytesIO
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from PIL import Image

import sciexplain as sx

matplotlib.use("Agg")
ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"
NETWORK = ROOT / "case_studies" / "schroedinger" / "networks" / "qm7_schnet.safetensors"
DRUGS = [
    "CC(=O)Nc1ccc(O)cc1",
    "Cn1cnc2c1c(=O)n(C)c(=O)n2C",
    "CC(C)Cc1ccc(cc1)C(C)C(=O)O",
    "OC(=O)c1ccccc1OC(C)=O",
]


def keep(name, figure) -> None:
    """Write a figure in 256 colours: half the bytes."""
    buffer = BytesIO()
    figure.savefig(buffer, dpi=80)
    drawn = Image.open(buffer).convert("RGB")
    drawn.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
        PICTURES / f"molecules_{name}.png", optimize=True
    )


def contributions(molecules) -> xr.DataArray:
    """What each atom contributes to logP by Crippen's table: relevance that is known to be right."""
    found = sx.molecules.crippen_contributions(molecules)
    along = {"atom": np.arange(len(found)), "molecule": ("atom", molecules.molecule)}
    return xr.DataArray(found, along, "atom", "contribution", {"units": "logP"})


def fragments() -> None:
    """Contributions to logP on drugs, and of functional groups over many."""
    drugs = sx.molecules.from_smiles(DRUGS)
    keep("grid", sx.molecules.plot_molecules(contributions(drugs), drugs))
    print(f"SVG: {len(sx.molecules.to_svg(contributions(drugs), drugs)):,} bytes")

    many = sx.molecules.crippen()
    r = contributions(many)
    groups = sx.molecules.functional_groups(many)
    start = time.process_time()
    sx.molecules.pool(r, groups)
    pooled = time.process_time() - start
    start = time.process_time()
    table = sx.molecules.summary(r, groups)
    took = time.process_time() - start
    shown = table[["count", "molecules", "mean", "std", "low", "high"]].to_dataframe()
    print(shown.sort_values("count").iloc[-16:].round(2).to_string())
    off = abs(float(sx.pool(r, groups.weights()).sum() - r.sum()))
    print(
        f"{len(many.elements):,} atoms, {len(groups):,} occurrences: pool {pooled:.3f} s,"
        f" summary {took:.3f} s"
    )
    print(f"total {float(r.sum()):.1f}, off by {off:.0e}")


def energies() -> None:
    """Arcs and the potential of a probe, of a network of atomization energies."""
    network, info = sx.models.load_checkpoint(NETWORK)
    print(f"mean absolute error on test molecules {info['test_mae']:.2f} {info['unit']}")
    toluene, amide = sx.molecules.from_smiles(["Cc1ccccc1", "CC(=O)NC"], conformers=True)
    pairs = sx.molecules.pair_relevance(network, amide)
    pairs = pairs.isel(pair=np.flatnonzero(pairs.atom_i.values != pairs.atom_j.values))
    pairs["relevance"].attrs["units"] = info["unit"]
    keep("pairs", sx.molecules.plot_walks(pairs, amide, top=24, title="N-methylacetamide"))

    figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
    omega = sx.molecules.local_potential(network, toluene, sx.molecules.plane(toluene), "C")
    around = sx.molecules.surface(toluene)
    shell = sx.molecules.local_potential(network, toluene, around.vertices, "C")
    for values in (omega, shell):
        values.attrs["units"] = info["unit"]
    limits = (float(shell.min()), float(shell.max()))
    sx.molecules.plot_plane(omega, toluene, axes[0], limits=limits, title="toluene, its plane")
    sx.molecules.plot_surface(shell, around, toluene, axes[1], title="toluene, closeness 3.8")
    keep("potential", figure)
    ds = sx.molecules.explain(network, toluene)
    page = sx.molecules.to_html(ds, toluene, surface=around, omega=shell)
    print(f"page: {len(page):,} bytes")


if __name__ == "__main__":
    fragments()
    energies()
