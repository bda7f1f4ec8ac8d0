"""Molecules: from structures and a network to relevance per atom, pair and fragment, and to figures."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# Public name -> module that defines it; loaded when first asked for, so that `import sciexplain` does not
# load RDKit.
_HOME = {
    "Molecules": "molecules",
    "MoleculeError": "errors",
    "ParseError": "errors",
    "EmptyMoleculeError": "errors",
    "PositionsError": "errors",
    "OverlappingAtomsError": "errors",
    "UnknownElementError": "errors",
    "MissingPackageError": "errors",
    "Skipped": "errors",
    "from_smiles": "readers",
    "from_mols": "readers",
    "perceive_bonds": "readers",
    "read_sdf": "readers",
    "read_xyz": "readers",
    "qm7": "collections",
    "qm9": "collections",
    "crippen": "collections",
    "crippen_contributions": "collections",
    "fold_hydrogens": "collections",
    "fit": "training",
    "predict": "training",
    "graphs": "training",
    "composition": "training",
    "split": "training",
    "train_qm7": "training",
    "train_qm9": "training",
    "train_logp": "training",
    "xtb_energies": "xtb",
    "explain": "adapter",
    "energies": "adapter",
    "AtomModel": "protocol",
    "ProtocolError": "protocol",
    "pair_relevance": "walks",
    "walk_relevance": "walks",
    "remove_atoms": "removal",
    "without": "removal",
    "correlation": "ground_truth",
    "localisation": "ground_truth",
    "motif_atoms": "ground_truth",
    "every_method": "ground_truth",
    "agreement": "ground_truth",
    "position_sensitivity": "potential",
    "local_potential": "potential",
    "plane": "potential",
    "box": "potential",
    "Fragments": "regions",
    "pool": "regions",
    "summary": "regions",
    "by_element": "lists",
    "atom_lists": "lists",
    "functional_groups": "fragments",
    "brics": "fragments",
    "murcko": "fragments",
    "rings": "fragments",
    "FUNCTIONAL_GROUPS": "groups",
    "plot_molecules": "depict",
    "plot_walks": "depict",
    "to_svg": "depict",
    "Surface": "space",
    "surface": "space",
    "plot_plane": "space",
    "plot_surface": "space",
    "to_html": "page",
    "to_mols": "files",
    "write_sdf": "files",
    "write_xyz": "files",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
