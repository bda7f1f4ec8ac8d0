"""How a network takes molecules: which arguments it wants, and where in it the atoms are."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from sciexplain.domains.molecules.errors import MoleculeError, PositionsError, UnknownElementError
from sciexplain.models.bond_graph import BOND_KINDS

if TYPE_CHECKING:
    from sciexplain.domains.molecules.molecules import Molecules

__all__ = ["AtomModel", "ProtocolError", "atom_model"]

#: What molecules have for the arguments of a network, by name.
QUANTITIES = ("elements", "positions", "molecule", "count", "i", "j", "edge")


class ProtocolError(MoleculeError):
    """A network does not say what an explanation has to know of it; the message names the field."""


@dataclass(frozen=True)
class AtomModel:
    """A network and what an explanation has to know of it. Fields left out are read from the network.

    Parameters
    ----------
    network : nn.Module
        Its forward returns (molecule,) or (molecule, output).
    arguments : mapping, optional
        forward's argument -> one of "elements" (atom,), "positions" (atom, 3), "molecule" (atom,), "count",
        "i", "j" (edge,), the atoms that receive and send, "edge" (edge,), or a function of `Molecules`.
        Default: the arguments of forward that have these names.
    atoms : str
        Argument that says which element each atom is: relevance per atom starts where it is embedded.
    rows : callable, optional
        Molecules -> atom of each entry of that argument, of its shape; -1 for padding. Default: one entry per
        atom, in order.
    embedding : str, optional
        Path of the module that embeds the atoms, (atom, feature). Default "embedding".
    passes : sequence of str, optional
        Path of the module that makes each pass of messages, called as module(states, ...).
    adds : bool
        Whether a pass returns what is added to the states, instead of the new states.
    atomwise : str, optional
        Path of the module that returns each atom's part of the output, (atom, 1), or the name of a method of
        the network that takes arguments of forward.
    cutoff : float, optional
        Edges are pairs closer than this, in angstrom, and their distances; without it, they are bonds and the
        position of their order in `sciexplain.models.BOND_KINDS`.
    unit : str, optional
        Unit of the output.

    Examples
    --------
    >>> from torch import nn
    >>> class Counts(nn.Module):
    ...     def forward(self, z, batch): ...
    >>> AtomModel(Counts(), {"z": "elements", "batch": "molecule"}, atoms="z").atoms
    'z'
    """

    network: nn.Module
    arguments: Mapping[str, str | Callable[[Molecules], Any]] | None = None
    atoms: str | None = None
    rows: Callable[[Molecules], Any] | None = None
    embedding: str | None = None
    passes: Sequence[str] | None = None
    adds: bool | None = None
    atomwise: str | None = None
    cutoff: float | None = None
    unit: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.network, nn.Module):
            raise TypeError(f"A network of atoms is a torch.nn.Module; got {type(self.network).__name__}.")
        if self.embedding is None:
            object.__setattr__(self, "embedding", "embedding")
        for name, default in (("adds", False), ("cutoff", None), ("unit", None)):
            if getattr(self, name) is None:
                object.__setattr__(self, name, getattr(self.network, name, default))
        if self.atomwise is None and hasattr(self.network, "atomwise"):
            object.__setattr__(self, "atomwise", "atomwise")
        if self.arguments is None:
            object.__setattr__(self, "arguments", self._by_name())
        assert self.arguments is not None
        unknown = {k: v for k, v in self.arguments.items() if not callable(v) and v not in QUANTITIES}
        if unknown:
            raise ProtocolError(
                f"arguments={unknown}: expected one of {', '.join(QUANTITIES)}, or a function of Molecules."
            )
        if self.atoms is None:
            given = [k for k, v in self.arguments.items() if v == "elements"]
            object.__setattr__(self, "atoms", given[0] if given else None)
        if self.atoms not in self.arguments:
            raise ProtocolError(
                f"atoms={self.atoms!r} is none of the arguments {list(self.arguments)}: name the one that"
                " says which element each atom is."
            )

    def _by_name(self) -> dict[str, str]:
        parameters = inspect.signature(self.network.forward).parameters.values()
        wanted = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_KEYWORD,)]
        strange = [name for name in wanted if name not in QUANTITIES]
        if strange:
            raise ProtocolError(
                f"{type(self.network).__name__}.forward wants {', '.join(strange)}, which molecules do not"
                f" have by that name ({', '.join(QUANTITIES)}): give AtomModel(network, arguments={{...}})."
            )
        return {p.name: p.name for p in parameters if p.name in QUANTITIES}

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the network's parameters."""
        floats = [p.dtype for p in self.network.parameters() if p.is_floating_point()]
        return floats[0] if floats else torch.get_default_dtype()

    @property
    def double(self) -> AtomModel:
        """The same in float64: what is measured to 1e-4 kcal/mol of 1,500 has to be computed so."""
        return replace(self, network=copy.deepcopy(self.network).double())

    def values(self, molecules: Molecules, positions: Tensor | None = None) -> dict[str, Any]:
        """The arguments of forward for some molecules, arrays as tensors on the network's device.

        Parameters
        ----------
        molecules : Molecules
        positions : Tensor (atom, 3), optional
            In place of the molecules' own; distances follow from them and so have gradients.
        """
        assert self.arguments is not None
        self._check_elements(molecules)
        quantities = _Quantities(self, molecules, positions)
        return {k: quantities.get(v) for k, v in self.arguments.items()}

    def _check_elements(self, molecules: Molecules) -> None:
        known = getattr(self.network, "elements", None)
        if not isinstance(known, tuple):
            return
        strange = np.flatnonzero(~np.isin(molecules.elements, known))
        if len(strange):
            a = int(strange[0])
            m = int(molecules.molecule[a])
            raise UnknownElementError(
                f"{molecules.label(m)} has {molecules.symbols[a]} (atom {molecules.atom_index[a]}), which the"
                f" network never saw; it knows the atomic numbers {', '.join(map(str, known))}.",
                molecules.row_of(m),
            )

    def atom_of_rows(self, molecules: Molecules) -> np.ndarray:
        """The atom of each entry of the argument `atoms`, flattened; -1 for padding."""
        if self.rows is None:
            return np.arange(len(molecules.elements))
        rows = self.rows(molecules)
        return np.asarray(rows.cpu() if isinstance(rows, Tensor) else rows).reshape(-1)

    def energies(self, **values: Any) -> Tensor:
        """Each atom's part of the output, (atom,), for values of the arguments."""
        if self.atomwise is None:
            raise ProtocolError(
                f"{type(self.network).__name__} does not say which module makes the parts of single atoms:"
                " AtomModel(network, atomwise='path.of.the.module')."
            )
        if hasattr(type(self.network), self.atomwise):
            method = getattr(self.network, self.atomwise)
            wanted = inspect.signature(method).parameters
            return method(**{k: v for k, v in values.items() if k in wanted}).reshape(-1)
        found: list[Tensor] = []
        module = self.network.get_submodule(self.atomwise)
        handle = module.register_forward_hook(lambda _m, _a, out: found.append(out))
        try:
            self.network(**values)
        finally:
            handle.remove()
        if len(found) != 1 or found[0].numel() != len(values[self.atoms or ""].reshape(-1)):
            shapes = [tuple(f.shape) for f in found]
            raise ProtocolError(f"atomwise={self.atomwise!r} returned {shapes}; expected once, (atom, 1).")
        return found[0].reshape(-1)


def atom_model(model: Any) -> AtomModel:
    """A network as an `AtomModel`, unless it is one.

    Parameters
    ----------
    model : nn.Module or AtomModel
    """
    return model if isinstance(model, AtomModel) else AtomModel(model)


class _Quantities:
    """What molecules have, each computed once."""

    def __init__(self, model: AtomModel, molecules: Molecules, positions: Tensor | None) -> None:
        self.model, self.molecules, self.positions = model, molecules, positions
        self.device = next((p.device for p in model.network.parameters()), torch.device("cpu"))
        self.tensor = lambda v: torch.as_tensor(np.ascontiguousarray(v)).to(self.device)
        self.known: dict[str, Any] = {}

    def get(self, what: str | Callable[[Molecules], Any]) -> Any:
        if callable(what):
            return pytree.tree_map(self._settled, what(self.molecules))
        if what not in self.known:
            getattr(self, "_edges" if what in ("i", "j", "edge") else f"_{what}")()
        return self.known[what]

    def _settled(self, value: Any) -> Any:
        """Arrays and tensors on the network's device, real numbers in its precision; all else as it is."""
        if not isinstance(value, np.ndarray | Tensor):
            return value
        value = self.tensor(value) if isinstance(value, np.ndarray) else value.to(self.device)
        return value.to(self.model.dtype) if value.is_floating_point() else value

    def _elements(self) -> None:
        self.known["elements"] = self.tensor(self.molecules.elements)

    def _molecule(self) -> None:
        self.known["molecule"] = self.tensor(self.molecules.molecule)

    def _count(self) -> None:
        self.known["count"] = int(self.molecules.count)

    def _positions(self) -> None:
        if self.positions is None:
            if self.molecules.positions is None:
                raise PositionsError(
                    "The network takes positions, and these molecules have none: read xyz or SDF, or "
                    "from_smiles(..., conformers=True)."
                )
            self.positions = self.tensor(self.molecules.positions).to(self.model.dtype)
        self.known["positions"] = self.positions

    def _edges(self) -> None:
        if self.model.cutoff is None:
            i, j, kind = _bonds(self.molecules)
            self.known.update(i=self.tensor(i), j=self.tensor(j), edge=self.tensor(kind))
        else:
            self._pairs()

    def _pairs(self) -> None:
        self._positions()
        assert self.positions is not None
        assert self.model.cutoff is not None
        receiver, sender, distance = self.molecules.pairs(self.model.cutoff)
        i, j = self.tensor(receiver), self.tensor(sender)
        if self.positions.requires_grad:
            apart = self.positions.index_select(0, i) - self.positions.index_select(0, j)
            d = torch.linalg.vector_norm(apart, dim=-1)
        else:
            d = self.tensor(distance).to(self.model.dtype)
        self.known.update(i=i, j=j, edge=d)


def _bonds(molecules: Molecules) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every bond in both directions, and its kind."""
    if molecules.bonds is None or molecules.bond_orders is None:
        raise MoleculeError("The network takes bonds, and these molecules have none: read SMILES or SDF.")
    match = molecules.bond_orders[:, None] == np.array(BOND_KINDS)
    if not match.any(1).all():
        strange = np.unique(molecules.bond_orders[~match.any(1)])
        raise MoleculeError(f"Bonds have the orders {strange.tolist()}; the network knows {BOND_KINDS}.")
    (i, j), kind = molecules.bonds, match.argmax(1)
    return np.concatenate([i, j]), np.concatenate([j, i]), np.tile(kind, 2)


def chunks(molecules: Molecules, size: int | None) -> Iterator[tuple[Molecules, int, int]]:
    """Some molecules at a time, with their first molecule and first atom.

    Parameters
    ----------
    molecules : Molecules
    size : int, optional
        Molecules at a time; None for all.
    """
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
        raise ValueError(f"batch_size={size!r}; expected a positive integer, or None for all at once.")
    atom = 0
    for start in range(0, molecules.count, size or max(molecules.count, 1)):
        part = molecules[start : min(start + (size or molecules.count), molecules.count)]
        yield part, start, atom
        atom += len(part.elements)


class Held(nn.Module):
    """The network as a function of its atoms alone: all else, distances above all, is constant."""

    def __init__(self, model: AtomModel, values: Mapping[str, Any]) -> None:
        super().__init__()
        assert model.atoms is not None
        self.network = model.network
        self.atoms = model.atoms
        self.plain = {}
        for name, value in values.items():
            if isinstance(value, Tensor) and name != self.atoms:
                self.register_buffer(f"held_{name}", value.detach(), persistent=False)
            elif name != self.atoms:
                self.plain[name] = value
        self.held = [name for name, v in values.items() if isinstance(v, Tensor) and name != self.atoms]
        self.training = False

    def forward(self, atoms: Tensor) -> Tensor:
        """(molecule, output), of the argument `atoms`."""
        values = {name: getattr(self, f"held_{name}") for name in self.held}
        out = self.network(**{self.atoms: atoms}, **values, **self.plain)
        return out[:, None] if out.dim() == 1 else out


class Started(Held):
    """The same, of what the module `embedding` returns, and of the atoms where else they are looked up."""

    def __init__(self, model: AtomModel, values: Mapping[str, Any]) -> None:
        super().__init__(model, values)
        assert model.embedding is not None
        self.embedding = model.embedding
        self.network = copy.deepcopy(model.network)
        replace_module(self.network, self.embedding, Given())

    def forward(self, states: Tensor, atoms: Tensor) -> Tensor:  # type: ignore[override]
        """(molecule, output)."""
        self.network.get_submodule(self.embedding).put(states)  # type: ignore[operator]
        return super().forward(atoms)


class Given(nn.Module):
    """Returns what was put in, whatever it is called with."""

    def __init__(self) -> None:
        super().__init__()
        self.box = _Box()

    def put(self, value: Tensor) -> None:
        """Return this from now on."""
        self.box.content = value

    def forward(self, *_: Any, **__: Any) -> Any:
        """What was put in."""
        return self.box.content


class _Box:
    """Holds a tensor out of the sight of torch.export, which allows none among a module's attributes."""

    content: Any = None


def replace_module(network: nn.Module, path: str, module: nn.Module) -> None:
    """Put a module in the place of another.

    Parameters
    ----------
    network : nn.Module
        Changed in place.
    path : str
    module : nn.Module

    Raises
    ------
    ProtocolError
        There is none at that path.
    """
    parent, _, name = path.rpartition(".")
    try:
        network.get_submodule(path)
        owner = network.get_submodule(parent)
    except AttributeError:
        raise ProtocolError(
            f"{type(network).__name__} has no module {path!r}; it has"
            f" {', '.join(n for n, _ in network.named_modules() if n)}."
        ) from None
    owner._modules[name] = module
