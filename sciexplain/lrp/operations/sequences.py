"""Recurrent layers: LSTM, GRU and RNN, whole sequences and single cells."""

from __future__ import annotations

import torch
from torch import fx

from .table import argument, operation, signed

aten = torch.ops.aten
_HOW = "gates are constant, the candidate follows the rule of its path"


def _training(node: fx.Node) -> str | None:
    drops = argument(node, "train") and argument(node, "dropout") and argument(node, "num_layers") > 1
    return "dropout between its layers is in training mode: call model.eval() first" if drops else None


operation(
    [aten.lstm.input, aten.gru.input, aten.rnn_tanh.input, aten.rnn_relu.input],
    "recurrent",
    signals=(0, 1),
    sign=signed,
    how=_HOW,
    refuse=_training,
)
operation(
    [aten.lstm_cell, aten.gru_cell, aten.rnn_tanh_cell, aten.rnn_relu_cell],
    "recurrent",
    signals=(0, 1),
    sign=signed,
    how=_HOW,
)
