"""LRP-0 on `nets.Net`, in NumPy and loops: relevance R itself, layer by layer."""

import itertools

import numpy as np
import torch

from tests.domains.molecules.nets import gaussians


def ratio(n, d):
    return np.divide(n, d, out=np.zeros(np.broadcast_shapes(np.shape(n), np.shape(d))), where=d != 0)


def numpy(tensor):
    return tensor.detach().double().numpy()


def linear_back(layer, a, R, spread):
    """R (row, output) at W a + b to R (row, input); `spread`: the bias in equal parts where a w is not 0."""
    W, b = numpy(layer.weight), 0 if layer.bias is None else numpy(layer.bias)
    found = np.zeros_like(a)
    for row in range(len(a)):
        parts = W * a[row]
        z = parts.sum(1) + b
        count = (parts != 0).sum(1)
        if spread and layer.bias is not None:
            parts = parts + (parts != 0) * ratio(b, count)[:, None]
        found[row] = R[row] @ ratio(parts, z[:, None])
    return found


class Slow:
    """The network on molecules, every value in between known."""

    def __init__(self, net, molecules, spread=False):
        self.net, self.molecules, self.spread = net, molecules, spread
        self.i, self.j, self.d = molecules.pairs(net.cutoff)
        basis = gaussians(torch.from_numpy(self.d)).double()
        double = {k: v.double() for k, v in net.state_dict().items() if v.is_floating_point()}
        self.filters = [
            numpy(basis @ double[f"steps.{t}.filter.weight"].T + double[f"steps.{t}.filter.bias"])
            for t in range(len(net.steps))
        ]
        elements = torch.from_numpy(molecules.elements)
        self.reference = numpy(net.reference[elements])
        self.x = [numpy(net.embedding(elements))]
        self.inner = []
        for step, filters in zip(net.steps, self.filters):
            x = self.x[-1]
            y = self.apply(step.into, x)
            messages = y[self.j] * filters
            gathered = np.zeros_like(y)
            np.add.at(gathered, self.i, messages)
            mid = self.apply(step.mid, gathered)
            h = np.logaddexp(0, mid) - np.log(2)
            v = self.apply(step.out, h)
            self.inner.append((y, messages, gathered, h, v))
            self.x.append(x + v)
        self.hidden = np.tanh(self.apply(net.o1, self.x[-1]))
        self.parts = self.apply(net.o2, self.hidden)[:, 0] + self.reference

    @staticmethod
    def apply(layer, a):
        return a @ numpy(layer.weight).T + (0 if layer.bias is None else numpy(layer.bias))

    @property
    def scores(self):
        return np.bincount(self.molecules.molecule, self.parts, self.molecules.count)

    def readout_back(self):
        """R at the last states of R = E_i at each atom, the reference left out."""
        R = linear_back(self.net.o2, self.hidden, (self.parts - self.reference)[:, None], self.spread)
        return linear_back(self.net.o1, self.x[-1], R, self.spread)

    def pass_back(self, t, R):
        """R at the states after pass t to R at those before."""
        step, (y, messages, gathered, h, v) = self.net.steps[t], self.inner[t]
        x, after = self.x[t], self.x[t + 1]
        R_h = linear_back(step.out, h, R * ratio(v, after), self.spread)  # activations through 0 hand on all
        R_gathered = linear_back(step.mid, gathered, R_h, self.spread)
        R_y = np.zeros_like(y)
        for pair, (i, j) in enumerate(zip(self.i, self.j)):
            R_y[j] += ratio(messages[pair], gathered[i]) * R_gathered[i]
        return R * ratio(x, after) + linear_back(step.into, x, R_y, self.spread)

    def atoms(self, R=None):
        """R at the embeddings, summed over features."""
        R = self.readout_back() if R is None else R
        for t in reversed(range(len(self.net.steps))):
            R = self.pass_back(t, R)
        return R.sum(1)

    def explained(self):
        """R of each atom: from the embedding, the reference, and an equal part of what no atom got."""
        found = self.atoms() + self.reference
        m = self.molecules.molecule
        lost = self.scores - np.bincount(m, found, self.molecules.count)
        return found + (lost / self.molecules.sizes)[m]

    def walk(self, atoms):
        """R of one walk (a_0, ..., a_T): at every state but one atom is cut off."""
        R = self.readout_back()
        for t, atom in zip(range(len(atoms) - 1, -1, -1), reversed(atoms)):
            kept = np.zeros_like(R)
            kept[atom] = R[atom]
            R = self.pass_back(t - 1, kept) if t else kept
        return R.sum()

    def walks(self, molecule):
        """Every walk of a molecule and its R."""
        atoms = np.flatnonzero(self.molecules.molecule == molecule).tolist()
        return {w: self.walk(w) for w in itertools.product(atoms, repeat=len(self.net.steps) + 1)}
