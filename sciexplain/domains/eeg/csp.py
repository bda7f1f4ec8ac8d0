"""CSP + LDA, the linear baseline: band power of a few spatial filters, and exactly what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sciexplain.domains.eeg.linear import LinearDecoder
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

__all__ = ["CSPLDA", "LinearDecoder"]


class CSPLDA:
    """Common spatial patterns, log power, linear discriminant analysis (Blankertz et al. 2008).

    decision = sum_k v_k log(mean_t (w_k x_t)^2) + b. Filters w from `mne.decoding.CSP`, v and b from
    scikit-learn (extra `eeg`). Band-pass the trials before.

    Parameters
    ----------
    n_components : int
        Number of filters; fewer where the data have a lower rank.
    reg : None, float or str
        Regularisation of the covariance matrices, as MNE takes it ("ledoit_wolf", "oas", ...).
    shrinkage : None, float or "auto"
        Of the discriminant analysis.
    picks : str or list
        Channels that are taken from `mne.Epochs`; bad ones never are.

    Attributes
    ----------
    classes_ : ndarray (class,)
    pipeline_ : sklearn Pipeline (CSP, LDA)
    """

    def __init__(
        self,
        n_components: int = 6,
        *,
        reg: float | str | None = None,
        shrinkage: float | str | None = None,
        picks: Any = "eeg",
    ) -> None:
        if isinstance(n_components, bool) or not isinstance(n_components, int) or n_components < 1:
            raise ValueError(f"n_components={n_components!r}, expected a positive int.")
        self.n_components, self.reg, self.shrinkage, self.picks = n_components, reg, shrinkage, picks

    def fit(self, X: Any, y: Any = None, *, channels: Sequence[str] | None = None) -> CSPLDA:
        """Estimate filters and weights.

        Parameters
        ----------
        X : mne.Epochs, DataArray or array (trial, channel, time)
        y : array (trial,), optional
            Labels of any kind; default the event codes of the epochs.
        channels : sequence of str, optional
            Names for an array's channels.

        Raises
        ------
        EpochsError
            NaN, wrong sizes, fewer than two classes, more components than channels.
        ImportError
            scikit-learn is not installed.
        """
        lda = sklearn_lda()
        import mne
        from sklearn.pipeline import make_pipeline

        trials = as_trials(X, y, picks=self.picks, channels=channels)
        labels = training_labels(trials)
        n_chans = trials.data.shape[1]
        if self.n_components > n_chans:
            raise EpochsError(f"n_components={self.n_components}, but there are {n_chans} channels.")
        solver = "svd" if self.shrinkage is None else "lsqr"
        self.pipeline_ = make_pipeline(
            mne.decoding.CSP(self.n_components, reg=self.reg, log=True),
            lda.LinearDiscriminantAnalysis(solver=solver, shrinkage=self.shrinkage),
        )
        with mne.use_log_level("WARNING"):
            self.pipeline_.fit(trials.data, labels)
        self._trained = Trials(trials.data[:0], trials.channels, trials.times, None)
        self.classes_ = self.pipeline_[-1].classes_
        self._mean = self._features(trials).mean(axis=0)
        self._covariance = np.cov(np.moveaxis(trials.data, 1, 0).reshape(n_chans, -1))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Labels (trial,)."""
        data = self._trials(X).data  # first: it refuses an untrained decoder by name
        return self.pipeline_.predict(data)

    def decision_function(self, X: Any) -> np.ndarray:
        """(trial,), above 0 for the second class; with more than two classes (trial, class)."""
        data = self._trials(X).data
        return self.pipeline_.decision_function(data)

    def score(self, X: Any, y: Any = None) -> float:
        """Share of right predictions."""
        trials = as_trials(X, y, picks=self.picks)
        if trials.labels is None:
            raise EpochsError("No labels: give y, one per trial.")
        return float((self.predict(X) == trials.labels).mean())

    def to_module(
        self, *, outputs: Literal["decision", "classes"] = "decision", dtype: torch.dtype | None = None
    ) -> torch.nn.Module:
        """The same decision as a network: channel mixing, square, mean over time, log, linear.

        Parameters
        ----------
        outputs : "decision" or "classes"
            "decision": (batch, 1), or (batch, class) with more than two, equal to `decision_function`.
            "classes": always one logit per class, whose softmax is scikit-learn's `predict_proba`; of two,
            -d/2 and d/2.
        dtype : torch.dtype
            Of weights and input; default float64.
        """
        import torch

        from sciexplain.domains.eeg.modules import LogPowerNet

        weight, intercept = self._head(outputs)
        return LogPowerNet(
            torch.from_numpy(self._filters()), torch.from_numpy(weight), torch.from_numpy(intercept)
        ).to(torch.float64 if dtype is None else dtype)

    def linear_relevance(self, X: Any, *, target: Any = None, reference: Any = None) -> xr.DataArray:
        """Share of each component in the decision: v_k (feature_k - reference_k).

        Parameters
        ----------
        X : mne.Epochs, DataArray or array (trial, channel, time)
        target : label or "predicted", optional
            Default: the second of two classes (the sign of `decision_function`), the predicted one of more.
        reference : array (component,), optional
            Log power; default the mean of the training trials.

        Returns
        -------
        DataArray (sample, component)
            Its sum over components is `score` (sample) - `offset` (sample), the decision at the reference;
            both are coordinates, and so is `target` (sample).
        """
        import xarray as xr

        features = self._features(self._trials(X))
        lda = self.pipeline_[-1]
        baseline = self._mean if reference is None else np.asarray(reference, dtype=float)
        if baseline.shape != self._mean.shape:
            raise EpochsError(
                f"reference of sizes {baseline.shape}, expected {self._mean.shape}: one per component."
            )
        weight, intercept, labels = target_rows(
            lda.coef_, lda.intercept_, lda.decision_function(features), self.classes_, target
        )
        coords = {
            "component": self._component_names(),
            "score": ("sample", (weight * features).sum(axis=1) + intercept),
            "offset": ("sample", weight @ baseline + intercept),
            "target": ("sample", labels),
        }
        return xr.DataArray(
            weight * (features - baseline), coords, ("sample", "component"), "relevance", {"method": "linear"}
        )

    def patterns(self, kind: Literal["csp", "haufe"] = "csp") -> xr.DataArray:
        """How each component shows at the electrodes, in units of the data.

        Parameters
        ----------
        kind : "csp" or "haufe"
            "csp": columns of the inverse of the filter matrix. "haufe": Cov(x) W Cov(W'x)^-1, with the
            covariance of all training samples (Haufe et al. 2014, eq. 6).

        Returns
        -------
        DataArray (component, channel)
        """
        import xarray as xr

        filters = self._filters()
        if kind == "csp":
            values = self.pipeline_[0].patterns_[: len(filters)]
        elif kind == "haufe":
            values = np.linalg.solve(filters @ self._covariance @ filters.T, filters @ self._covariance)
        else:
            raise ValueError(f"kind={kind!r}, expected 'csp' or 'haufe'.")
        coords = {"component": self._component_names(), "channel": self._channel_labels()}
        return xr.DataArray(values, coords, ("component", "channel"), "pattern", {"kind": kind})

    def filters(self) -> xr.DataArray:
        """Spatial filters (component, channel), in 1 / units of the data."""
        import xarray as xr

        coords = {"component": self._component_names(), "channel": self._channel_labels()}
        return xr.DataArray(self._filters(), coords, ("component", "channel"), "filter")

    def channel_importance(self) -> xr.DataArray:
        """Where the separation of the classes comes from, by channel.

        The decisions of the classes' means differ by D = sum_k v_k (mean_k(class 2) - mean_k(class 1)).
        Each term is spread over the channels as the power of its pattern is, a_kc^2 / sum_c a_kc^2: the
        importances add up to D. More than two classes: each against the mean of all, one row per class.

        Returns
        -------
        DataArray (channel,), or (class, channel) with more than two classes
        """
        import xarray as xr

        lda = self.pipeline_[-1]
        power = self.patterns().values ** 2
        spread = power / power.sum(axis=1, keepdims=True)
        if len(self.classes_) == 2:
            separation = lda.coef_[0] * (lda.means_[1] - lda.means_[0])
            coords: dict[str, Any] = {"channel": self._channel_labels()}
            return xr.DataArray(separation @ spread, coords, ("channel",), "importance")
        separation = lda.coef_ * (lda.means_ - lda.means_.mean(axis=0))
        coords = {"class": self.classes_, "channel": self._channel_labels()}
        return xr.DataArray(separation @ spread, coords, ("class", "channel"), "importance")

    def _trials(self, X: Any) -> Trials:
        if not hasattr(self, "pipeline_"):
            raise RuntimeError("This CSPLDA is not trained: call fit(X, y) first.")
        trials = as_trials(X, picks=self.picks)
        require_same(trials, self._trained, times=False)
        return trials

    def _features(self, trials: Trials) -> np.ndarray:
        return self.pipeline_[0].transform(trials.data)

    def _filters(self) -> np.ndarray:
        csp = self.pipeline_[0]
        return np.ascontiguousarray(csp.filters_[: self.n_components])

    def _component_names(self) -> list[str]:
        return [f"CSP{k + 1}" for k in range(len(self._filters()))]

    def _channel_labels(self) -> np.ndarray:
        return self._trained.channel_labels()

    def _head(self, outputs: str) -> tuple[np.ndarray, np.ndarray]:
        from sciexplain.domains.eeg.modules import head

        lda = self.pipeline_[-1]
        return head(lda.coef_, lda.intercept_, len(self.classes_), outputs)
