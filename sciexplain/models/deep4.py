"""Deep4Net: four convolution and max-pooling blocks (Schirrmeister et al. 2017)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from sciexplain.models.base import EEGNetwork, TimeThenSpace, n_windows, scaled, weights_from

N_BLOCKS = 4


class Deep4Net(EEGNetwork):
    """Four blocks of convolution, norm, ELU, max pooling, then linear (Schirrmeister et al. 2017, fig. 1).

    Parameters
    ----------
    n_chans, n_outputs, n_times : int
    sfreq : float
        In Hz. The paper's first filters of 10 samples and first pool of 3 hold at 250 Hz and scale with it;
        the later blocks are then at the paper's rate, and keep its sizes.
    drop_prob : float
        Of the inputs of blocks 2 to 4.
    n_filters : int
        Of the first block; every later one has twice as many.
    filter_time_length, pool_time_length : int, optional
        Of the first block, in samples; override the scaled ones.
    later_filter_length, later_pool_length : int
        Of the other blocks. Short trials need smaller ones: Lawhern et al. (2018) take 5 and 2 at 128 Hz.
    composed : bool
        See `TimeThenSpace`.
    seed : int, optional
        For the initial weights; the global random state is then not touched.

    Raises
    ------
    NetworkSizeError
        n_times is too short for four blocks; the message names the minimum.

    Examples
    --------
    >>> sum(p.numel() for p in Deep4Net(22, 4, 1000, seed=0).parameters())
    282879
    """

    def __init__(
        self,
        n_chans: int,
        n_outputs: int,
        n_times: int,
        *,
        sfreq: float = 250.0,
        drop_prob: float = 0.5,
        n_filters: int = 25,
        filter_time_length: int | None = None,
        pool_time_length: int | None = None,
        later_filter_length: int = 10,
        later_pool_length: int = 3,
        composed: bool = True,
        seed: int | None = None,
    ) -> None:
        length = scaled(10, sfreq, 250.0) if filter_time_length is None else filter_time_length
        pool = scaled(3, sfreq, 250.0) if pool_time_length is None else pool_time_length
        super().__init__(
            n_chans,
            n_outputs,
            n_times,
            sfreq=sfreq,
            drop_prob=drop_prob,
            n_filters=n_filters,
            filter_time_length=length,
            pool_time_length=pool,
            later_filter_length=later_filter_length,
            later_pool_length=later_pool_length,
            composed=composed,
        )
        sizes = [(length, pool)] + [(later_filter_length, later_pool_length)] * (N_BLOCKS - 1)
        minimum, left = 1, n_times
        for block_length, block_pool in reversed(sizes):
            minimum = minimum * block_pool + block_length - 1
        for block_length, block_pool in sizes:
            left = n_windows(n_windows(left, block_length), block_pool, block_pool)
        self._require_times(minimum, "later_filter_length or later_pool_length")
        widths = [n_filters * 2**block for block in range(N_BLOCKS)]
        with weights_from(seed):
            self.filters = TimeThenSpace(n_chans, n_filters, n_filters, length, composed=composed)
            self.convs = nn.ModuleList(  # no bias: batch norm has one
                nn.Conv1d(before, after, later_filter_length, bias=False)
                for before, after in pairwise(widths)
            )
            self.norms = nn.ModuleList(nn.BatchNorm1d(width) for width in widths)
            self.pools = nn.ModuleList(nn.MaxPool1d(block_pool) for _, block_pool in sizes)
            self.drop = nn.Dropout(drop_prob)
            self.classifier = nn.Linear(widths[-1] * left, n_outputs)
            self._glorot()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_chans, n_times) -> (batch, n_outputs) logits."""
        self._check_input(x)
        x = self.filters(x)
        for block, (norm, pool) in enumerate(zip(self.norms, self.pools)):
            if block > 0:
                x = self.convs[block - 1](self.drop(x))
            x = pool(F.elu(norm(x)))
        return self.classifier(x.flatten(1))
