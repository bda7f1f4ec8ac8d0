"""The two networks of the study, kept in `networks/`: energies of QM7 and logP.

Their commands write them anew:
python -m sciexplain.domains.molecules.training qm7 --threads 1 --output qm7_schnet.safetensors
python -m sciexplain.domains.molecules.training logp --threads 1 --output logp.safetensors
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import sciexplain as sx

HERE = Path(__file__).resolve().parent
QM7 = HERE / "networks" / "qm7_schnet.safetensors"
LOGP = HERE / "networks" / "logp.safetensors"


def qm7_net(path: Path = QM7) -> tuple[torch.nn.Module, dict[str, Any]]:
    """SchNet of atomization energies in kcal/mol, and its notes: error, names of the test molecules."""
    return sx.models.load_checkpoint(path)


def logp_net(path: Path = LOGP) -> tuple[torch.nn.Module, dict[str, Any]]:
    """Network of logP on bonds, and its notes: error, names of the test molecules."""
    return sx.models.load_checkpoint(path)
