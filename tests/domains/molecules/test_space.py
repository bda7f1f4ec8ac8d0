"""Surfaces lie where they should, pictures show the potential, and the page holds the numbers."""

import json
import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from sciexplain.domains.molecules import (
    MoleculeError,
    Molecules,
    PositionsError,
    local_potential,
    plane,
    plot_plane,
    plot_surface,
    surface,
    to_html,
)
from sciexplain.domains.molecules.space import _view, bonded

from .nets import Net, some_molecules

pytest.importorskip("skimage")


@pytest.fixture(autouse=True)
def closed():
    with mpl.rc_context({"backend": "Agg"}):
        yield
    plt.close("all")


ATOM = Molecules([6], [0], 1, np.array([[1.0, 2.0, 3.0]]))
WATER = Molecules(
    [8, 1, 1], [0, 0, 0], 1, np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]]), ("<water>",)
)


def test_around_one_atom_it_is_a_sphere():
    """|r - r_a|^-2 = 4: radius 1/2; the triangles close, and enclose a little less than the ball."""
    found = surface(ATOM, level=4.0, step=0.05)
    away = found.vertices.values - ATOM.positions
    np.testing.assert_allclose(np.linalg.norm(away, axis=1), 0.5, rtol=1e-9)
    a, b, c = away[found.faces].transpose(1, 0, 2)
    volume = abs(np.einsum("fk,fk->f", a, np.cross(b, c)).sum()) / 6
    assert 0.98 < volume / (4 / 3 * np.pi * 0.5**3) < 1
    edges = np.sort(np.concatenate([found.faces[:, [0, 1]], found.faces[:, [1, 2]], found.faces[:, [2, 0]]]))
    assert set(np.unique(edges, axis=0, return_counts=True)[1]) == {2}


def test_vertices_are_on_the_level_and_the_box_is_large_enough():
    molecule = some_molecules()[2]
    for level in (3.8, 0.6):
        found = surface(molecule, level=level, step=0.3)
        for vertex in found.vertices.values[::50]:
            assert sum(1 / ((vertex - p) ** 2).sum() for p in molecule.positions) == pytest.approx(level)
        edges = np.sort(
            np.concatenate([found.faces[:, [0, 1]], found.faces[:, [1, 2]], found.faces[:, [2, 0]]])
        )
        assert set(np.unique(edges, axis=0, return_counts=True)[1]) == {2}  # nothing is cut off


def test_a_plane_shows_its_values_and_the_atoms_in_their_places():
    points = plane(WATER, step=0.2, margin=1.5)
    omega = local_potential(Net(), WATER, points, "H")
    figure = plot_plane(omega, WATER)
    ax, bar = figure.axes
    shown = ax.collections[0].get_array()
    np.testing.assert_array_equal(np.asarray(shown.filled(np.nan)).reshape(omega.shape), omega.values)
    outside = omega.values[omega.closeness.values <= 3.8]
    np.testing.assert_allclose(ax.collections[0].get_clim(), (outside.min(), outside.max()))
    assert bar.get_ylabel() == "energy of a probe H [kcal/mol]"
    # each letter is at the point of the plane that is next to its atom
    assert [text.get_text() for text in ax.texts] == ["O", "H", "H"]
    for text, place in zip(ax.texts, WATER.positions):
        away = np.linalg.norm(points.values - place, axis=-1)
        v, u = np.unravel_index(away.argmin(), away.shape)
        assert abs(text.get_position()[0] - points.u.values[u]) <= 0.11
        assert abs(text.get_position()[1] - points.v.values[v]) <= 0.11
    assert plot_plane(omega, WATER, limits=(-1, 2)).axes[0].collections[0].get_clim() == (-1, 2)


def test_a_surface_is_painted_from_back_to_front_in_its_colours():
    found = surface(WATER, step=0.3)
    values = np.arange(found.vertices.sizes["vertex"], dtype=float)
    figure, ax = plt.subplots()
    assert plot_surface(xr.DataArray(values, dims="vertex"), found, WATER, ax, view=(0, 0)) is figure
    painted = ax.collections[0]
    assert len(painted.get_paths()) == len(found.faces)
    turn = _view(WATER, (0, 0))
    depth = ((found.vertices.values - WATER.positions.mean(0)) @ turn.T)[found.faces, 2].mean(1)
    order = np.argsort(depth)
    corners = ((found.vertices.values - WATER.positions.mean(0)) @ turn.T)[found.faces[order[-1]], :2]
    np.testing.assert_allclose(painted.get_paths()[-1].vertices[:3], corners)
    # the hue is that of the mean value of the corners; light only scales it
    rgb = painted.get_facecolors()[:, :3]
    want = mpl.colormaps["viridis"](values[found.faces[order]].mean(1) / values.max())[:, :3]
    np.testing.assert_allclose(rgb / rgb.sum(1, keepdims=True), want / want.sum(1, keepdims=True), atol=1e-9)


@pytest.mark.parametrize("view", [(0, 0), (25, 20), (-70, 130)])
def test_views_are_rotations(view):
    turn = _view(some_molecules()[2], view)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)


def test_bonds_without_bonds_are_near_pairs():
    assert bonded(WATER) == [(0, 1), (0, 2)]
    joined = Molecules([6, 6], [0, 0], 1, np.array([[0.0, 0, 0], [0, 0, 9]]), bonds=np.array([[0], [1]]))
    assert bonded(joined) == [(0, 1)]


def data_of(text):
    return json.loads(re.search(r"const data = (.*);\n", text)[1])


def test_the_page_holds_atoms_bonds_and_values(tmp_path):
    both = Molecules(
        np.concatenate([ATOM.elements, WATER.elements]), [0, 1, 1, 1], 2,
        np.concatenate([ATOM.positions, WATER.positions]), ("C", "<water>"),
    )  # fmt: skip
    r = xr.DataArray([9.0, 1.0, -0.5, 0.0], dims="atom", attrs={"units": "kcal/mol"})
    text = to_html(r, both, 1, tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text("utf-8") == text
    data = data_of(text)
    assert data["labels"] == ["O0: +1 kcal/mol", "H1: -0.5 kcal/mol", "H2: +0 kcal/mol"]
    assert data["bonds"] == [[0, 1], [0, 2]]
    assert data["colors"][2] == "#ffffff"
    places = np.array(data["atoms"])
    for a in range(3):  # turned and moved, not mirrored or stretched
        for b in range(3):
            want = np.linalg.norm(WATER.positions[a] - WATER.positions[b])
            assert np.linalg.norm(places[a] - places[b]) == pytest.approx(want, abs=3e-4)
    assert "<title>&lt;water&gt;</title>" in text
    assert "://" not in text  # needs no network


def test_the_page_with_a_surface():
    found = surface(WATER, step=0.4)
    omega = local_potential(Net(), WATER, found.vertices, "C")
    data = data_of(to_html(np.zeros(3), WATER, surface=found, omega=omega))
    assert len(data["tints"]) == len(data["faces"]) == len(found.faces)
    assert len(data["vertices"]) == found.vertices.sizes["vertex"]


FLAT = Molecules([6], [0], 1)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: surface(FLAT), PositionsError, "positions"),
        (lambda: surface(WATER, level=0), MoleculeError, "level=0"),
        (lambda: plot_plane(xr.DataArray(np.zeros((2, 2)), dims=("v", "u")), WATER), MoleculeError, "plane"),
        (lambda: plot_plane(local_potential(Net(), WATER, plane(WATER, 0.5)), FLAT), PositionsError, "One"),
        (
            lambda: plot_plane(local_potential(Net(), WATER, plane(WATER, 0.5)), WATER, limits=(1, 1)),
            MoleculeError,
            "limits",
        ),
        (lambda: plot_surface(np.zeros(3), surface(ATOM), ATOM), MoleculeError, r"\(3,\) values"),
        (lambda: to_html(np.zeros(1), FLAT), PositionsError, "conformers"),
        (lambda: to_html(np.zeros(3), WATER, surface=surface(ATOM)), MoleculeError, "together"),
        (lambda: to_html(np.zeros(3), WATER, 1), MoleculeError, r"no molecules \[1\]"),
    ],
)
def test_what_is_wrong_is_said(call, error, words):
    with pytest.raises(error, match=words):
        call()
