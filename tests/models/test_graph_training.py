"""fit_property: learns, is reproducible, keeps the best average, refuses before any work."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from sciexplain.models import BondGraphNet, Graphs, TrainingDataError, TrainingDivergedError
from sciexplain.models.graph_training import fit_property, predict_property


def chains(count, seed):
    """Chains of C, N and O; the property counts N bonded to O, which no composition tells."""
    rng = np.random.default_rng(seed)
    elements, i, j, y, start = [], [], [], [], 0
    for _ in range(count):
        chain = rng.choice([6, 7, 8], size=rng.integers(3, 7)).tolist()
        pairs = list(zip(range(len(chain)), range(1, len(chain))))
        ends = sorted(pairs + [(b, a) for a, b in pairs])
        i += [start + a for a, _ in ends]
        j += [start + b for _, b in ends]
        elements.append(chain)
        y.append(sum({chain[a], chain[b]} == {7, 8} for a, b in pairs))
        start += len(chain)
    molecule = np.repeat(np.arange(count), [len(chain) for chain in elements])
    graphs = Graphs(
        torch.tensor([z for chain in elements for z in chain]),
        torch.tensor(i),
        torch.tensor(j),
        torch.zeros(len(i), dtype=torch.int64),
        torch.tensor(molecule),
        count,
    )
    return graphs, np.array(y, float)


def net(seed=0):
    return BondGraphNet((6, 7, 8), 16, 2, seed=seed)


def test_learns_what_lies_in_the_bonds():
    model = net()
    valid = chains(60, 1)
    log = fit_property(model, *chains(300, 0), valid=valid, epochs=40, lr=5e-3, progress=False)
    test, y = chains(200, 2)
    plain = float(np.abs(y - np.median(y)).mean())
    error = np.abs(predict_property(model, test).numpy() - y).mean()
    assert error < 0.15 * plain
    assert len(log.train_mae) == len(log.valid_mae) == len(log.cpu_seconds) == 40
    assert log.best_epoch == int(np.argmin(log.valid_mae))
    # the weights kept are those that were best
    kept = np.abs(predict_property(model, valid[0]).numpy() - valid[1]).mean()
    assert kept == pytest.approx(min(log.valid_mae), abs=1e-9)
    assert list(log.to_frame().columns) == ["train_mae", "cpu_seconds", "valid_mae"]
    assert not model.training


def test_same_seed_same_weights_and_the_global_generator_is_left_alone():
    runs = []
    for seed in (3, 3, 4):
        before = torch.random.get_rng_state()
        model = net()
        fit_property(model, *chains(50, 0), epochs=2, seed=seed, progress=False)
        assert torch.equal(torch.random.get_rng_state(), before)
        runs.append(torch.cat([p.flatten() for p in model.parameters()]))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_average_of_zero_keeps_the_last_weights():
    """One step of AdamW by hand: the average forgets everything but the last weights."""
    graphs, y = chains(8, 0)
    model, other = net(), net()
    fit_property(model, graphs, y, epochs=1, batch_size=8, lr=1e-3, average=0.0, progress=False)
    optimiser = torch.optim.AdamW(other.parameters(), lr=0.0)  # the half cosine is 0 at the only step
    (other(*graphs.whole) - torch.tensor(y)).abs().mean().backward()
    optimiser.step()
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), other.parameters()))


def test_patience_stops():
    model = net()
    graphs, y = chains(30, 0)
    log = fit_property(
        model, graphs, y, valid=(graphs, -100.0 - y), epochs=30, lr=1e-2, patience=3, progress=False
    )
    assert log.stopped_early
    assert len(log.train_mae) == log.best_epoch + 4


def test_divergence_leaves_the_network_as_it_was():
    model = net()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(TrainingDivergedError, match="smaller lr"):
        fit_property(model, *chains(30, 0), epochs=30, batch_size=4, lr=1e30, progress=False)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not model.training


@pytest.mark.parametrize(
    ("y", "match"), [(np.zeros(4), "expected \\(5,\\)"), ([1.0, 2.0, np.nan, 1.0, 1.0], "the first is 2")]
)
def test_wrong_property(y, match):
    with pytest.raises(TrainingDataError, match=match):
        fit_property(net(), chains(5, 0)[0], y, progress=False)


@pytest.mark.parametrize(
    "options", [{"epochs": 0}, {"batch_size": True}, {"lr": 0.0}, {"average": 1.0}, {"patience": 2}]
)
def test_wrong_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        fit_property(net(), *chains(5, 0), progress=False, **options)
