"""Fragments of molecules as regions: over a whole data set, each atom shared out once, and none lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr

from sciexplain.domains.molecules.molecules import Molecules
from sciexplain.relevance.provenance import stamp
from sciexplain.relevance.regions import REST, RegionError
from sciexplain.relevance.schema import one_relevance

__all__ = ["Fragments", "pool", "summary"]

_LARGEST = 2**30  # bytes of a weight matrix
Per = Literal["fragment", "molecule"]


@dataclass(frozen=True, eq=False)
class Fragments:
    """Occurrences of regions in molecules: which atoms each holds, and how much of each atom.

    An atom that several regions want is shared equally by them, as in `sx.regions`; a region's share is
    shared by those of its occurrences that hold the atom. What no region wants is `rest`, one per molecule.

    Attributes
    ----------
    molecules : Molecules
    regions : tuple of str
        The regions that occur; `rest` is last.
    region : ndarray (fragment,), int64
        Which region each occurrence is of.
    molecule : ndarray (fragment,), int64
        Which molecule it is in, never falling.
    atom, fragment : ndarray (entry,), int64
        Atom (row of `elements`) and occurrence of each entry.
    weight : ndarray (entry,), float64
        Share of the atom; the entries of each atom sum to 1.
    kind : str
        What the regions are, in words.
    """

    molecules: Molecules
    regions: tuple[str, ...]
    region: np.ndarray
    molecule: np.ndarray
    atom: np.ndarray
    fragment: np.ndarray
    weight: np.ndarray
    kind: str

    def __len__(self) -> int:
        return len(self.region)

    def __repr__(self) -> str:
        names = ", ".join(self.regions[:6]) + (", ..." if len(self.regions) > 6 else "")
        return f"Fragments({len(self)} of {len(self.regions)} {self.kind} in {len(self.molecules)}: {names})"

    @property
    def names(self) -> np.ndarray:
        """Region (fragment,) of each occurrence, by name."""
        return np.array(self.regions)[self.region]

    @property
    def sizes(self) -> np.ndarray:
        """Atoms (fragment,) in each occurrence; a shared one counts by its share."""
        return np.bincount(self.fragment, self.weight, len(self))

    def atoms(self, fragment: int) -> np.ndarray:
        """Rows of `elements` that an occurrence holds."""
        return np.sort(self.atom[self.fragment == fragment])

    def weights(self) -> xr.DataArray:
        """The region set W (region, atom) for `sx.pool`: columns sum to 1, the last row is `rest`.

        Raises
        ------
        RegionError
            It would need more than 1 GiB; `sx.molecules.pool` needs no matrix.
        """
        n = len(self.molecules.elements)
        if len(self.regions) * n * 8 > _LARGEST:
            raise RegionError(
                f"{len(self.regions)} regions x {n} atoms need {len(self.regions) * n * 8 / 2**30:.0f} GiB."
                " Use sx.molecules.pool(relevance, fragments), or fragments.keep(names) first"
            )
        flat = np.bincount(self.region[self.fragment] * n + self.atom, self.weight, len(self.regions) * n)
        return xr.DataArray(
            flat.reshape(-1, n),
            dims=("region", "atom"),
            coords={"region": list(self.regions), "atom": np.arange(n)},
            name="weight",
        )

    def keep(self, *names: str) -> Fragments:
        """Only these regions; what the others have goes to `rest`.

        Parameters
        ----------
        *names : str

        Raises
        ------
        RegionError
            Unknown names.
        """
        unknown = sorted(set(names) - set(self.regions))
        if unknown:
            raise RegionError(f"no regions {unknown}; there are {list(self.regions)[:20]}")
        kept = [name for name in self.regions[:-1] if name in names]
        new = np.array([kept.index(name) if name in kept else len(kept) for name in self.regions])
        region = new[self.region]
        # occurrences that are dropped become the one `rest` of their molecule
        key = np.where(region < len(kept), np.arange(len(self)), len(self) + self.molecule)
        first, place = np.unique(key, return_index=True, return_inverse=True)[1:]
        order = np.argsort(self.molecule[first], kind="stable")
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        fragment = rank[place][self.fragment]
        n = len(self.molecules.elements)
        pairs, inverse = np.unique(fragment * n + self.atom, return_inverse=True)
        return Fragments(
            self.molecules,
            (*kept, REST),
            region[first][order],
            self.molecule[first][order],
            pairs % n,
            pairs // n,
            np.bincount(inverse, self.weight, len(pairs)),
            self.kind,
        )


def pool(relevance: Any, fragments: Fragments, per: Per = "fragment") -> xr.DataArray:
    """Sum relevance over fragments, losing none: a molecule's total over them is that over its atoms.

    Parameters
    ----------
    relevance : DataArray (..., atom), relevance dataset, or ndarray (atom,)
        Of the molecules that the fragments are of.
    fragments : Fragments
    per : {"fragment", "molecule"}
        One value for each occurrence, or for each region in each molecule, 0 where it does not occur.

    Returns
    -------
    DataArray (..., fragment) or (..., sample, region), float64
        `region`, `molecule` and `atoms` (fragment) say what and where an occurrence is, and how large.

    Raises
    ------
    RegionError
        Other atoms than the fragments', relevance that is not finite.

    Examples
    --------
    >>> from sciexplain.domains.molecules.lists import by_element
    >>> water = Molecules(np.array([8, 1, 1]), np.zeros(3), 1)
    >>> r = xr.DataArray([5.0, -1.0, -2.0], dims="atom")
    >>> pool(r, by_element(water), per="molecule").to_series().to_dict()
    {(0, 'H'): -3.0, (0, 'O'): 5.0, (0, 'rest'): 0.0}
    """
    if per not in get_args(Per):
        raise ValueError(f"per={per!r}: expected 'fragment' or 'molecule'.")
    array = atom_values(relevance, fragments.molecules)
    lead = array.dims[:-1]
    if per == "fragment":
        into = fragments.fragment
        shape: tuple[int, ...] = (len(fragments),)
        dims: tuple[str, ...] = ("fragment",)
        labels: dict[str, Any] = {
            "region": ("fragment", fragments.names),
            "molecule": ("fragment", fragments.molecule, {"instance_dimension": "sample"}),
            "atoms": ("fragment", fragments.sizes),
        }
    else:
        into = (fragments.molecule * len(fragments.regions) + fragments.region)[fragments.fragment]
        shape = (len(fragments.molecules), len(fragments.regions))
        dims = ("sample", "region")
        labels = {"sample": np.arange(shape[0]), "region": list(fragments.regions)}
    values = array.values.astype(np.float64)
    found = np.zeros((*values.shape[:-1], int(np.prod(shape))))
    for k in np.ndindex(*values.shape[:-1]):
        found[k] = np.bincount(into, values[k][fragments.atom] * fragments.weight, found.shape[-1])
    kept = {
        name: c for name, c in array.coords.items() if "atom" not in c.dims and not set(c.dims) & set(dims)
    }
    result = xr.DataArray(
        found.reshape(*values.shape[:-1], *shape), {**kept, **labels}, (*lead, *dims), array.name
    )
    return stamp(result, array, "pool", along="atom", name=dims[-1], regions=fragments.kind)


def summary(relevance: Any, fragments: Fragments, range: tuple[float, float] = (0.05, 0.95)) -> xr.Dataset:
    """What each region contributes over all molecules, with its spread: "what does a carbonyl do here?"

    Parameters
    ----------
    relevance, fragments
        As for `pool`.
    range : (float, float)
        Quantiles over the occurrences that `low` and `high` are.

    Returns
    -------
    Dataset, dims (..., region)
        `count` of occurrences, `molecules` that have one, `mean`, `std` (n - 1; NaN for one occurrence),
        `low`, `median`, `high` over the occurrences, `total`, and `per_atom`: total / atoms.

    Raises
    ------
    RegionError
        As `pool`.
    """
    low, high = range
    if not 0 <= low <= high <= 1:
        raise ValueError(f"range={range!r}: expected two quantiles between 0 and 1, the lower first.")
    pooled = pool(relevance, fragments)
    lead = pooled.dims[:-1]
    order = np.argsort(fragments.region, kind="stable")
    count = np.bincount(fragments.region, minlength=len(fragments.regions))
    parts = np.split(order, np.cumsum(count)[:-1])
    columns: dict[str, list[np.ndarray]] = {
        name: [] for name in ("mean", "std", "low", "median", "high", "total", "per_atom")
    }
    sizes = fragments.sizes
    for part in parts:
        values = pooled.values[..., part]
        nothing = np.full(values.shape[:-1], np.nan)
        total, n = values.sum(-1), len(part)
        columns["mean"].append(total / n if n else nothing)
        columns["std"].append(values.std(-1, ddof=1) if n > 1 else nothing)
        quantiles = np.quantile(values, (low, 0.5, high), axis=-1) if n else [nothing] * 3
        for name, found in zip(("low", "median", "high"), quantiles):
            columns[name].append(found)
        columns["total"].append(total)
        columns["per_atom"].append(total / sizes[part].sum() if n else nothing)
    pairs = np.unique(fragments.region * len(fragments.molecules) + fragments.molecule)
    unit = {"units": pooled.attrs["units"]} if "units" in pooled.attrs else {}
    ds = xr.Dataset(
        {
            "count": ("region", count),
            "molecules": ("region", np.bincount(pairs // len(fragments.molecules), minlength=len(count))),
            **{name: ((*lead, "region"), np.stack(found, -1), unit) for name, found in columns.items()},
        },
        {
            "region": list(fragments.regions),
            **{name: c for name, c in pooled.coords.items() if "fragment" not in c.dims},
        },
    )
    return stamp(ds, pooled, "summary", range=list(range))


def assemble(
    molecules: Molecules,
    regions: Sequence[str],
    names: Sequence[str] | np.ndarray,
    atom: np.ndarray,
    fragment: np.ndarray,
    kind: str,
    hydrogens: bool,
) -> Fragments:
    """Fragments from which atoms each occurrence holds: weights shared out, `rest` added.

    Parameters
    ----------
    molecules : Molecules
    regions : sequence of str
        Names of the regions in the order that is wanted; those without an occurrence are left out.
    names : sequence of str (fragment,)
        Region of each occurrence.
    atom, fragment : ndarray (entry,), int64
        Each atom of each occurrence, once.
    kind : str
    hydrogens : bool
        Hydrogens that are in no occurrence take the shares of the heavy atom that they are bonded to.
    """
    n = len(molecules.elements)
    atom, fragment = np.asarray(atom, np.int64), np.asarray(fragment, np.int64)
    present = set(map(str, names))
    used = [region for region in dict.fromkeys(regions) if region in present]
    index = {name: k for k, name in enumerate(used)}
    region = np.array([index[str(name)] for name in names], np.int64)
    if hydrogens:
        atom, fragment = _with_hydrogens(molecules, atom, fragment)
    # equal shares to the regions that want an atom, and within a region to its occurrences that hold it
    pairs, inverse, often = np.unique(
        atom * max(len(used), 1) + region[fragment], return_inverse=True, return_counts=True
    )
    wanted = np.bincount(pairs // max(len(used), 1), minlength=n)
    weight = 1.0 / (wanted[atom] * often[inverse])
    free = np.flatnonzero(wanted == 0)
    alone, place = np.unique(molecules.molecule[free], return_inverse=True)
    owner = np.empty(len(region), np.int64)
    owner[fragment] = molecules.molecule[atom]
    owner = np.concatenate([owner, alone])
    order = np.argsort(owner, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    fragment = rank[np.concatenate([fragment, len(region) + place])]
    return Fragments(
        molecules,
        (*used, REST),
        np.concatenate([region, np.full(len(alone), len(used))])[order],
        owner[order],
        np.concatenate([atom, free]),
        fragment,
        np.concatenate([weight, np.ones(len(free))]),
        kind,
    )


def _with_hydrogens(
    molecules: Molecules, atom: np.ndarray, fragment: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    if molecules.bonds is None:
        if np.any(molecules.elements == 1):
            raise RegionError(
                "which atom a hydrogen belongs to is not known without bonds: sx.molecules.perceive_bonds, or"
                " hydrogens=False"
            )
        return atom, fragment
    n = len(molecules.elements)
    held = np.bincount(atom, minlength=n)
    a, b = np.concatenate([molecules.bonds, molecules.bonds[::-1]], axis=1)
    light = (molecules.elements[a] == 1) & (molecules.elements[b] != 1) & (held[a] == 0) & (held[b] > 0)
    # one that bridges two heavy atoms goes with the first
    hydrogen, first = np.unique(a[light], return_index=True)
    heavy = b[light][first]
    order = np.argsort(atom, kind="stable")
    starts = np.cumsum(held) - held
    times = held[heavy]
    place = np.repeat(starts[heavy] - (np.cumsum(times) - times), times) + np.arange(times.sum())
    return (
        np.concatenate([atom, np.repeat(hydrogen, times)]),
        np.concatenate([fragment, fragment[order][place]]),
    )


def atom_values(relevance: Any, molecules: Molecules) -> xr.DataArray:
    """Relevance (..., atom) of just these molecules' atoms, checked.

    Parameters
    ----------
    relevance : DataArray (..., atom), relevance dataset, or ndarray (atom,)
    molecules : Molecules

    Raises
    ------
    RegionError
        Other atoms, or relevance that is not finite.
    """
    if isinstance(relevance, np.ndarray) and relevance.ndim == 1:
        relevance = xr.DataArray(relevance, dims="atom", name="relevance")
    array = one_relevance(relevance) if isinstance(relevance, xr.Dataset) else relevance
    if not isinstance(array, xr.DataArray) or "atom" not in array.dims:
        got = array.dims if isinstance(array, xr.DataArray) else type(array).__name__
        raise RegionError(f"relevance of molecules has the dim `atom`, got {got}")
    array = array.transpose(..., "atom")
    n = len(molecules.elements)
    if array.sizes["atom"] != n:
        raise RegionError(f"relevance of {array.sizes['atom']} atoms, but the molecules have {n}")
    known = {"atom": np.arange(n), "molecule": molecules.molecule, "element": molecules.symbols}
    for name, values in known.items():
        if name in array.coords and not np.array_equal(array[name].values, values):
            raise RegionError(f"relevance and molecules differ in `{name}`: it is of other molecules")
    if not np.isfinite(array.values).all():
        raise RegionError(
            f"{int((~np.isfinite(array.values)).sum())} of {array.size} relevances are NaN or infinite"
        )
    return array
