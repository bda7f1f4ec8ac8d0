"""ShallowConvNet: band power, learned (Schirrmeister et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sciexplain.models.base import EEGNetwork, TimeThenSpace, n_windows, scaled, weights_from

POWER_FLOOR = 1e-6  # log(0) is no number: dead filters give log(1e-6)


class ShallowConvNet(EEGNetwork):
    """Temporal and spatial filters, square, mean, log, linear (Schirrmeister et al. 2017, fig. 2).

    Parameters
    ----------
    n_chans, n_outputs, n_times : int
    sfreq : float
        In Hz. The paper's 25-sample filters, and pools of 75 every 15, hold at 250 Hz and scale with it.
    drop_prob : float
    n_filters_time, n_filters_spat : int
    filter_time_length, pool_time_length, pool_time_stride : int, optional
        In samples; override the scaled ones.
    composed : bool
        See `TimeThenSpace`.
    seed : int, optional
        For the initial weights; the global random state is then not touched.

    Raises
    ------
    NetworkSizeError
        n_times is shorter than one filter and one pool; the message names the minimum.

    Examples
    --------
    >>> net = ShallowConvNet(22, 4, 1000, seed=0)
    >>> sum(p.numel() for p in net.parameters())
    46084
    >>> net(torch.zeros(2, 22, 1000)).shape
    torch.Size([2, 4])
    """

    def __init__(
        self,
        n_chans: int,
        n_outputs: int,
        n_times: int,
        *,
        sfreq: float = 250.0,
        drop_prob: float = 0.5,
        n_filters_time: int = 40,
        n_filters_spat: int = 40,
        filter_time_length: int | None = None,
        pool_time_length: int | None = None,
        pool_time_stride: int | None = None,
        composed: bool = True,
        seed: int | None = None,
    ) -> None:
        length = scaled(25, sfreq, 250.0) if filter_time_length is None else filter_time_length
        pool = scaled(75, sfreq, 250.0) if pool_time_length is None else pool_time_length
        stride = scaled(15, sfreq, 250.0) if pool_time_stride is None else pool_time_stride
        super().__init__(
            n_chans,
            n_outputs,
            n_times,
            sfreq=sfreq,
            drop_prob=drop_prob,
            n_filters_time=n_filters_time,
            n_filters_spat=n_filters_spat,
            filter_time_length=length,
            pool_time_length=pool,
            pool_time_stride=stride,
            composed=composed,
        )
        self._require_times(length + pool - 1, "filter_time_length or pool_time_length")
        n_pools = n_windows(n_windows(n_times, length), pool, stride)
        with weights_from(seed):
            self.filters = TimeThenSpace(n_chans, n_filters_time, n_filters_spat, length, composed=composed)
            self.norm = nn.BatchNorm1d(n_filters_spat)
            self.pool = nn.AvgPool1d(pool, stride)
            self.drop = nn.Dropout(drop_prob)
            self.classifier = nn.Linear(n_filters_spat * n_pools, n_outputs)
            self._glorot()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_chans, n_times) -> (batch, n_outputs) logits."""
        self._check_input(x)
        power = self.pool(self.norm(self.filters(x)).square())
        features = torch.log(power.clamp(min=POWER_FLOOR))
        return self.classifier(self.drop(features).flatten(1))
