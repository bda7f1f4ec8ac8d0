"""Small epochs of random numbers, and models whose explanation is known."""

from __future__ import annotations

import mne
import numpy as np
import pandas as pd
import torch

# Channels of a common motor imagery montage, and of the 64-channel PhysioNet recordings, in recording order.
# fmt: off
NAMES_22 = (
    "Fz", "FC3", "FC1", "FCz", "FC2", "FC4", "C5", "C3", "C1", "Cz", "C2", "C4", "C6", "CP3", "CP1",
    "CPz", "CP2", "CP4", "P1", "Pz", "P2", "POz",
)
NAMES_64 = (
    "FC5", "FC3", "FC1", "FCz", "FC2", "FC4", "FC6", "C5", "C3", "C1", "Cz", "C2", "C4", "C6", "CP5",
    "CP3", "CP1", "CPz", "CP2", "CP4", "CP6", "Fp1", "Fpz", "Fp2", "AF7", "AF3", "AFz", "AF4", "AF8",
    "F7", "F5", "F3", "F1", "Fz", "F2", "F4", "F6", "F8", "FT7", "FT8", "T7", "T8", "T9", "T10", "TP7",
    "TP8", "P7", "P5", "P3", "P1", "Pz", "P2", "P4", "P6", "P8", "PO7", "PO3", "POz", "PO4", "PO8", "O1",
    "Oz", "O2", "Iz",
)
# fmt: on


def make_epochs(names=("Fz", "C3", "Cz", "C4"), n=6, n_times=50, *, eog=False, description=None):
    """`n` epochs of noise in volt, left (code 1) and right (code 2) in turn, with a montage and metadata."""
    rng = np.random.default_rng(0)
    channels = [*names, "EOG"] if eog else list(names)
    info = mne.create_info(channels, 100.0, ["eeg"] * len(names) + ["eog"] * eog, verbose="error")
    # MNE 1.13 renamed standard_1005.
    renamed = "colin27_1005" in mne.channels.get_builtin_montages()
    info.set_montage("colin27_1005" if renamed else "standard_1005", on_missing="ignore", verbose="error")
    info["description"] = description
    with info._unlock():
        info["highpass"], info["lowpass"] = 1.0, 40.0
    events = np.stack([1000 * np.arange(n) + 17, np.arange(n) % 3, np.arange(n) % 2 + 1], axis=1)
    metadata = pd.DataFrame({"run": np.arange(n) // 2, "who": [f"S{i % 2}" for i in range(n)]})
    return mne.EpochsArray(
        1e-5 * rng.standard_normal((n, len(channels), n_times)),
        info,
        events,
        tmin=-0.1,
        event_id={"left": 1, "right": 2},
        metadata=metadata,
        baseline=None,
        verbose="error",
    )


class Linear(torch.nn.Module):
    """logits = W x without a bias: relevance under LRP-0 is w * x exactly, for any way of writing it."""

    def __init__(self, n_chans=4, n_times=50, n_outputs=2, dtype=torch.float64, flat_plane=False):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weight = torch.nn.Parameter(
            torch.randn(n_outputs, n_chans * n_times, generator=generator, dtype=dtype)
        )
        self.shape, self.flat_plane = (n_chans, n_times), flat_plane

    def forward(self, x):
        expected = (1, *self.shape) if self.flat_plane else self.shape
        if tuple(x.shape[1:]) != expected:
            raise RuntimeError(f"expected (batch, {expected}), got {tuple(x.shape)}")
        return torch.nn.functional.linear(x.flatten(1), self.weight)


class Convolutional(torch.nn.Module):
    """Takes any length from 31 samples on, like the networks for EEG."""

    def __init__(self, n_chans=4):
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv1d(n_chans, 2, 31)

    def forward(self, x):
        return self.conv(x).relu().mean(-1)
