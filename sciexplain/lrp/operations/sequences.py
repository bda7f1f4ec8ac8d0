"""Recurrent layers: LSTM, GRU and RNN, whole sequences and single cells."""

from __future__ import annotations

import torch

from .table import operation, signed

aten = torch.ops.aten


operation(
    [
        aten.lstm.input, aten.gru.input, aten.rnn_tanh.input, aten.rnn_relu.input,
        aten.lstm_cell, aten.gru_cell, aten.rnn_tanh_cell, aten.rnn_relu_cell,
    ],
    "recurrent",
    signals=(0, 1),
    sign=signed,
    how="gates are constant, the candidate follows the rule of its path",
)  # fmt: skip
