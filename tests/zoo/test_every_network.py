"""Every network is explained as it is: faithfully, in full, in any batch size, by the rules' own message."""

from functools import cache

import numpy as np
import pytest

from tests.zoo import agents, attention, convolutional, efficient, graphs, language, sequences, signals
from tests.zoo.checks import COMPOSITES, built, check_explained, check_frozen, each, relevances

FAMILIES = (convolutional, efficient, attention, sequences, graphs, signals, agents, language)
CASES = {name: case for family in FAMILIES for name, case in family.CASES.items()}
FUNCTIONS = "stable-baselines3 PPO"  # functions around a policy: they have no copy in float64
net = cache(lambda name: built(CASES[name]))


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("name", CASES)
def test_its_own_output_is_explained_in_full(name, composite):
    case = CASES[name]
    check_explained(net(name), case, composite, case.inputs(2))


@pytest.mark.parametrize("name", CASES)
def test_other_batch_sizes_after_the_first(name):
    case = CASES[name]
    x = case.inputs(3)
    three = check_explained(net(name), case, "epsilon", x)
    if case.whole:
        check_explained(net(name), case, "epsilon", case.inputs(1))
        return
    one = check_explained(net(name), case, "epsilon", each(lambda t: t[:1], x))
    assert one.sizes["sample"] == 1
    for some, alone in zip(relevances(three), relevances(one)):
        scale = np.abs(alone.values).max()
        np.testing.assert_allclose(some.values[:1], alone.values, rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith(FUNCTIONS)])
def test_lrp_0_is_the_gradient_of_the_frozen_network(name):
    check_frozen(net(name), CASES[name])


@pytest.mark.parametrize("name", convolutional.REAL_SIZE)
def test_photographs_of_real_size(name):
    case = convolutional.REAL_SIZE[name]
    network = built(case)
    check_explained(network, case, "epsilon_plus", case.inputs(2))
    check_explained(network, case, "epsilon_gamma", case.inputs(1))
