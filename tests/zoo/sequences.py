"""Networks over time: dilated convolutions and recurrent layers.

Temporal convolutional network (Bai et al. 2018), WaveNet (van den Oord et al. 2016), LSTM classifiers, a GRU
decoder of EEG, an Elman network.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from tests.zoo.attention import itself, series, words
from tests.zoo.checks import Case


class Chomp(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, x):
        return x[:, :, : -self.size].contiguous()


class TemporalBlock(nn.Module):
    def __init__(self, inside, width, kernel, dilation):
        super().__init__()
        pad = (kernel - 1) * dilation
        self.net = nn.Sequential(
            weight_norm(nn.Conv1d(inside, width, kernel, padding=pad, dilation=dilation)),
            Chomp(pad),
            nn.ReLU(),
            nn.Dropout(0.2),
            weight_norm(nn.Conv1d(width, width, kernel, padding=pad, dilation=dilation)),
            Chomp(pad),
            nn.ReLU(),
            nn.Dropout(0.2),
        )
        self.downsample = nn.Conv1d(inside, width, 1) if inside != width else None

    def forward(self, x):
        rest = x if self.downsample is None else self.downsample(x)
        return F.relu(self.net(x) + rest)


class TCN(nn.Module):
    """Causal: later samples cannot matter for earlier outputs; the last output decides."""

    def __init__(self, channels=4, widths=(8, 8, 10), classes=3):
        super().__init__()
        sizes = [channels, *widths]
        self.network = nn.Sequential(
            *(TemporalBlock(a, b, 3, 2**i) for i, (a, b) in enumerate(pairwise(sizes)))
        )
        self.linear = weight_norm(nn.Linear(widths[-1], classes))

    def forward(self, x):  # (batch, channels, time)
        return self.linear(self.network(x)[:, :, -1])


class WaveNet(nn.Module):
    """Left padding by F.pad, tanh times sigmoid, skip sums."""

    def __init__(self, width=8, layers=4, classes=3):
        super().__init__()
        self.inside = nn.Conv1d(1, width, 1)
        self.filters = nn.ModuleList(nn.Conv1d(width, width, 2, dilation=2**i) for i in range(layers))
        self.gates = nn.ModuleList(nn.Conv1d(width, width, 2, dilation=2**i) for i in range(layers))
        self.skips = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(layers))
        self.outs = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(layers))
        self.end1, self.end2 = nn.Conv1d(width, width, 1), nn.Conv1d(width, classes, 1)

    def forward(self, x):  # (batch, time)
        x = self.inside(x.unsqueeze(1))
        skip = 0
        for i, (f, g, s, o) in enumerate(zip(self.filters, self.gates, self.skips, self.outs)):
            padded = F.pad(x, (2**i, 0))
            h = torch.tanh(f(padded)) * torch.sigmoid(g(padded))
            skip = skip + s(h)
            x = x + o(h)
        return self.end2(F.relu(self.end1(F.relu(skip)))).mean(dim=-1)


class BiLSTM(nn.Module):
    """Words to a class: last states of both directions of the upper layer, and the mean of all outputs."""

    def __init__(self, words=60, width=10, hidden=8, classes=4):
        super().__init__()
        self.embedding = nn.Embedding(words, width, padding_idx=0)
        self.lstm = nn.LSTM(width, hidden, num_layers=2, bidirectional=True, batch_first=True, dropout=0.3)
        self.dropout, self.fc = nn.Dropout(0.5), nn.Linear(4 * hidden, classes)

    def forward(self, words):  # (batch, time)
        output, (hidden, _) = self.lstm(self.dropout(self.embedding(words)))
        last = torch.cat((hidden[-2, :, :], hidden[-1, :, :]), dim=1)
        return self.fc(self.dropout(torch.cat([last, output.mean(1)], dim=1)))


class AttentiveLSTM(nn.Module):
    """Sensor series, initial states made on the spot, and attention that weighs the time steps."""

    def __init__(self, channels=5, hidden=8, classes=2):
        super().__init__()
        self.hidden = hidden
        self.rnn = nn.LSTM(channels, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)
        self.fc = nn.Linear(hidden, classes)

    def forward(self, x):  # (batch, time, channels)
        h0 = torch.zeros(1, x.size(0), self.hidden, dtype=x.dtype, device=x.device)
        out, _ = self.rnn(x.transpose(0, 1), (h0, torch.zeros_like(h0)))
        out = out.permute(1, 0, 2)
        weights = torch.softmax(self.score(torch.tanh(out)), dim=1)
        return self.fc((weights * out).sum(dim=1))


class ConvGRU(nn.Module):
    """EEG: convolution and pooling in time, then a GRU in both directions; its last step decides."""

    def __init__(self, channels=6, width=8, hidden=6, classes=3):
        super().__init__()
        self.conv, self.bn = nn.Conv1d(channels, width, 5, padding=2), nn.BatchNorm1d(width)
        self.gru = nn.GRU(width, hidden, 2, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(2 * hidden, classes)

    def forward(self, x):  # (batch, channels, time)
        x = F.max_pool1d(F.elu(self.bn(self.conv(x))), 4)
        out, _ = self.gru(x.permute(0, 2, 1))
        return self.fc(out[:, -1])


class Elman(nn.Module):
    """nn.RNN with ReLU; one value per series."""

    def __init__(self, channels=3, hidden=12):
        super().__init__()
        self.rnn = nn.RNN(channels, hidden, nonlinearity="relu", batch_first=True)
        self.fc = nn.Linear(hidden, 1)

    def forward(self, x):
        return self.fc(self.rnn(x)[1][-1])


CASES = {
    "TCN": Case(TCN, series(4, 30)),
    "WaveNet": Case(WaveNet, series(32)),
    "BiLSTM on words": Case(BiLSTM, words, ids=itself),
    "LSTM with attention": Case(AttentiveLSTM, series(7, 5)),
    "GRU on EEG": Case(ConvGRU, series(6, 32)),
    "Elman": Case(Elman, series(6, 3)),
}
