"""Fragments share atoms out exactly: by hand, by slow loops, and by RDKit's own scaffolds."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import sciexplain as sx
from sciexplain.domains.molecules import (
    FUNCTIONAL_GROUPS,
    Molecules,
    ParseError,
    atom_lists,
    brics,
    by_element,
    from_smiles,
    functional_groups,
    murcko,
    pool,
    rings,
    summary,
)
from sciexplain.relevance.regions import RegionError, check_regions

pytest.importorskip("rdkit")

SMILES = [
    "CCOC(C)=O",
    "c1ccc2[nH]ccc2c1",
    "CC(=O)Nc1ccc(O)cc1",
    "O=C(O)c1ccccc1OC(C)=O",
    "Cn1cnc2c1c(=O)n(C)c(=O)n2C",
    "C1CC1CCC(=C)c1ccc(cc1)S(=O)(=O)N",
    "[Na+].[O-]C(=O)CCC#N",
    "[H][H]",
]
KINDS = [functional_groups, brics, murcko, rings, by_element]


@pytest.fixture(scope="module")
def molecules():
    return from_smiles(SMILES)


def drawn(molecules, seed=0, lead=()):
    values = np.random.default_rng(seed).normal(size=(*lead, len(molecules.elements)))
    coords = {"molecule": ("atom", molecules.molecule), "atom": np.arange(len(molecules.elements))}
    return xr.DataArray(values, coords, (*(f"d{k}" for k in range(len(lead))), "atom"), "relevance")


def held(fragments, molecule=0):
    """(region, indices in the molecule) of each occurrence in a molecule."""
    start = fragments.molecules.starts[molecule]
    return [
        (str(fragments.names[f]), (fragments.atoms(f) - start).tolist())
        for f in np.flatnonzero(fragments.molecule == molecule)
    ]


def test_ethyl_acetate_by_hand():
    plain = functional_groups(from_smiles(["CCOC(C)=O"], hydrogens=False))
    assert held(plain) == [("ester", [2, 3, 5]), ("methyl", [0]), ("methyl", [4]), ("methylene", [1])]
    full = functional_groups(from_smiles(["CCOC(C)=O"]))
    assert full.regions == ("ester", "methyl", "methylene", "rest")
    assert full.sizes.tolist() == [3, 4, 4, 3]
    assert held(functional_groups(full.molecules, hydrogens=False))[-1] == ("rest", list(range(6, 14)))


@pytest.mark.parametrize(
    ("smiles", "groups"),
    [
        ("CC(=O)O", ["carboxylic acid", "methyl"]),
        ("CC(=O)[O-]", ["carboxylic acid", "methyl"]),
        ("CC(=O)NC", ["amide", "methyl", "methyl"]),
        ("NC(=O)N", ["urea"]),
        ("COC(=O)NC", ["carbamate", "methyl", "methyl"]),
        ("COC(=O)OC", ["carbonate", "methyl", "methyl"]),
        ("CC(=O)OC(C)=O", ["anhydride", "methyl", "methyl"]),
        ("CC=O", ["aldehyde", "methyl"]),
        ("C=O", ["aldehyde"]),
        ("CC(C)=O", ["ketone", "methyl", "methyl"]),
        ("CC(=O)Cl", ["acyl halide", "methyl"]),
        ("Oc1ccccc1", ["hydroxyl", "benzene ring"]),
        ("c1ccoc1", ["heteroaromatic 5-ring"]),
        ("c1ccncc1", ["heteroaromatic 6-ring"]),
        ("COC", ["ether", "methyl", "methyl"]),
        ("CN", ["amine", "methyl"]),
        ("C[NH3+]", ["amine", "methyl"]),
        ("CC#N", ["nitrile", "methyl"]),
        ("C[N+](=O)[O-]", ["nitro", "methyl"]),
        ("CS(C)(=O)=O", ["sulfone", "methyl", "methyl"]),
        ("CS(=O)C", ["sulfoxide", "methyl", "methyl"]),
        ("CS(=O)(=O)N", ["sulfonamide", "methyl"]),
        ("CS(=O)(=O)O", ["sulfonate", "methyl"]),
        ("CS", ["thiol", "methyl"]),
        ("CSC", ["sulfide", "methyl", "methyl"]),
        ("CSSC", ["disulfide", "methyl", "methyl"]),
        ("C=C", ["alkene"]),
        ("C#C", ["alkyne"]),
        ("CC(C)(F)C(Cl)(Br)I",
         ["fluorine", "chlorine", "bromine", "iodine", "methyl", "methyl", "quaternary carbon",
          "quaternary carbon"]),
        ("CC(=N)N", ["amidine", "methyl"]),
        ("NC(=N)NC", ["guanidine", "methyl"]),
        ("CN=[N+]=[N-]", ["azide", "methyl"]),
        ("CC=NC", ["imine", "methyl", "methyl"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("hydrogens", [True, False])
def test_a_group_is_found_once_and_nothing_is_left(smiles, groups, hydrogens):
    found = functional_groups(from_smiles([smiles], hydrogens=hydrogens))
    assert found.names.tolist() == groups
    np.testing.assert_array_equal(found.weight, 1.0)


def test_fused_atoms_are_shared_by_rings_and_by_groups():
    indole = from_smiles(["c1ccc2[nH]ccc2c1"], hydrogens=False)
    for fragments, names in (
        (rings(indole), ["aromatic 5-ring", "aromatic 6-ring"]),
        (functional_groups(indole), ["benzene ring", "heteroaromatic 5-ring"]),
    ):
        assert sorted(fragments.names) == names
        np.testing.assert_array_equal(sorted(fragments.sizes), [4.0, 5.0])  # 3 + 2 / 2 and 4 + 2 / 2
        np.testing.assert_array_equal(fragments.weights().sel(atom=[3, 7]).values[:-1], 0.5)


def test_regions_share_first_and_occurrences_within_them():
    """Atom 0 is in two rings and in a list: 1/2 to the list, 1/4 to each ring."""
    one = Molecules(np.full(4, 6), np.zeros(4), 1)
    from sciexplain.domains.molecules.regions import assemble

    fragments = assemble(
        one, ["ring", "tail"], ["ring", "ring", "tail"], [0, 1, 0, 2, 0], [0, 0, 1, 1, 2], "parts", False
    )
    np.testing.assert_array_equal(fragments.sizes, [1.25, 1.25, 0.5, 1.0])
    want = [[0.5, 1, 1, 0], [0.5, 0, 0, 0], [0, 0, 0, 1]]
    np.testing.assert_array_equal(fragments.weights().values, want)


@pytest.mark.parametrize("seed", range(4))
def test_weights_are_those_of_sx_regions(seed, molecules):
    rng = np.random.default_rng(seed)
    n = len(molecules.elements)
    lists = {name: rng.choice(n, rng.integers(1, n), replace=False) for name in "abc"}
    ours = atom_lists(molecules, lists).weights()
    label = xr.DataArray(np.arange(n), {"atom": np.arange(n)}, "atom", "atom")
    xr.testing.assert_allclose(ours, sx.regions(lists, along=label), rtol=1e-15)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hydrogens", [True, False])
def test_pooling_is_the_slow_sum_and_loses_nothing(kind, hydrogens):
    molecules = from_smiles(SMILES, hydrogens=hydrogens)
    fragments = kind(molecules)
    r = drawn(molecules, lead=(2,))
    W = fragments.weights()
    check_regions(W)
    per_fragment, per_molecule = pool(r, fragments), pool(r, fragments, per="molecule")
    assert per_fragment.dims == ("d0", "fragment")
    for f in range(len(fragments)):
        want = np.zeros(2)
        for atom, fragment, weight in zip(fragments.atom, fragments.fragment, fragments.weight):
            want += (fragment == f) * weight * r.values[:, atom]
        np.testing.assert_allclose(per_fragment.values[:, f], want, rtol=1e-12, atol=1e-14)
    for m in range(len(molecules)):
        own = molecules.molecule == m
        want = W.values[:, own] @ r.values[:, own].T
        np.testing.assert_allclose(per_molecule.values[:, m], want.T, rtol=1e-12, atol=1e-14)
        total = r.values[:, own].sum(1)
        np.testing.assert_allclose(per_fragment.values[:, fragments.molecule == m].sum(1), total, rtol=1e-12)
    np.testing.assert_allclose(sx.pool(r, W).values, per_molecule.values.sum(1), rtol=1e-12, atol=1e-14)


def test_a_summary_is_pandas_groupby(molecules):
    fragments = functional_groups(molecules)
    r = drawn(molecules, 3).assign_attrs(units="kcal/mol")
    found = summary(r, fragments, range=(0.1, 0.8))
    frame = pd.DataFrame(
        {
            "region": fragments.names,
            "v": pool(r, fragments).values,
            "n": fragments.sizes,
            "m": fragments.molecule,
        }
    )
    groups = frame.groupby("region")
    for name, want in {
        "count": groups.v.count(),
        "molecules": groups.m.nunique(),
        "mean": groups.v.mean(),
        "std": groups.v.std(),
        "low": groups.v.quantile(0.1),
        "median": groups.v.median(),
        "high": groups.v.quantile(0.8),
        "total": groups.v.sum(),
        "per_atom": groups.v.sum() / groups.n.sum(),
    }.items():
        got = found[name].to_series().reindex(want.index)
        np.testing.assert_allclose(got, want, rtol=1e-12, err_msg=name)
    assert np.isnan(found["std"].sel(region="nitrile"))
    assert found["mean"].attrs["units"] == "kcal/mol"
    assert found.sizes["region"] == len(set(frame.region)) == len(fragments.regions)


def test_scaffolds_are_those_of_rdkit(molecules):
    from rdkit import Chem
    from rdkit.Chem.Scaffolds import MurckoScaffold

    plain = from_smiles([*SMILES, "CC1CCC(C1=O)C(=O)c1ccccn1", "OCC1CC1.Clc1ccccc1"], hydrogens=False)
    fragments = murcko(plain)
    scaffold = fragments.weights().sel(region="scaffold").values
    for m, mol in enumerate(plain.mols):
        numbered = Chem.Mol(mol)
        for atom in numbered.GetAtoms():
            atom.SetAtomMapNum(atom.GetIdx() + 1)
        want = {a.GetAtomMapNum() - 1 for a in MurckoScaffold.GetScaffoldForMol(numbered).GetAtoms()}
        assert set(np.flatnonzero(scaffold[plain.molecule == m] == 1).tolist()) == want
        if not want:
            assert set(fragments.names[fragments.molecule == m]) == {"acyclic"}


def test_side_chains_are_counted_each():
    assert held(murcko(from_smiles(["CC(=O)Nc1ccc(O)cc1"], hydrogens=False))) == [
        ("scaffold", [4, 5, 6, 7, 9, 10]),
        ("side chain", [0, 1, 2, 3]),
        ("side chain", [8]),
    ]


@pytest.mark.parametrize("hydrogens", [True, False])
def test_brics_cuts_paracetamol_at_the_amide(hydrogens):
    fragments = brics(from_smiles(["CC(=O)Nc1ccc(O)cc1"], hydrogens=hydrogens), hydrogens=False)
    pieces = dict(held(fragments))
    assert pieces["[1*]C(C)=O"] == [0, 1, 2]
    assert pieces["[5*]N[5*]"] == [3]
    assert pieces["[16*]c1ccc(O)cc1"] == [4, 5, 6, 7, 8, 9, 10]


def test_more_matches_than_rdkit_stops_at():
    chain = from_smiles(["C" * 1203], hydrogens=False)
    assert (functional_groups(chain).names == "methylene").sum() == 1201


def test_lists_by_row_mask_and_molecule(molecules):
    start = molecules.starts[2]
    mask = np.zeros(len(molecules.elements), bool)
    mask[[start, start + 4]] = True
    for wish in ([start, start + 4], mask, {2: [0, 4]}):
        assert held(atom_lists(molecules, {"mine": wish}), 2)[0] == ("mine", [0, 4])
    both = atom_lists(molecules, {"mine": {0: [1], 2: [0]}}, hydrogens=True)
    assert both.sizes[both.region == 0].tolist() == [3.0, 4.0]  # CH2, CH3


def test_what_is_not_kept_is_rest(molecules):
    fragments = functional_groups(molecules)
    r = drawn(molecules)
    kept = fragments.keep("ester", "methyl")
    assert kept.regions == ("methyl", "ester", "rest") or kept.regions == ("ester", "methyl", "rest")
    before, after = pool(r, fragments, "molecule"), pool(r, kept, "molecule")
    others = [name for name in fragments.regions if name not in ("ester", "methyl")]
    np.testing.assert_allclose(after.sel(region="rest"), before.sel(region=others).sum("region"), rtol=1e-12)
    np.testing.assert_allclose(after.sel(region="ester"), before.sel(region="ester"), rtol=1e-12)
    check_regions(kept.weights())
    assert ((kept.region == 2).sum(), np.unique(kept.molecule[kept.region == 2]).size) == (8, 8)
    with pytest.raises(RegionError, match=r"no regions \['esther'\]"):
        fragments.keep("esther")


def test_patterns_that_do_not_occur_and_a_molecule_without_any():
    fragments = functional_groups(from_smiles(["[Na+]", "O"]), {"carbonyl": "C=O"})
    assert fragments.regions == ("rest",)
    assert fragments.sizes.tolist() == [1, 3]


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda m: functional_groups(m, {"x": "C("}), ParseError, "'x' is no SMARTS: 'C\\('"),
        (lambda m: functional_groups(m, {"rest": "C"}), RegionError, "reserved"),
        (lambda m: atom_lists(m, {}), RegionError, "dict"),
        (lambda m: atom_lists(m, {"a": [10_000]}), RegionError, r"no atoms \[10000\]"),
        (lambda m: atom_lists(m, {"a": {0: [99]}}), RegionError, r"no atoms \[99\]; there are 0 to 13"),
        (lambda m: atom_lists(m, {"a": {99: [0]}}), RegionError, "no molecule 99"),
        (lambda m: atom_lists(m, {"a": [1, 1]}), RegionError, "twice"),
        (lambda m: atom_lists(m, {"a": []}), RegionError, "no atom"),
        (lambda m: atom_lists(m, {"a": [0.5]}), RegionError, "integers"),
        (lambda m: atom_lists(m, {"a": np.ones(3, bool)}), RegionError, "mask"),
        (
            lambda m: pool(xr.DataArray([1.0], dims="atom"), by_element(m)),
            RegionError,
            "relevance of 1 atoms, but",
        ),
        (lambda m: pool(xr.DataArray([1.0], dims="x"), by_element(m)), RegionError, "dim `atom`"),
        (lambda m: pool(drawn(m) * np.nan, by_element(m)), RegionError, "NaN"),
        (lambda m: pool(drawn(m[::-1]), by_element(m)), RegionError, "differ in `molecule`"),
        (lambda m: pool(drawn(m), by_element(m), per="atom"), ValueError, "per='atom'"),
        (lambda m: summary(drawn(m), by_element(m), (0.9, 0.1)), ValueError, "quantiles"),
        (lambda m: rings(Molecules([6], [0], 1)), ParseError, "perceive_bonds"),
        (
            lambda m: atom_lists(Molecules([6, 1], [0, 0], 1), {"a": [0]}, hydrogens=True),
            RegionError,
            "bonds",
        ),
    ],
)
def test_what_is_wrong_is_said(make, error, words, molecules):
    with pytest.raises(error, match=words):
        make(molecules)


def test_a_matrix_that_is_too_large_is_refused(monkeypatch, molecules):
    monkeypatch.setattr("sciexplain.domains.molecules.regions._LARGEST", 100)
    with pytest.raises(RegionError, match="GiB"):
        by_element(molecules).weights()


def test_every_pattern_of_the_table_is_a_smarts_without_degree():
    from rdkit import Chem

    for smarts in FUNCTIONAL_GROUPS.values():
        assert Chem.MolFromSmarts(smarts) is not None
        assert "D" not in smarts
