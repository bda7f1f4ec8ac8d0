"""Networks over atoms and points: dense with padding, and flat with index_add.

DTNN (Schuett et al. 2017a), SchNet (Schuett et al. 2017b), GIN (Xu et al. 2019), GCN (Kipf & Welling 2017),
GAT (Velickovic et al. 2018), PointNet (Qi et al. 2017). Flat ones take all atoms of all molecules in one row,
and say which molecule each is in.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from tests.zoo.attention import series
from tests.zoo.checks import Case


def shifted_softplus(x):
    return F.softplus(x) - math.log(2.0)


class Gaussians(nn.Module):
    def __init__(self, many=12, furthest=5.0):
        super().__init__()
        self.register_buffer("centers", torch.linspace(0.0, furthest, many))
        self.gamma = 0.5 / (furthest / many) ** 2

    def forward(self, d):
        return torch.exp(-self.gamma * (d.unsqueeze(-1) - self.centers) ** 2)


class SchNet(nn.Module):
    """Dense: charges (batch, atoms), 0 where there is no atom, and distances (batch, atoms, atoms)."""

    def __init__(self, width=10, cutoff=5.0, blocks=2):
        super().__init__()
        self.embedding = nn.Embedding(20, width, padding_idx=0)
        self.expand, self.cutoff = Gaussians(furthest=cutoff), cutoff
        self.filters = nn.ModuleList(
            nn.ModuleList([nn.Linear(12, width), nn.Linear(width, width)]) for _ in range(blocks)
        )
        self.into = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(blocks))
        self.out1 = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.out2 = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.atomwise = nn.Sequential(nn.Linear(width, width // 2), nn.Softplus(), nn.Linear(width // 2, 1))

    def forward(self, charges, distances):
        real = (charges > 0).to(distances.dtype)
        pairs = real.unsqueeze(1) * real.unsqueeze(2)
        pairs = pairs * (1 - torch.eye(pairs.shape[-1], dtype=pairs.dtype))
        window = 0.5 * (torch.cos(distances * math.pi / self.cutoff) + 1.0) * (distances < self.cutoff)
        gaussians = self.expand(distances)
        x = self.embedding(charges)
        for (f1, f2), inside, o1, o2 in zip(self.filters, self.into, self.out1, self.out2):
            W = f2(shifted_softplus(f1(gaussians))) * window.unsqueeze(-1)
            messages = inside(x).unsqueeze(1) * W * pairs.unsqueeze(-1)
            x = x + o2(shifted_softplus(o1(messages.sum(2))))
        return (self.atomwise(x).squeeze(-1) * real).sum(1, keepdim=True)


class FlatSchNet(nn.Module):
    """Flat: the same function of atoms (n,), pair distances (pairs,), pairs (2, pairs) and molecule (n,)."""

    def __init__(self, width=10, cutoff=5.0, blocks=2):
        super().__init__()
        self.dense = SchNet(width, cutoff, blocks)

    def forward(self, charges, distances, pairs, molecule, molecules):
        net, (center, other) = self.dense, pairs
        window = 0.5 * (torch.cos(distances * math.pi / net.cutoff) + 1.0) * (distances < net.cutoff)
        gaussians = net.expand(distances)
        x = net.embedding(charges)
        for (f1, f2), inside, o1, o2 in zip(net.filters, net.into, net.out1, net.out2):
            W = f2(shifted_softplus(f1(gaussians))) * window.unsqueeze(-1)
            messages = inside(x).index_select(0, other) * W
            gathered = torch.zeros_like(x).index_add(0, center, messages)
            x = x + o2(shifted_softplus(o1(gathered)))
        atoms = net.atomwise(x)
        return torch.zeros(molecules, 1, dtype=atoms.dtype).index_add_(0, molecule, atoms)


class DTNN(nn.Module):
    """Messages tanh(W ((W_c c_j + b_c) * (W_d d_ij + b_d))), dense."""

    def __init__(self, width=8, factors=10, steps=2):
        super().__init__()
        self.c0 = nn.Parameter(torch.randn(20, width) / 3)
        self.expand, self.steps = Gaussians(), steps
        self.cf, self.df = nn.Linear(width, factors), nn.Linear(12, factors)
        self.fc = nn.Linear(factors, width, bias=False)
        self.o1, self.o2 = nn.Linear(width, 6), nn.Linear(6, 1)

    def forward(self, charges, distances):
        real = charges > 0
        pairs = real[:, :, None] & real[:, None, :] & ~torch.eye(charges.shape[1], dtype=torch.bool)
        c = F.embedding(charges, self.c0)
        d = self.df(self.expand(distances))
        for _ in range(self.steps):  # the same weights in every step
            v = torch.tanh(self.fc(self.cf(c)[:, None, :, :] * d))
            c = c + torch.where(pairs[..., None], v, torch.zeros_like(v)).sum(dim=2)
        energies = self.o2(torch.tanh(self.o1(c)))
        return energies.masked_fill(~real[..., None], 0).sum(dim=1)


class FlatDTNN(nn.Module):
    def __init__(self, **how):
        super().__init__()
        self.dense = DTNN(**how)

    def forward(self, charges, distances, pairs, molecule, molecules):
        net = self.dense
        c, d = net.c0[charges], net.df(net.expand(distances))
        for _ in range(net.steps):
            v = torch.tanh(net.fc(net.cf(c)[pairs[1]] * d))
            c = c.index_add(0, pairs[0], v)
        energies = net.o2(torch.tanh(net.o1(c)))
        return energies.new_zeros((molecules, 1)).index_add(0, molecule, energies)


class GIN(nn.Module):
    """(1 + eps) x_i + sum of neighbours, then a two-layer network with batch norm; all sums are read."""

    def __init__(self, features=5, width=8, layers=2, classes=2):
        super().__init__()
        self.eps = nn.Parameter(0.1 * torch.arange(1.0, layers + 1))
        self.mlps = nn.ModuleList(
            nn.Sequential(
                nn.Linear(features if i == 0 else width, width),
                nn.BatchNorm1d(width),
                nn.ReLU(),
                nn.Linear(width, width),
                nn.ReLU(),
            )
            for i in range(layers)
        )
        self.read = nn.Linear(layers * width, classes)

    def forward(self, x, edge_index, batch, molecules: int):
        row, col = edge_index[0], edge_index[1]
        read = []
        for i, mlp in enumerate(self.mlps):
            neighbours = torch.zeros_like(x)
            neighbours.index_add_(0, row, x[col])
            x = mlp((1 + self.eps[i]) * x + neighbours)
            read.append(x.new_zeros(molecules, x.shape[1]).index_add(0, batch, x))
        return self.read(torch.cat(read, dim=-1))


class DenseGCN(nn.Module):
    """Features (batch, atoms, features) and a boolean adjacency with self-loops, normalised on the spot."""

    def __init__(self, features=5, width=8, classes=2):
        super().__init__()
        self.w1 = nn.Parameter(torch.randn(features, width) / features**0.5)
        self.w2 = nn.Parameter(torch.randn(width, width) / width**0.5)
        self.fc = nn.Linear(width, classes)

    def forward(self, x, adjacency):
        a = adjacency.to(x.dtype)
        a = a / torch.sqrt(a.sum(-1, keepdim=True) * a.sum(-2, keepdim=True))
        h = F.relu(torch.bmm(a, x @ self.w1))
        h = F.relu(torch.einsum("bij,bjf->bif", a, h @ self.w2))
        return self.fc(h.mean(1))


class ScatterGCN(nn.Module):
    """Sparse: degrees by scatter_add, messages scaled edge by edge, maximum over atoms by scatter_reduce."""

    def __init__(self, features=5, width=8, classes=2):
        super().__init__()
        self.lin1, self.lin2 = nn.Linear(features, width), nn.Linear(width, width)
        self.fc = nn.Linear(2 * width, classes)

    def spread(self, h, row, col, scale):
        index = row.unsqueeze(-1).expand(-1, h.shape[1])
        return torch.zeros_like(h).scatter_add(0, index, scale.unsqueeze(-1) * h.index_select(0, col))

    def forward(self, x, edge_index, batch, molecules: int):
        row, col = edge_index
        degree = torch.ones(x.shape[0], dtype=x.dtype).index_add(
            0, row, torch.ones(row.shape[0], dtype=x.dtype)
        )
        scale = degree.pow(-0.5)[row] * degree.pow(-0.5)[col]
        h = F.relu(self.spread(self.lin1(x), row, col, scale))
        h = F.relu(self.spread(self.lin2(h), row, col, scale))
        index = batch.unsqueeze(-1).expand(-1, h.shape[1])
        zeros = h.new_zeros(molecules, h.shape[1])
        mean = zeros.scatter_reduce(0, index, h, reduce="mean", include_self=False)
        top = zeros.scatter_reduce(0, index, h, reduce="amax", include_self=False)
        return self.fc(torch.cat([mean, top], 1))


class GAT(nn.Module):
    """Attention over edges: a softmax per atom of exponentials that index_add sums."""

    def __init__(self, features=5, width=8, classes=2):
        super().__init__()
        self.lin = nn.Linear(features, width, bias=False)
        self.left, self.right = nn.Parameter(torch.randn(width)), nn.Parameter(torch.randn(width))
        self.fc = nn.Linear(width, classes)

    def forward(self, x, edge_index, batch, molecules: int):
        row, col = edge_index
        h = self.lin(x)
        e = F.leaky_relu((h * self.left).sum(-1)[row] + (h * self.right).sum(-1)[col], 0.2)
        top = e.new_zeros(x.shape[0]).scatter_reduce(0, row, e, "amax", include_self=False)
        e = (e - top[row]).exp()
        total = e.new_zeros(x.shape[0]).index_add(0, row, e)
        weights = e / (total[row] + 1e-16)
        h = F.elu(torch.zeros_like(h).index_add(0, row, weights[:, None] * h[col]))
        return self.fc(h.new_zeros(molecules, h.shape[1]).index_add(0, batch, h))


class PointNet(nn.Module):
    """Points turned by a matrix that the network computes from them; maximum over points."""

    def __init__(self, width=12, classes=3):
        super().__init__()
        self.look = nn.Sequential(nn.Conv1d(3, width, 1), nn.BatchNorm1d(width), nn.ReLU())
        self.turn = nn.Linear(width, 9)
        self.mlp = nn.Sequential(
            nn.Conv1d(3, width, 1), nn.BatchNorm1d(width), nn.ReLU(), nn.Conv1d(width, width, 1)
        )
        self.fc = nn.Linear(width, classes)

    def forward(self, x):  # (batch, 3, points)
        matrix = self.turn(torch.max(self.look(x), 2)[0])
        matrix = matrix.view(-1, 3, 3) + torch.eye(3, dtype=x.dtype)
        x = torch.bmm(x.transpose(2, 1), matrix).transpose(2, 1)
        x = torch.max(self.mlp(x), 2, keepdim=True)[0]
        return self.fc(F.relu(x.view(x.size(0), -1)))


ELEMENTS = torch.tensor([1, 6, 7, 8])


def molecules(batch, largest=6):
    """Charges (batch, atoms), 0 where there is none, and distances (batch, atoms, atoms) in angstrom."""
    g = torch.Generator().manual_seed(11)
    sizes = torch.tensor([largest, largest - 2, largest - 1])[torch.arange(batch) % 3]
    real = torch.arange(largest) < sizes[:, None]
    charges = ELEMENTS[torch.randint(0, 4, (batch, largest), generator=g)] * real
    places = 2.0 * torch.rand(batch, largest, 3, generator=g)
    return charges, torch.linalg.vector_norm(places[:, None] - places[:, :, None], dim=-1)


def flat_molecules(batch):
    """The same: all atoms in a row, distances of pairs, pairs, molecule of each atom, how many molecules."""
    charges, distances = molecules(batch)
    molecule, atom = torch.nonzero(charges, as_tuple=True)
    together = (molecule[:, None] == molecule) & ~torch.eye(len(atom), dtype=torch.bool)
    pairs = torch.stack(torch.nonzero(together, as_tuple=True))
    found = distances[molecule[pairs[0]], atom[pairs[0]], atom[pairs[1]]]
    return charges[molecule, atom], found, pairs, molecule, batch


def dense_graphs(batch, atoms=6, features=5):
    """Features (batch, atoms, features) and adjacency (batch, atoms, atoms), boolean, with self-loops."""
    g = torch.Generator().manual_seed(12)
    x = torch.randn(batch, atoms, features, generator=g)
    linked = torch.rand(batch, atoms, atoms, generator=g) < 0.3
    return x, linked | linked.transpose(1, 2) | torch.eye(atoms, dtype=torch.bool)


def flat_graphs(batch):
    """Features (nodes, features), edges (2, edges) both ways, no self-loops, graph of each node, how many."""
    x, adjacency = dense_graphs(batch)
    graph, a, b = torch.nonzero(adjacency & ~torch.eye(x.shape[1], dtype=torch.bool), as_tuple=True)
    edges = torch.stack([graph * x.shape[1] + a, graph * x.shape[1] + b])
    return x.flatten(0, 1), edges, torch.arange(batch).repeat_interleave(x.shape[1]), batch


def charges(inputs):
    return inputs[0]


CASES = {
    "SchNet": Case(SchNet, molecules, ids=charges),
    "SchNet, flat": Case(FlatSchNet, flat_molecules, ids=charges, whole=True),
    "DTNN": Case(DTNN, molecules, ids=charges),
    "DTNN, flat": Case(FlatDTNN, flat_molecules, ids=charges, whole=True),
    "GIN": Case(GIN, flat_graphs, whole=True),
    "GCN, dense": Case(DenseGCN, dense_graphs),
    "GCN, sparse": Case(ScatterGCN, flat_graphs, whole=True),
    "GAT": Case(GAT, flat_graphs, whole=True),
    "PointNet": Case(PointNet, series(3, 14)),
}
