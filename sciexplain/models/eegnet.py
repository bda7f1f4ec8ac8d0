"""EEGNet, version 4: depthwise and separable convolutions (Lawhern et al. 2018)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from sciexplain.models.base import EEGNetwork, scaled, weights_from

SEPARABLE_LENGTH = 16  # samples at about 32 Hz: half a second at every sampling rate
BATCH_NORM_EPS = 1e-3


class EEGNet(EEGNetwork):
    """Temporal, depthwise spatial and separable convolutions, then linear (Lawhern et al. 2018, table 2).

    Inputs of the "same" convolutions get zeros around them, (length - 1) // 2 before and the rest after.

    Parameters
    ----------
    n_chans, n_outputs, n_times : int
    sfreq : float
        In Hz. The temporal kernel is half a second; the first pooling (4 samples at 128 Hz) leads to 32 Hz.
    drop_prob : float
        The paper: 0.5 within subjects, 0.25 across.
    n_filters_time : int
        F1 of the paper.
    n_spatial : int
        D of the paper, spatial filters per temporal filter; F2 is F1 * D.
    kernel_length, pool_length_1, pool_length_2 : int, optional
        In samples; override the scaled ones.
    seed : int, optional
        For the initial weights; the global random state is then not touched.

    Raises
    ------
    NetworkSizeError
        n_times is shorter than the two poolings; the message names the minimum.

    Notes
    -----
    Constraints (`apply_constraints`): the norm of each spatial filter is at most 1, of each output unit's
    weights 0.25. Batch norm keeps running averages with PyTorch's momentum, not the slow one of the original:
    a few hundred steps, all that 100 trials give, would leave them near their starting values.

    Examples
    --------
    >>> sum(p.numel() for p in EEGNet(64, 2, 128, sfreq=128.0, seed=0).parameters())
    2258
    """

    def __init__(
        self,
        n_chans: int,
        n_outputs: int,
        n_times: int,
        *,
        sfreq: float = 250.0,
        drop_prob: float = 0.5,
        n_filters_time: int = 8,
        n_spatial: int = 2,
        kernel_length: int | None = None,
        pool_length_1: int | None = None,
        pool_length_2: int | None = None,
        seed: int | None = None,
    ) -> None:
        kernel = scaled(64, sfreq, 128.0) if kernel_length is None else kernel_length
        pool_1 = scaled(4, sfreq, 128.0) if pool_length_1 is None else pool_length_1
        pool_2 = 8 if pool_length_2 is None else pool_length_2
        super().__init__(
            n_chans,
            n_outputs,
            n_times,
            sfreq=sfreq,
            drop_prob=drop_prob,
            n_filters_time=n_filters_time,
            n_spatial=n_spatial,
            kernel_length=kernel,
            pool_length_1=pool_1,
            pool_length_2=pool_2,
        )
        self._require_times(pool_1 * pool_2, "pool_length_1 or pool_length_2")
        width = n_filters_time * n_spatial
        with weights_from(seed):
            self.time = nn.Conv2d(1, n_filters_time, (1, kernel), bias=False)
            self.time_norm = nn.BatchNorm2d(n_filters_time, eps=BATCH_NORM_EPS)
            self.space = nn.Conv2d(n_filters_time, width, (n_chans, 1), groups=n_filters_time, bias=False)
            self.space_norm = nn.BatchNorm1d(width, eps=BATCH_NORM_EPS)
            self.pool_1 = nn.AvgPool1d(pool_1)
            self.depthwise = nn.Conv1d(width, width, SEPARABLE_LENGTH, groups=width, bias=False)
            self.pointwise = nn.Conv1d(width, width, 1, bias=False)
            self.separable_norm = nn.BatchNorm1d(width, eps=BATCH_NORM_EPS)
            self.pool_2 = nn.AvgPool1d(pool_2)
            self.drop = nn.Dropout(drop_prob)
            self.classifier = nn.Linear(width * (n_times // pool_1 // pool_2), n_outputs)
            self._glorot()
        self.max_norms = {"space": 1.0, "classifier": 0.25}
        self.apply_constraints()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_chans, n_times) -> (batch, n_outputs) logits."""
        self._check_input(x)
        x = self.time_norm(self.time(_same(x, self.time.kernel_size[1]).unsqueeze(1)))
        x = F.elu(self.space_norm(self.space(x).squeeze(2)))
        x = self.drop(self.pool_1(x))
        x = self.pointwise(self.depthwise(_same(x, SEPARABLE_LENGTH)))
        x = F.elu(self.separable_norm(x))
        return self.classifier(self.drop(self.pool_2(x)).flatten(1))


def _same(x: Tensor, length: int) -> Tensor:
    """Zeros around the last dimension, so that a convolution of `length` keeps its size."""
    return F.pad(x, ((length - 1) // 2, length // 2))
