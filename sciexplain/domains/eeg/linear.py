"""A linear decoder of the time course, as of the potential before a key press."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sciexplain.domains.eeg.spec import EpochsError
from sciexplain.domains.eeg.trials import (
    Trials,
    as_trials,
    require_same,
    sklearn_lda,
    target_rows,
    training_labels,
)

if TYPE_CHECKING:
    import torch
    import xarray as xr

LARGEST_COVARIANCE = 8192  # features; beyond, their covariance takes more than half a gigabyte

Windows = int | Sequence[tuple[float, float]] | None


class LinearDecoder:
    """Shrinkage LDA on the samples, or on means over windows, of every channel (Blankertz et al. 2011).

    decision = sum_ct w_ct x_ct + b: relevance w_ct x_ct is exact, whatever the method.

    Parameters
    ----------
    windows : None, int, or sequence of (start, stop)
        None: every sample. int: so many windows of equal length. Pairs: in seconds, start <= time < stop.
    shrinkage : float, "auto" or None
    picks : str or list
        Channels that are taken from `mne.Epochs`; bad ones never are.

    Attributes
    ----------
    classes_ : ndarray (class,)
    lda_ : sklearn LinearDiscriminantAnalysis
        On features (channel, window), flattened.
    """

    def __init__(
        self, windows: Windows = None, *, shrinkage: float | str | None = "auto", picks: Any = "eeg"
    ) -> None:
        if isinstance(windows, bool) or (isinstance(windows, int) and windows < 1):
            raise ValueError(f"windows={windows!r}, expected a positive int, pairs of seconds, or None.")
        self.windows, self.shrinkage, self.picks = windows, shrinkage, picks

    def fit(
        self, X: Any, y: Any = None, *, channels: Sequence[str] | None = None, times: Any = None
    ) -> LinearDecoder:
        """Estimate the weights and the patterns.

        Parameters
        ----------
        X : mne.Epochs, DataArray or array (trial, channel, time)
        y : array (trial,), optional
            Labels of any kind; default the event codes of the epochs.
        channels, times : sequences, optional
            Names, and times in seconds, of an array.

        Raises
        ------
        EpochsError
            NaN, wrong sizes, fewer than two classes, windows that hold no sample, too many features.
        ImportError
            scikit-learn is not installed.
        """
        lda = sklearn_lda()
        trials = as_trials(X, y, picks=self.picks, channels=channels, times=times)
        labels = training_labels(trials)
        means = self._window_means(trials)
        n_features = trials.data.shape[1] * len(means)
        if n_features > LARGEST_COVARIANCE:
            raise EpochsError(
                f"{trials.data.shape[1]} channels x {len(means)} values in time are {n_features} features, "
                f"at most {LARGEST_COVARIANCE} are possible: give windows=, a number or pairs of seconds."
            )
        self.lda_ = lda.LinearDiscriminantAnalysis(solver="lsqr", shrinkage=self.shrinkage)
        self.lda_.fit((trials.data @ means.T).reshape(len(trials.data), -1), labels)
        self.classes_ = self.lda_.classes_
        shape = (len(self.lda_.coef_), trials.data.shape[1], len(means))
        self._weight = self.lda_.coef_.reshape(shape) @ means
        self._trained = Trials(trials.data[:0], trials.channels, trials.times, None)
        self._mean = trials.data.mean(axis=0)
        self._pattern = self._haufe(trials.data)
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """(trial,), above 0 for the second class; with more than two classes (trial, class)."""
        decision = self._decision(self._trials(X).data)
        return decision[:, 0] if len(self.classes_) == 2 else decision

    def predict(self, X: Any) -> np.ndarray:
        """Labels (trial,)."""
        decision = self.decision_function(X)
        index = (decision > 0).astype(int) if decision.ndim == 1 else decision.argmax(axis=1)
        return self.classes_[index]

    def score(self, X: Any, y: Any = None) -> float:
        """Share of right predictions."""
        trials = as_trials(X, y, picks=self.picks)
        if trials.labels is None:
            raise EpochsError("No labels: give y, one per trial.")
        return float((self.predict(X) == trials.labels).mean())

    def to_module(
        self, *, outputs: Literal["decision", "classes"] = "decision", dtype: torch.dtype | None = None
    ) -> torch.nn.Module:
        """The same decision as a network of one linear layer; parameters as of `CSPLDA.to_module`."""
        import torch

        from sciexplain.domains.eeg.modules import TimeDomainNet, head

        weight, intercept = head(self._weight, self.lda_.intercept_, len(self.classes_), outputs)
        module = TimeDomainNet(torch.from_numpy(weight), torch.from_numpy(intercept))
        return module.to(torch.float64 if dtype is None else dtype)

    def linear_relevance(self, X: Any, *, target: Any = None, reference: Any = None) -> xr.DataArray:
        """Share of each channel and sample in the decision: w_ct (x_ct - reference_ct).

        Parameters
        ----------
        X : mne.Epochs, DataArray or array (trial, channel, time)
        target : label or "predicted", optional
            Default: the second of two classes (the sign of `decision_function`), the predicted one of more.
        reference : array (channel, time) or "zero", optional
            Default the mean of the training trials.

        Returns
        -------
        DataArray (sample, channel, time)
            Its sum is `score` (sample) - `offset` (sample), the decision at the reference; both are
            coordinates, and so is `target` (sample).
        """
        import xarray as xr

        data = self._trials(X).data
        baseline = self._mean if reference is None else reference
        baseline = np.zeros_like(self._mean) if isinstance(baseline, str) and baseline == "zero" else baseline
        baseline = np.asarray(baseline)
        if baseline.shape != self._mean.shape:
            raise EpochsError(
                f"reference of sizes {baseline.shape}, expected (channel, time) {self._mean.shape}."
            )
        decision = self._decision(data)
        decision = decision[:, 0] if len(self.classes_) == 2 else decision
        weight, intercept, labels = target_rows(
            self._weight, self.lda_.intercept_, decision, self.classes_, target
        )
        coords = {
            **self._axes(),
            "score": ("sample", (weight * data).sum(axis=(1, 2)) + intercept),
            "offset": ("sample", (weight * baseline).sum(axis=(1, 2)) + intercept),
            "target": ("sample", labels),
        }
        dims = ("sample", "channel", "time")
        return xr.DataArray(weight * (data - baseline), coords, dims, "relevance", {"method": "linear"})

    def weights(self) -> xr.DataArray:
        """The factors (channel, time), or (class, channel, time) with more than two classes."""
        return self._labelled(self._weight, "weight")

    def patterns(self) -> xr.DataArray:
        """How the decision shows in the data: Cov(x) w / var(decision) (Haufe et al. 2014, eqs. 6 and 7).

        Weights also cancel noise, so a channel with a large weight need not carry any signal; a pattern says
        where the decoded signal is. Same dims as `weights`, from the training trials.
        """
        return self._labelled(self._pattern, "pattern")

    def _trials(self, X: Any) -> Trials:
        if not hasattr(self, "lda_"):
            raise RuntimeError("This LinearDecoder is not trained: call fit(X, y) first.")
        trials = as_trials(X, picks=self.picks)
        require_same(trials, self._trained, times=True)
        return trials

    def _decision(self, data: np.ndarray) -> np.ndarray:
        return (
            data.reshape(len(data), -1) @ self._weight.reshape(len(self._weight), -1).T + self.lda_.intercept_
        )

    def _window_means(self, trials: Trials) -> np.ndarray:
        """Matrix (window, time) that takes the means; rows sum to 1."""
        n_times = trials.data.shape[2]
        if self.windows is None:
            return np.eye(n_times)
        if isinstance(self.windows, int):
            if self.windows > n_times:
                raise EpochsError(f"windows={self.windows}, but a trial has {n_times} samples.")
            edges = np.linspace(0, n_times, self.windows + 1).round()
            inside = [(a <= np.arange(n_times)) & (np.arange(n_times) < b) for a, b in pairwise(edges)]
        else:
            if trials.times is None:
                raise EpochsError("Windows in seconds need the times of the samples: fit(..., times=...).")
            inside = [(start <= trials.times) & (trials.times < stop) for start, stop in self.windows]
            for (start, stop), rows in zip(self.windows, inside):
                if not rows.any():
                    first, last = trials.times[0], trials.times[-1]
                    raise EpochsError(
                        f"No sample from {start} s to {stop} s: trials last from {first:g} s to {last:g} s."
                    )
        rows = np.array(inside, dtype=float)
        return rows / rows.sum(axis=1, keepdims=True)

    def _haufe(self, data: np.ndarray) -> np.ndarray:
        """(output, channel, time); Cov(x) w is the covariance of x with the decision, no large matrix."""
        decision = self._decision(data)
        centred = decision - decision.mean(axis=0)
        with_data = np.tensordot(centred, data - data.mean(axis=0), axes=(0, 0))
        # the decisions of three classes or more are linearly dependent, hence the pseudo-inverse
        return np.tensordot(np.linalg.pinv(centred.T @ centred), with_data, axes=(1, 0))

    def _axes(self) -> dict[str, Any]:
        times = self._trained.times
        axes: dict[str, Any] = {"channel": self._trained.channel_labels()}
        return axes if times is None else {**axes, "time": ("time", times, {"units": "s"})}

    def _labelled(self, values: np.ndarray, name: str) -> xr.DataArray:
        import xarray as xr

        if len(self.classes_) == 2:
            return xr.DataArray(values[0], self._axes(), ("channel", "time"), name)
        return xr.DataArray(
            values, {"class": self.classes_, **self._axes()}, ("class", "channel", "time"), name
        )
