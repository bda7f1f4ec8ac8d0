"""Energies by tblite, where it is installed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sciexplain.domains.molecules.errors import MoleculeError, OverlappingAtomsError, PositionsError
from sciexplain.domains.molecules.molecules import Molecules
from sciexplain.domains.molecules.xtb import xtb_energies

pytest.importorskip("tblite")


def water_and_neon():
    positions = np.array([[0, 0, 0.119], [0, 0.763, -0.477], [0, -0.763, -0.477], [5.0, 5, 5]])
    return Molecules(np.array([8, 1, 1, 10]), np.array([0, 0, 0, 1]), 2, positions, properties={"x": [1, 2]})


def test_energy_is_what_holds_the_molecule_together():
    given = water_and_neon()
    found = xtb_energies(given)
    assert found.properties["x"].tolist() == [1, 2]
    assert found.properties["energy"][1] == pytest.approx(0, abs=1e-9)  # nothing is bound
    # turned and moved, atoms in another order
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    other = Molecules(np.array([1, 8, 1]), np.zeros(3), 1, (given.positions[[1, 0, 2]] @ turn) + 3.0)
    energy = xtb_energies(other).properties["energy"][0]
    assert energy == pytest.approx(found.properties["energy"][0], abs=1e-5)
    # two molecules far apart in one calculation are their sum
    both = Molecules(
        np.array([8, 1, 1, 8, 1, 1]),
        np.zeros(6),
        1,
        np.concatenate([given.positions[:3], given.positions[:3] + np.array([200.0, 0, 0])]),
    )
    assert xtb_energies(both).properties["energy"][0] == pytest.approx(2 * energy, abs=0.02)
    # the total energy that the xtb manual prints for water, -5.0705 Ha, less those of O and 2 H
    assert -420 < energy < -232  # experiment: -232 without zero-point energy


def test_refusals():
    given = water_and_neon()
    with pytest.raises(PositionsError):
        xtb_energies(replace(given, positions=None))
    with pytest.raises(MoleculeError, match="method='PM3'"):
        xtb_energies(given, "PM3")
    with pytest.raises(OverlappingAtomsError):
        xtb_energies(replace(given, positions=given.positions * 0.1))
    with pytest.raises(MoleculeError, match="molecule 1 has the atomic number 26"):
        xtb_energies(replace(given, elements=np.array([8, 1, 1, 26])))
