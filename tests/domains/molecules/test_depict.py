"""Pictures show the numbers: which colour lies where, on which scale, and what hovering tells."""

import re
import xml.etree.ElementTree as ET

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.patches import Circle, PathPatch

from sciexplain.domains.molecules import (
    MoleculeError,
    Molecules,
    ParseError,
    from_smiles,
    plot_molecules,
    plot_walks,
    to_svg,
)
from sciexplain.domains.molecules.colours import colors_of
from sciexplain.relevance.regions import RegionError

pytest.importorskip("rdkit")


@pytest.fixture(autouse=True)
def closed():
    with mpl.rc_context({"backend": "Agg"}):
        yield
    plt.close("all")


@pytest.fixture(scope="module")
def molecules():
    return from_smiles(["CCO", "c1ccncc1", "[H][H]"])


def values(molecules, seed=0):
    drawn = np.random.default_rng(seed).normal(size=len(molecules.elements))
    return xr.DataArray(drawn, dims="atom", name="relevance", attrs={"units": "kcal/mol"})


def folded(molecules, r, m):
    """By loops: each hydrogen's value at its heavy neighbour; atom -> value."""
    start = molecules.starts[m]
    found = {}
    for atom in molecules.mols[m].GetAtoms():
        home = atom
        if atom.GetAtomicNum() == 1 and atom.GetNeighbors()[0].GetAtomicNum() != 1:
            home = atom.GetNeighbors()[0]
        found[home.GetIdx()] = found.get(home.GetIdx(), 0.0) + float(r[start + atom.GetIdx()])
    return found


def pixels(figure, k):
    return figure.axes[k].images[0].get_array()


def bar(figure):
    (ax,) = [ax for ax in figure.axes if ax.get_label() == "<colorbar>"]
    return ax


def hovered(svg):
    """(molecule, atom) -> (value, title, centre, radius), and the discs that RDKit filled."""
    found = {}
    for circle in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}circle"):
        if circle.get("class") == "atom":
            key = int(circle.get("data-molecule")), int(circle.get("data-atom"))
            found[key] = float(circle.get("data-relevance")), circle[0].text
    return found


def test_hovering_tells_each_heavy_atom_with_its_hydrogens(molecules):
    r = values(molecules)
    found = hovered(to_svg(r, molecules))
    for m in range(3):
        want = folded(molecules, r, m)
        got = {atom: value for (k, atom), (value, _) in found.items() if k == m}
        assert got.keys() == want.keys()
        np.testing.assert_allclose([got[a] for a in want], list(want.values()), rtol=1e-12)
    value, title = found[0, 2]
    assert title == f"O2: {value:+.4g} kcal/mol"
    every = hovered(to_svg(r, molecules, fold=False))
    np.testing.assert_array_equal([value for value, _ in every.values()], r.values)


def test_the_disc_of_an_atom_has_its_colour(molecules):
    """The figure has the colours of the scale, each over a disc's worth of pixels."""
    ethanol = from_smiles(["CCO"], hydrogens=False)
    r = np.array([1.0, -0.4, 0.7])
    figure = plot_molecules(r, ethanol, limit=2.0)
    image = np.asarray(pixels(figure, 0), float)
    for color in colors_of(r, 2.0):
        assert (np.abs(image[..., :3] - color).max(-1) < 0.01).sum() > 500


def test_the_scale_is_shared_and_symmetric(molecules):
    r = values(molecules)
    figure = plot_molecules(r, molecules)
    largest = max(abs(v) for m in range(3) for v in folded(molecules, r, m).values())
    np.testing.assert_allclose(bar(figure).get_xlim(), (-largest, largest))
    assert bar(figure).get_xlabel() == "relevance [kcal/mol], hydrogens added to their atom"
    figure = plot_molecules(r, molecules, [1, 0], limit=0.25, fold=False)
    np.testing.assert_allclose(bar(figure).get_xlim(), (-0.25, 0.25))
    assert bar(figure).get_xlabel() == "relevance [kcal/mol]"
    assert [ax.get_title() for ax in figure.axes[:2]] == ["c1ccncc1", "CCO"]
    np.testing.assert_allclose(bar(plot_molecules(0 * r, molecules)).get_xlim(), (-1, 1))


def test_white_is_zero_and_signs_are_red_and_blue():
    zero, plus, minus, beyond = colors_of(np.array([0.0, 1.0, -1.0, 7.0]), 1.0)
    np.testing.assert_allclose(zero, 1.0)
    assert plus[0] > plus[2] + 0.3
    assert minus[2] > minus[0] + 0.3
    np.testing.assert_array_equal(beyond, plus)


def test_scores_indices_and_axes(molecules):
    r = values(molecules)
    ds = xr.Dataset({"relevance": r, "score": ("sample", [1.5, -2.25, 0.0])})
    figure, axes = plt.subplots(1, 2)
    assert plot_molecules(ds, molecules, [0, 1], axes, ids=True) is figure
    assert [ax.get_title() for ax in axes] == ["CCO\nscore 1.5", "c1ccncc1\nscore -2.25"]
    assert [text.get_text() for text in axes[0].texts] == ["0", "1", "2"]
    assert "score 1.5" in to_svg(ds, molecules)


def walks_of(paths, relevance):
    return xr.Dataset(
        {"relevance": ("walk", np.array(relevance, float))}, {"atoms": (("walk", "step"), paths)}
    )


def test_walks_run_over_their_atoms(molecules):
    start = int(molecules.starts[1])
    paths = np.array([[0, 1, 2], [0, 1, 1], [1, 2, 3], [2, 1, 0]])
    walks = walks_of(np.concatenate([paths[:1], start + paths]), [9.0, 1.0, -2.0, 0.5, 0.25])
    figure = plot_walks(walks, molecules, 1, top=3)
    ax = figure.axes[0]
    arcs = [patch for patch in ax.patches if isinstance(patch, PathPatch)]
    loops = [patch for patch in ax.patches if isinstance(patch, Circle) and patch.get_facecolor()[3] == 0]
    assert (len(arcs), len(loops)) == (2 + 1 + 2, 1)
    assert "3 of 4 walks, 93% of the sum of |R|" in ax.get_title()  # 3.5 / 3.75
    np.testing.assert_allclose(bar(figure).get_xlim(), (-2, 2))
    strongest = [arc for arc in arcs if arc.get_linewidth() == max(a.get_linewidth() for a in arcs)]
    for arc in strongest:
        assert arc.get_edgecolor()[2] > arc.get_edgecolor()[0]  # -2 is blue
    # an arc ends where the next begins
    first = [arc.get_path().vertices for arc in arcs if arc.get_linewidth() == arcs[0].get_linewidth()]
    np.testing.assert_allclose(first[0][-1], first[1][0])


def test_pairs_are_arcs_from_sender_to_receiver(molecules):
    pairs = xr.Dataset(
        {"relevance": ("pair", [2.0, -1.0])}, {"atom_i": ("pair", [0, 2]), "atom_j": ("pair", [1, 1])}
    )
    ax = plot_walks(pairs, molecules, 0).axes[0]
    arcs = [patch.get_path().vertices for patch in ax.patches if isinstance(patch, PathPatch)]
    np.testing.assert_allclose(arcs[0][0], arcs[1][0])  # both start at atom 1
    assert "2 of 2 pairs, 100%" in ax.get_title()


def test_walks_over_hydrogens_show_them(molecules):
    heavy = plot_walks(walks_of([[0, 1, 2]], [1.0]), molecules).axes[0]
    light = plot_walks(walks_of([[0, 3, 0]], [1.0]), molecules).axes[0]
    ink = [np.asarray(ax.images[0].get_array())[..., 3].sum() for ax in (heavy, light)]
    assert ink[1] > 1.3 * ink[0]


def test_svg_is_written_with_names_escaped(tmp_path):
    one = from_smiles(["CC"])
    named = Molecules(one.elements, one.molecule, 1, names=("a<b & c",), bonds=one.bonds, mols=one.mols)
    text = to_svg(np.arange(8.0), named, path=tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_text("utf-8") == text
    assert "a&lt;b &amp; c" in text
    assert re.findall(r"<svg", text) == ["<svg"]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m, r: plot_molecules(r, m, [3]), MoleculeError, r"no molecules \[3\]; there are 3"),
        (lambda m, r: plot_molecules(r, m, []), MoleculeError, "expected indices"),
        (lambda m, r: plot_molecules(r, m, limit=0.0), MoleculeError, "limit=0.0"),
        (lambda m, r: plot_molecules(r, m, axes=[plt.figure().add_subplot()]), MoleculeError, "1 axes"),
        (lambda m, r: plot_molecules(r[:2], m), RegionError, "relevance of 2 atoms"),
        (lambda m, r: plot_molecules(r * np.nan, m), RegionError, "NaN"),
        (lambda m, r: plot_molecules(r.expand_dims("t"), m), MoleculeError, "One value per atom"),
        (lambda m, r: plot_molecules(np.ones(1), Molecules([6], [0], 1)), ParseError, "perceive_bonds"),
        (lambda m, r: to_svg(r, m, columns=0), MoleculeError, "columns=0"),
        (lambda m, r: plot_walks(walks_of([[0, 1]], [1]), m, 1), MoleculeError, "no walks of molecule 1"),
        (lambda m, r: plot_walks(walks_of([[0, 99]], [1]), m), MoleculeError, "other molecules"),
        (lambda m, r: plot_walks(r.to_dataset(), m), MoleculeError, "Neither `atoms`"),
        (lambda m, r: plot_walks(r, m), MoleculeError, "dataset"),
        (lambda m, r: plot_walks(walks_of([[0, 1]], [1]), m, top=0), MoleculeError, "top=0"),
        (lambda m, r: plot_molecules(np.zeros(61), from_smiles(["C"] * 61, hydrogens=False)), MoleculeError,
         "at most 60"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(call, error, words, molecules):
    with pytest.raises(error, match=words):
        call(molecules, values(molecules))
