"""Relevance of pairs of atoms, and of walks of messages from atom to atom (GNN-LRP)."""

from __future__ import annotations

import copy
import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from sciexplain.domains.molecules.adapter import PER_ATOM, scores
from sciexplain.domains.molecules.protocol import (
    AtomModel,
    Given,
    ProtocolError,
    atom_model,
    chunks,
    replace_module,
)
from sciexplain.labelling import provenance
from sciexplain.lrp.capture import capture
from sciexplain.lrp.engine import run
from sciexplain.lrp.plan import make_plan
from sciexplain.lrp.rewrite import Session
from sciexplain.lrp.targets import Seed
from sciexplain.methods import RuleMethod
from sciexplain.relevance import relevance_dataset

if TYPE_CHECKING:
    from sciexplain.domains.molecules.molecules import Molecules

__all__ = ["pair_relevance", "walk_relevance"]

_SEEDS = 256  # messages that go back together
_LARGEST = 2**31  # bytes of the transfers of one molecule


def pair_relevance(
    model: Any, molecules: Molecules, method: Any = PER_ATOM, *, target: int = 0, batch_size: int | None = 64
) -> xr.Dataset:
    """Relevance that atom j has for the part of the output that atom i sends up, R_ij.

    Parameters
    ----------
    model : nn.Module or AtomModel
        With rounds of messages: a network of `sciexplain.models`, or `AtomModel(..., passes=[...])`.
    molecules : Molecules
    method : LRP
        One rule, or rules by kind ("linear", "conv"); module paths name nothing here.
    target : int
        Which output, where the network has several.
    batch_size : int, optional
        Molecules per pass.

    Returns
    -------
    Dataset
        `relevance (pair)` with `atom_i`, `atom_j` (rows of `elements`), every two atoms of a molecule in both
        orders and i = j; `pair_molecule`; `distance` where there are positions. Summed over i it is the
        relevance that reaches the embedding of atom j, as in `explain` without references of elements and
        shares of what is absorbed; `absorbed` says how much that is in a molecule.

    Raises
    ------
    ProtocolError
        The network does not say where its rounds are.
    """
    given, found, totals = atom_model(model), [], []
    for part, _, first in chunks(molecules, batch_size):
        chain = _Chain(given.double, part, method, target)
        start = chain.at_the_end()
        sizes, starts = part.sizes, part.starts
        matrix = np.zeros((sizes.max(), len(part.elements)))
        seeds = []
        for k in range(sizes.max()):
            rows = torch.from_numpy(starts[sizes > k] + k)
            seeds.append(torch.zeros_like(start).index_copy(0, rows, start[rows]))
        messages: Sequence[Tensor] = seeds
        for t in reversed(range(len(chain.rounds))):
            messages = list(chain.back(t, messages))
        for k, c in enumerate(messages):
            matrix[k] = (c * chain.states[0]).sum(1).numpy()
        of_j = np.repeat(np.arange(len(part.elements)), sizes[part.molecule])
        k = np.arange(len(of_j)) - np.repeat(np.cumsum(sizes[part.molecule]) - sizes[part.molecule],
                                             sizes[part.molecule])  # fmt: skip
        of_i = starts[part.molecule[of_j]] + k
        found.append((of_i + first, of_j + first, matrix[k, of_j]))
        totals.append(scores(chain.model, chain.values, target))
    i, j, relevance = (np.concatenate(column) for column in zip(*found))
    along: dict[str, Any] = {"atom_i": ("pair", i), "atom_j": ("pair", j)}
    if molecules.positions is not None:
        apart = np.linalg.norm(molecules.positions[i] - molecules.positions[j], axis=1)
        along["distance"] = ("pair", apart, {"units": "angstrom"})
    r = xr.DataArray(relevance, dims="pair", coords=along)
    return _dataset(
        given,
        molecules,
        r.assign_attrs(explanation="relevance of atom j for what atom i adds to the output"),
        molecules.molecule[j],
        np.concatenate(totals),
        {},
        method,
    )


def walk_relevance(
    model: Any, molecules: Molecules, k: int | None = 100, method: Any = PER_ATOM, *, target: int = 0
) -> xr.Dataset:
    """Relevance of walks (a_0, ..., a_T): from the embedding of a_0 along T messages to what a_T adds.

    With R = x c, round t hands c_t of one atom on to c_(t-1) of its senders by a fixed matrix; a walk is the
    product of the matrices along it. The walks that start at an atom add up to its relevance (Schnake et al.
    2022, equations 5 to 7). All walks are visited; the largest are kept.

    Parameters
    ----------
    model : nn.Module or AtomModel
        As for `pair_relevance`.
    molecules : Molecules
    k : int, optional
        Walks to keep of each molecule, largest |R| first; None for all that are not 0.
    method, target
        As for `pair_relevance`.

    Returns
    -------
    Dataset
        `relevance (walk)` with `atoms (walk, step)`, rows of `elements` from a_0 to a_T, and `walk_molecule`;
        `rest (atom)`: the walks from each atom that are not listed; `atom_total (atom)`: all of them.
        `absorbed (sample, operation)`: what of the score is in no walk, references of elements above all,
        and the sum of `rest`.

    Raises
    ------
    ProtocolError
        The network does not say where its rounds are.
    ValueError
        A molecule is too large to visit all walks (its matrices need more than 2 GiB).
    """
    if k is not None and (isinstance(k, bool) or not isinstance(k, int) or k < 1):
        raise ValueError(f"k={k!r}: expected how many walks to keep, or None for all.")
    given = atom_model(model)
    paths, values, owners, totals, atom_totals = [], [], [], [], []
    for part, m, first in chunks(molecules, 1):
        chain = _Chain(given.double, part, method, target)
        per_atom = np.zeros(len(part.elements))
        best: list[tuple[float, float, tuple[int, ...]]] = []
        for walk, found in _all_walks(chain):
            per_atom += found.reshape(-1, len(per_atom)).sum(0)
            best = _largest(best, walk, found, k)
        for _, value, path in sorted(best, key=lambda entry: -entry[0]):
            paths.append([atom + first for atom in path])
            values.append(value)
            owners.append(m)
        totals.append(scores(chain.model, chain.values, target))
        atom_totals.append(per_atom)
        steps = len(chain.rounds) + 1
    listed = np.asarray(paths, dtype=np.int64).reshape(-1, steps)
    relevance = np.asarray(values)
    total = np.concatenate(atom_totals)
    rest = total - np.bincount(listed[:, 0], relevance, len(total))
    r = xr.DataArray(relevance, dims="walk")
    ds = _dataset(
        given,
        molecules,
        r.assign_attrs(explanation="relevance of walks of messages (GNN-LRP)"),
        np.asarray(owners),
        np.concatenate(totals),
        {"walks not listed": np.bincount(molecules.molecule, rest, molecules.count)},
        method,
    )
    ds = ds.assign_coords(atoms=(("walk", "step"), listed))
    return ds.assign(rest=("atom", rest), atom_total=("atom", total))


def _all_walks(chain: _Chain) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """Walks by their last atoms: (a_2, ..., a_T), and R (a_1, a_0) of all walks that end with these.

    With one round, () and R (a_1, a_0); without any, () and R (a_0,).
    """
    start = chain.at_the_end()
    if not chain.rounds:
        yield (), (start * chain.states[0]).sum(1).numpy()
        return
    transfers = [chain.transfer(t) for t in range(len(chain.rounds))]
    first = np.einsum("iajb,jb->iaj", transfers[0], chain.states[0].numpy())
    n = len(start)

    def below(t: int, path: tuple[int, ...], c: np.ndarray) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
        """All walks that end with `path`, where c (atom, feature) arrives after round t."""
        if t == 0:
            yield path, np.einsum("ia,iaj->ij", c, first)
            return
        for atom in range(n):
            if c[atom].any():
                yield from below(t - 1, (atom, *path), np.einsum("a,ajb->jb", c[atom], transfers[t][atom]))

    yield from below(len(transfers) - 1, (), start.numpy())


def _largest(
    best: list[tuple[float, float, tuple[int, ...]]], path: tuple[int, ...], found: np.ndarray, k: int | None
) -> list[tuple[float, float, tuple[int, ...]]]:
    """The k largest of those known and of R (a_1, a_0) before a path."""
    flat = found.reshape(-1)
    size = np.abs(flat)
    above = best[-1][0] if k is not None and len(best) == k else 0.0
    chosen = np.flatnonzero(size > above)
    if k is not None and len(chosen) > k:
        chosen = chosen[np.argpartition(-size[chosen], k - 1)[:k]]
    if not len(chosen):
        return best
    heads = np.stack(np.unravel_index(chosen, found.shape), 1)[:, ::-1].tolist()
    new = [(float(size[c]), float(flat[c]), (*head, *path)) for c, head in zip(chosen, heads)]
    return heapq.nlargest(k, best + new, key=lambda e: e[0]) if k is not None else best + new


def _dataset(
    model: AtomModel,
    molecules: Molecules,
    relevance: xr.DataArray,
    owner: np.ndarray,
    score: np.ndarray,
    elsewhere: dict[str, np.ndarray],
    method: Any,
) -> xr.Dataset:
    """Relevance of pairs or walks as a relevance dataset; what is in none of them is booked as absorbed."""
    (dim,) = relevance.dims
    total = np.bincount(owner, relevance.values, molecules.count) + sum(elsewhere.values())
    columns = {**elsewhere, f"in no {dim}": score - total}
    about = molecules.to_dataset().coords
    along = {name: c for name, c in about.items() if c.dims == ("sample",) and name != "sample"}
    units = {} if model.unit is None else {"units": model.unit}
    ds = relevance_dataset(
        relevance.assign_coords(
            {f"{dim}_molecule": (dim, owner, {"instance_dimension": "sample"})}
        ).assign_attrs(units),
        score=xr.DataArray(score, dims="sample", coords=along, attrs=units),
        target=xr.DataArray(np.zeros(len(score), np.int64), dims="sample"),
        absorbed=xr.DataArray(
            np.stack(list(columns.values()), 1),
            dims=("sample", "operation"),
            coords={"operation": list(columns)},
        ),
        attrs={
            "method": method.to_json(),
            "composite": method.composite_json,
            "domain": "molecules",
            "explanation": relevance.attrs["explanation"],
            **provenance(model.network),
        },
    )
    return ds.assign_coords({name: c for name, c in about.items() if c.dims == ("atom",)})


class _Chain:
    """The network from round to round, for some molecules, and its messages on the way back."""

    def __init__(self, model: AtomModel, molecules: Molecules, method: Any, target: int) -> None:
        if not isinstance(method, RuleMethod) or getattr(method, "condition", None) is not None:
            raise TypeError(f"Walks are for sx.LRP(...) without conditions; got {method!r}.")
        self.model, self.rules, self.target = model, method.rules, target
        self.values = model.values(molecules)
        with torch.no_grad():
            self.states, self.rounds, self._last = _pieces(model, self.values)
        self._sessions: dict[int, Session] = {}

    def at_the_end(self) -> Tensor:
        """c at the states after the last round."""
        with torch.no_grad():
            out = self._last(self.states[-1])
        begin = torch.zeros_like(out)
        begin[:, self.target] = 1
        (found,) = self._back(self._last, self.states[-1], [begin], None)
        return found

    def back(self, t: int, messages: Sequence[Tensor]) -> Iterator[Tensor]:
        """c before round t for each c (atom, feature) after it."""
        for start in range(0, len(messages), _SEEDS):
            yield from self._back(self.rounds[t], self.states[t], messages[start : start + _SEEDS], t)

    def transfer(self, t: int) -> np.ndarray:
        """Matrix (i, feature of i, j, feature of j) of round t of one molecule: c_j = sum_i c_i M_ij."""
        n, f = self.states[t + 1].shape
        inner = self.states[t].shape[1]
        if n * f * n * inner * 8 > _LARGEST:
            raise ValueError(
                f"A molecule of {n} atoms with {f} features each has {(n * f) ** 2} numbers per round of"
                " messages: too many to visit all walks. Use pair_relevance, or a smaller network."
            )
        basis = torch.eye(n * f, dtype=self.states[t].dtype).reshape(n * f, n, f)
        found = [c.numpy() for c in self.back(t, list(basis))]
        return np.stack(found).reshape(n, f, n, inner)

    def _back(
        self, piece: Callable[[Tensor], Tensor], x: Tensor, messages: Sequence[Tensor], t: int | None
    ) -> list[Tensor]:
        key = -1 if t is None else t
        if key not in self._sessions:
            held = _OfSize(piece, tuple(x.shape))
            self._sessions[key] = Session(
                make_plan(capture(held, (x,), {}), self.rules, keep_final=True), held
            )
        one = x.new_zeros(1, dtype=torch.float64)  # no score is asked for: all rows are one sample
        seeds = [Seed(c, one, [0], one) for c in messages]
        found = run(self._sessions[key], [x], lambda _: seeds)
        return [_message(f.message[0], x) for f in found]


def _message(c: Tensor | None, x: Tensor) -> Tensor:
    return torch.zeros_like(x) if c is None else c.detach().cpu()


Piece = Callable[[Tensor], Tensor]


def _pieces(model: AtomModel, values: dict[str, Any]) -> tuple[list[Tensor], list[Piece], Piece]:
    """States before and after each round, the rounds, and what follows them up to the output."""
    network = model.network
    if model.passes is None and hasattr(network, "rounds"):
        own: Any = network
        rounds = own.rounds(values["i"], values["j"], values["edge"])
        x = own.embed(values["elements"])
        last: Piece = _House(network, values["molecule"], values["count"])
    elif model.passes is not None:
        x, rounds, last = _foreign(model, values)
    else:
        raise ProtocolError(
            f"{type(network).__name__} does not say which modules make its rounds of messages:"
            " AtomModel(network, passes=['path', ...])."
        )
    states = [x.detach()]
    for one in rounds:
        states.append(one(states[-1]).detach())
    return states, list(rounds), last


class _OfSize(nn.Module):
    """A piece for states of one size only: the edges in it number the atoms of these molecules."""

    def __init__(self, piece: Piece, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.piece, self.shape = piece, shape
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """States to what the piece makes of them."""
        return self.piece(x.view(self.shape))


class _House(nn.Module):
    """From the states after the last round to the output, references of elements left out."""

    def __init__(self, network: Any, molecule: Tensor, count: int) -> None:
        super().__init__()
        self.readout, self.scale, self.count = network.readout, network.scale, count
        self.register_buffer("molecule", molecule)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """(atom, feature) -> (molecule, 1)."""
        assert isinstance(self.molecule, Tensor)
        parts = self.readout(x) * self.scale
        return parts.new_zeros(self.count, 1).index_add(0, self.molecule, parts)


def _foreign(model: AtomModel, values: dict[str, Any]) -> tuple[Tensor, list[Piece], Piece]:
    """The same, of a network whose rounds are modules that are called once each."""
    assert model.passes is not None
    calls: dict[str, list[Any]] = {path: [] for path in model.passes}
    handles = []
    for path in model.passes:
        try:
            module = model.network.get_submodule(path)
        except AttributeError:
            raise ProtocolError(f"passes={list(model.passes)}: there is no module {path!r}.") from None
        handles.append(module.register_forward_pre_hook(
            lambda _m, args, kwargs, path=path: calls[path].append((args, kwargs)), with_kwargs=True
        ))  # fmt: skip
    try:
        model.network(**values)
    finally:
        for handle in handles:
            handle.remove()
    wrong = {path: len(found) for path, found in calls.items() if len(found) != 1 or not found[0][0]}
    if wrong:
        raise ProtocolError(f"Rounds are called as module(states, ...) once each; {wrong} are not.")
    rounds: list[Piece] = []
    for path in model.passes:
        (_, *others), kwargs = calls[path][0]
        rounds.append(_Round(model.network.get_submodule(path), others, kwargs, bool(model.adds)))
    first = calls[model.passes[0]][0][0][0]
    return first, rounds, _Last(model, values)


class _Round(nn.Module):
    """One round as a function of the states alone."""

    def __init__(self, module: nn.Module, others: Sequence[Any], kwargs: Any, adds: bool) -> None:
        super().__init__()
        self.module, self.adds = module, adds
        self.others = [v.detach() if isinstance(v, Tensor) else v for v in others]
        self.named = {k: v.detach() if isinstance(v, Tensor) else v for k, v in kwargs.items()}
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """States before to states after."""
        out = self.module(x, *self.others, **self.named)
        return x + out if self.adds else out


class _Last(nn.Module):
    """The network with the states after the last round given."""

    def __init__(self, model: AtomModel, values: dict[str, Any]) -> None:
        super().__init__()
        assert model.passes is not None
        self.network = copy.deepcopy(model.network)
        self.values, self.adds, self.path = values, bool(model.adds), model.passes[-1]
        replace_module(self.network, self.path, _GivenState(self.adds))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """(atom, feature) -> (molecule, output)."""
        self.network.get_submodule(self.path).put(x)  # type: ignore[operator]
        out = self.network(**self.values)
        return out[:, None] if out.dim() == 1 else out


class _GivenState(Given):
    def __init__(self, adds: bool) -> None:
        super().__init__()
        self.adds = adds

    def forward(self, *args: Any, **_: Any) -> Any:
        return self.box.content - args[0] if self.adds else self.box.content
