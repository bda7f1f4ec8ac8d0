"""Small message-passing networks, as plain as they can be, and molecules for them."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from sciexplain.domains.molecules.molecules import Molecules


def gaussians(distance, many=6, furthest=4.0):
    centers = torch.linspace(0.0, furthest, many, dtype=distance.dtype)
    return torch.exp(-2.0 * (distance[:, None] - centers) ** 2)


class Pass(nn.Module):
    """x_i + V ssp(U sum_j (W x_j) * filter(d_ij)): a pass of SchNet, in short."""

    def __init__(self, width, bias):
        super().__init__()
        self.into, self.filter = nn.Linear(width, width, bias=bias), nn.Linear(6, width)
        self.mid, self.out = nn.Linear(width, width, bias=bias), nn.Linear(width, width, bias=bias)

    def forward(self, x, i, j, expanded):
        messages = self.into(x)[j] * self.filter(expanded)
        gathered = torch.zeros_like(x).index_add(0, i, messages)
        return x + self.out(F.softplus(self.mid(gathered)) - math.log(2.0))


class Net(nn.Module):
    """Energies of molecules as sums over atoms, with a reference per element."""

    cutoff, unit = 3.0, "kcal/mol"

    def __init__(self, width=5, steps=3, bias=True, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Embedding(10, width)
        self.steps = nn.ModuleList(Pass(width, bias) for _ in range(steps))
        self.o1, self.o2 = nn.Linear(width, 4, bias=bias), nn.Linear(4, 1, bias=bias)
        self.register_buffer("reference", -10.0 * torch.arange(10.0))

    def atomwise(self, elements, i, j, edge):
        x = self.embedding(elements)
        for step in self.steps:
            x = step(x, i, j, gaussians(edge))
        return self.o2(torch.tanh(self.o1(x)))[:, 0] + self.reference[elements]

    def forward(self, elements, i, j, edge, molecule, count):
        parts = self.atomwise(elements, i, j, edge)
        return parts.new_zeros(count).index_add(0, molecule, parts)[:, None]


def some_molecules(sizes=(4, 1, 6), seed=3):
    """Random atoms on a jittered grid: none overlap, some pairs are beyond the cutoff."""
    rng = np.random.default_rng(seed)
    places = np.array([(x, y, z) for x in range(3) for y in range(3) for z in range(2)], float) * 1.3
    positions = [places[rng.permutation(18)[:n]] + rng.uniform(-0.2, 0.2, (n, 3)) for n in sizes]
    elements = rng.choice([1, 6, 7, 8], sum(sizes))
    return Molecules(elements, np.repeat(np.arange(len(sizes)), sizes), len(sizes), np.concatenate(positions))
