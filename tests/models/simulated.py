"""Simulated trials: a 10 Hz oscillation, stronger on the left (class 0) or on the right (class 1)."""

from __future__ import annotations

import numpy as np

SFREQ = 125.0
LEFT, RIGHT = 2, 5  # of eight channels


def lateralised(n_trials: int = 96, n_times: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """X (trial, channel, time) float32 of unit noise, y (trial,)."""
    rng = np.random.default_rng(seed)
    y = np.arange(n_trials) % 2
    X = rng.standard_normal((n_trials, 8, n_times))
    cycles = 10 * np.arange(n_times) / SFREQ
    for side, channel in enumerate((LEFT, RIGHT)):
        amplitude = np.where(y == side, 1.4, 0.7)[:, np.newaxis]
        wave = amplitude * np.sin(2 * np.pi * (cycles + rng.uniform(size=(n_trials, 1))))
        X[:, channel] += wave
        X[:, channel - 1] += 0.5 * wave
    return X.astype(np.float32), y
