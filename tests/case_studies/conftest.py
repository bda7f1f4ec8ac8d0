"""The folder of the study on the import path, and one thread, as for the small networks elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

STUDY = Path(__file__).resolve().parents[2] / "case_studies" / "eeg_left_right"


@pytest.fixture(autouse=True)
def study_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(STUDY))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    sys.modules.pop("study", None)  # the next study has a module of this name too
