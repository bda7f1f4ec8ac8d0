"""A batch of molecules as flat arrays: one row per atom, with the molecule that it belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import EmptyMoleculeError, MoleculeError, OverlappingAtomsError, PositionsError, Skipped
from .neighbours import directed_pairs

if TYPE_CHECKING:
    import xarray as xr

CLOSEST = 0.3
"""Angstrom. No two atoms are closer (H2 has 0.74); below, positions are wrong or in another unit."""

_TABLE = """
* H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr
Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu
Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr
Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og
"""

SYMBOLS: tuple[str, ...] = tuple(_TABLE.split())
"""Element symbol of each atomic number; 0 is a dummy atom."""

NUMBERS: Mapping[str, int] = {symbol: number for number, symbol in enumerate(SYMBOLS)}
"""Atomic number of each symbol."""


@dataclass(frozen=True, eq=False)
class Molecules:
    """Molecules of any sizes in flat arrays; atoms of one molecule lie together, in its own order.

    Attributes
    ----------
    elements : ndarray (atom,), int64
        Atomic numbers.
    molecule : ndarray (atom,), int64
        Which molecule each atom is of, 0 to count - 1, never falling.
    count : int
    positions : ndarray (atom, 3), float64, or None
        Angstrom.
    names : tuple of str
        One per molecule; "0", "1", ... by default.
    bonds : ndarray (2, bond), int64, or None
        Atoms (rows of `elements`) that each bond joins; every bond once.
    bond_orders : ndarray (bond,), float64, or None
        1, 2, 3; 1.5 in an aromatic ring.
    mols : tuple of rdkit Mol, or None
        One per molecule, its atoms in the same order.
    properties : dict, name -> ndarray (molecule, ...)
        What is known of each molecule, such as `energy`.
    rows : ndarray (molecule,), int64
        Row of each in the file or list that it came from.
    skipped : tuple of Skipped
        What a reader left out because it was asked to.

    Raises
    ------
    MoleculeError
        Arrays that do not fit each other; EmptyMoleculeError and PositionsError name the molecule.

    Examples
    --------
    >>> import numpy as np
    >>> two = Molecules(np.array([8, 1, 1, 6]), np.array([0, 0, 0, 1]), 2, names=("water", "carbon"))
    >>> two
    Molecules(2 molecules, 4 atoms: C H O, no positions)
    >>> two[0].names, two.symbols.tolist()
    (('water',), ['O', 'H', 'H', 'C'])
    """

    elements: np.ndarray
    molecule: np.ndarray
    count: int
    positions: np.ndarray | None = None
    names: tuple[str, ...] = ()
    bonds: np.ndarray | None = None
    bond_orders: np.ndarray | None = None
    mols: tuple[Any, ...] | None = None
    properties: Mapping[str, np.ndarray] = field(default_factory=dict)
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    skipped: tuple[Skipped, ...] = ()

    def __post_init__(self) -> None:
        put = _Setter(self)
        put("elements", np.asarray(self.elements, np.int64))
        put("molecule", np.asarray(self.molecule, np.int64))
        put("names", tuple(map(str, self.names)) or tuple(map(str, range(self.count))))
        put("rows", np.asarray(self.rows, np.int64) if len(self.rows) else np.arange(self.count))
        put("properties", {name: np.asarray(values) for name, values in self.properties.items()})
        if self.positions is not None:
            put("positions", np.asarray(self.positions, np.float64))
        if self.bonds is not None:
            put("bonds", np.asarray(self.bonds, np.int64).reshape(2, -1))
            orders = np.ones(self.bonds.shape[1]) if self.bond_orders is None else self.bond_orders
            put("bond_orders", np.asarray(orders, np.float64))
        if self.mols is not None:
            put("mols", tuple(self.mols))
        _check(self)

    # --- one after the other --------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Molecules]:
        return (self[k] for k in range(self.count))

    def __getitem__(self, index: Any) -> Molecules:
        """Chosen molecules as Molecules: an int, a slice, an array of ints or of booleans."""
        chosen = np.atleast_1d(np.arange(self.count)[index])
        sizes = self.sizes[chosen]
        molecule = np.repeat(np.arange(len(chosen)), sizes)
        starts = np.cumsum(sizes) - sizes
        atoms = self.starts[chosen][molecule] + np.arange(sizes.sum()) - starts[molecule]
        bonds = orders = None
        if self.bonds is not None and self.bond_orders is not None:
            # bonds lie in the order of their molecules, as atoms do: each chosen molecule takes its own
            of_bond = self.molecule[self.bonds[0]]
            order = np.argsort(of_bond, kind="stable")
            counts = np.bincount(of_bond, minlength=self.count)
            firsts = np.cumsum(counts) - counts
            place = np.repeat(np.arange(len(chosen)), counts[chosen])
            ends = np.cumsum(counts[chosen]) - counts[chosen]
            taken = order[firsts[chosen][place] + np.arange(len(place)) - ends[place]]
            bonds = self.bonds[:, taken] + (starts - self.starts[chosen])[place]
            orders = self.bond_orders[taken]
        return Molecules(
            self.elements[atoms],
            molecule,
            len(chosen),
            None if self.positions is None else self.positions[atoms],
            tuple(self.names[k] for k in chosen),
            bonds,
            orders,
            None if self.mols is None else tuple(self.mols[k] for k in chosen),
            {name: values[chosen] for name, values in self.properties.items()},
            self.rows[chosen],
        )

    def __repr__(self) -> str:
        found = " ".join(sorted({SYMBOLS[z] for z in np.unique(self.elements)}))
        where = "with positions" if self.positions is not None else "no positions"
        out = f", {len(self.skipped)} skipped" if self.skipped else ""
        return f"Molecules({self.count} molecules, {len(self.elements)} atoms: {found}, {where}{out})"

    # --- derived --------------------------------------------------------------------------------------------

    @property
    def sizes(self) -> np.ndarray:
        """Number of atoms (molecule,) of each."""
        return np.bincount(self.molecule, minlength=self.count)

    @property
    def starts(self) -> np.ndarray:
        """First atom (molecule,) of each."""
        return np.cumsum(self.sizes) - self.sizes

    @property
    def atom_index(self) -> np.ndarray:
        """Index (atom,) of each atom in its own molecule."""
        return np.arange(len(self.elements)) - self.starts[self.molecule]

    @property
    def symbols(self) -> np.ndarray:
        """Element symbol (atom,) of each atom."""
        return np.array(SYMBOLS)[self.elements]

    def pairs(self, cutoff: float = np.inf) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pairs of atoms of one molecule that are closer than `cutoff`, in both directions.

        Parameters
        ----------
        cutoff : float
            Angstrom.

        Returns
        -------
        i, j : ndarray (pair,), int64
            Rows of `elements`; sorted by i, then j.
        distance : ndarray (pair,), float64
            Angstrom.

        Raises
        ------
        PositionsError
            There are no positions.
        OverlappingAtomsError
            Two atoms are closer than 0.3 angstrom.
        """
        if self.positions is None:
            raise PositionsError(
                "These molecules have no positions, and distances need them: read xyz or SDF, or "
                "from_smiles(..., conformers=True)."
            )
        if not cutoff > 0:
            raise MoleculeError(f"cutoff={cutoff!r} angstrom, expected a positive number.")
        i, j, distance = directed_pairs(self.positions, self.sizes, cutoff)
        if len(distance) and distance.min() < CLOSEST:
            k = int(distance.argmin())
            m, a, b = int(self.molecule[i[k]]), int(self.atom_index[i[k]]), int(self.atom_index[j[k]])
            raise OverlappingAtomsError(
                f"Atoms {a} and {b} of {self.label(m)} are {distance[k]:.3f} angstrom apart; no two atoms "
                f"are closer than {CLOSEST}. Are the positions in angstrom?",
                self.row_of(m),
            )
        return i, j, distance

    def row_of(self, molecule: int) -> int:
        """Row of a molecule in what it was read from."""
        return int(self.rows[molecule])

    def label(self, molecule: int) -> str:
        """How messages call a molecule: its row, and its name where that says more."""
        row, name = self.row_of(molecule), self.names[molecule]
        return f"molecule {row}" if name == str(row) else f"molecule {row} ({name})"

    def to_dataset(self, cutoff: float | None = None) -> xr.Dataset:
        """As a CF indexed ragged array.

        Parameters
        ----------
        cutoff : float, optional
            Also the pairs closer than this (angstrom), as `atom_i`, `atom_j`, `distance`.

        Returns
        -------
        Dataset
            Dims `atom` and `sample` (one per molecule; `molecule (atom)` points there), `bond` and `pair`.
            `x`, `y`, `z` and `distance` in angstrom; properties lie along `sample`.
        """
        import xarray as xr

        along: dict[str, Any] = {
            "molecule": ("atom", self.molecule, {"instance_dimension": "sample"}),
            "atom_index": ("atom", self.atom_index),
            "atom": ("atom", np.arange(len(self.elements))),
            "element": ("atom", self.symbols),
            "sample": ("sample", np.arange(self.count)),
            "name": ("sample", np.array(self.names)),
            "row": ("sample", self.rows),
        }
        values: dict[str, Any] = {"atomic_number": ("atom", self.elements)}
        if self.positions is not None:
            for k, axis in enumerate("xyz"):
                values[axis] = ("atom", self.positions[:, k], {"units": "angstrom"})
        if self.bonds is not None:
            values["bond_i"], values["bond_j"] = ("bond", self.bonds[0]), ("bond", self.bonds[1])
            values["bond_order"] = ("bond", self.bond_orders)
        if cutoff is not None:
            i, j, distance = self.pairs(cutoff)
            along["atom_i"], along["atom_j"] = ("pair", i), ("pair", j)
            values["distance"] = ("pair", distance, {"units": "angstrom"})
        for name, array in self.properties.items():
            values[name] = (("sample", *(f"{name}_{k}" for k in range(1, array.ndim))), array)
        return xr.Dataset(values, along, {"Conventions": "CF-1.11"})


class _Setter:
    """Sets a field of a frozen dataclass while it is made."""

    def __init__(self, owner: Molecules) -> None:
        self.owner = owner

    def __call__(self, name: str, value: Any) -> None:
        object.__setattr__(self.owner, name, value)


def _check(molecules: Molecules) -> None:
    n_atoms, count = len(molecules.elements), molecules.count
    if count == 0 or n_atoms == 0:
        raise EmptyMoleculeError("No molecules: give at least one.")
    expected = {"molecule": (n_atoms,), "positions": (n_atoms, 3), "rows": (count,)}
    if molecules.bonds is not None:
        expected["bond_orders"] = (molecules.bonds.shape[1],)
    for name, shape in expected.items():
        array = getattr(molecules, name)
        if array is not None and array.shape != shape:
            raise MoleculeError(f"{name} has sizes {array.shape}, expected {shape}.")
    for name, values in {"names": molecules.names, "mols": molecules.mols, **molecules.properties}.items():
        if values is not None and len(values) != count:
            raise MoleculeError(f"{name} has {len(values)} entries for {count} molecules.")
    if np.any(np.diff(molecules.molecule) < 0) or molecules.molecule[0] < 0:
        raise MoleculeError("molecule must never fall from one atom to the next: sort the atoms by molecule.")
    if molecules.molecule[-1] >= count:
        raise MoleculeError(f"molecule goes up to {molecules.molecule[-1]}, but count={count}.")
    empty = np.flatnonzero(molecules.sizes == 0)
    if len(empty):
        m = int(empty[0])
        raise EmptyMoleculeError(f"{molecules.label(m)} has no atoms.", molecules.row_of(m))
    wrong = np.flatnonzero((molecules.elements < 0) | (molecules.elements >= len(SYMBOLS)))
    if len(wrong):
        m = int(molecules.molecule[wrong[0]])
        z = molecules.elements[wrong[0]]
        raise MoleculeError(f"{molecules.label(m)} has the atomic number {z}.", molecules.row_of(m))
    if molecules.positions is not None and not np.isfinite(molecules.positions).all():
        m = int(molecules.molecule[~np.isfinite(molecules.positions).all(1)][0])
        raise PositionsError(f"{molecules.label(m)} has positions that are not finite.", molecules.row_of(m))
    if molecules.bonds is not None and molecules.bonds.size:
        if molecules.bonds.min() < 0 or molecules.bonds.max() >= n_atoms:
            raise MoleculeError(f"bonds name atoms that are not among 0 to {n_atoms - 1}.")
        if np.any(molecules.molecule[molecules.bonds[0]] != molecules.molecule[molecules.bonds[1]]):
            raise MoleculeError("A bond joins atoms of two molecules.")
