"""Exported programs as models: their batch sizes, what is refused, and that they stay as they were."""

import numpy as np
import pytest
import torch
from torch import nn

import sciexplain as sx
from sciexplain.lrp.exported import batch_sizes

from .conftest import SHAPE, export

DIM = torch.export.Dim
# name -> (batch dimension, size of the example)
PROGRAMS = {
    "free": (DIM.AUTO, 4),
    "fixed at 4": (None, 4),
    "fixed at 1": (None, 1),
    "more than there are": (None, 9),
    "2 to 4": (DIM("batch", min=2, max=4), 4),
    "3 and more": (DIM("batch", min=3), 4),
    "even": (2 * DIM("half", min=1), 4),
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Each of PROGRAMS through its file."""
    from .conftest import make_net

    folder = tmp_path_factory.mktemp("programs")
    paths = {
        name: export(make_net(), folder / f"{i}.pt2", *given)
        for i, (name, given) in enumerate(PROGRAMS.items())
    }
    return {name: torch.export.load(path) for name, path in paths.items()}


@pytest.mark.parametrize("method", ["epsilon_plus", "gradient_times_input"])
@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize(("n", "batch_size"), [(5, None), (5, 2), (1, None)])
def test_the_same_as_the_module_in_every_batch_size(programs, net, x, name, method, n, batch_size):
    have = sx.explain(programs[name], x[:n], method=method, batch_size=batch_size)
    want = sx.explain(net, x[:n], method=method)
    assert have.sizes == want.sizes
    for variable in ("relevance", "message", "output", "score", "absorbed"):
        np.testing.assert_allclose(have[variable], want[variable], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("free", (1, 1, None)),
        ("fixed at 4", (4, 1, 4)),
        ("2 to 4", (1, 1, 4)),
        ("3 and more", (3, 1, None)),
        ("even", (2, 2, None)),
    ],
)
def test_batch_sizes_are_read_from_the_program(programs, name, sizes):
    found = batch_sizes(programs[name])
    assert (found.first, found.step, found.last) == sizes


def test_targets_of_the_rows_that_fill_a_batch(programs, net, x):
    targets = [0, 1, 1, 0, 1]
    have = sx.explain(programs["fixed at 4"], x, target=targets, layers=("head",))
    want = sx.explain(net, x, target=targets, layers=("head",))
    assert have.target.values.tolist() == targets
    np.testing.assert_allclose(have.relevance, want.relevance, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(have["relevance_head"], want["relevance_head"], rtol=1e-5, atol=1e-6)
    given = np.random.default_rng(2).standard_normal((5, 2)).astype(np.float32)
    have = sx.explain(programs["fixed at 4"], x, output_relevance=given)
    want = sx.explain(net, x, output_relevance=given)
    np.testing.assert_allclose(have.relevance, want.relevance, rtol=1e-4, atol=1e-5)


def test_a_module_that_fixes_its_batch_size_itself(x):
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(30, 2)

        def forward(self, x):
            return self.head(x.reshape(4, -1))

    net = Fixed().eval()
    have = sx.explain(net, x, batch_size=4)
    want = sx.explain(net.head, x.reshape(5, 30), batch_size=4)
    np.testing.assert_allclose(have.relevance.values.reshape(5, 30), want.relevance, rtol=1e-5, atol=1e-7)


def test_training_mode_is_refused_whatever_the_method(tmp_path, net, x):
    net.train()
    program = torch.export.load(export(net, tmp_path / "train.pt2"))
    for method in ("epsilon_plus", "sensitivity"):
        with pytest.raises(sx.CaptureError, match=r"training mode: batch_norm.*dropout.*eval\(\)"):
            sx.explain(program, x[:4], method=method)
    with pytest.raises(sx.CaptureError, match="training mode"):
        sx.plan(program, x[:4])


@pytest.mark.filterwarnings("ignore:The tensor attributes self._flat_weights")  # torch on its own LSTM
def test_dropout_between_recurrent_layers_is_found_and_its_absence_too(x):
    from sciexplain.lrp.exported import trains

    for p, want in ((0.5, True), (0.0, False)):
        lstm = nn.LSTM(3, 2, num_layers=2, dropout=p, batch_first=True).train()
        program = torch.export.export(lstm, (torch.zeros(2, 10, 3),), strict=False)
        assert any(trains(node) for node in program.graph.nodes) is want


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros((5, 3, 11), np.float32), r"\(5, 3, 11\).*\(batch, 3, 10\)"),
        (np.zeros((5, 4, 10), np.float32), r"\(5, 4, 10\)"),
        (np.zeros((5, 30), np.float32), r"\(5, 30\)"),
        (np.zeros(SHAPE, np.int64), r"torch.int64.*torch.float32"),
    ],
)
def test_other_inputs_than_it_was_exported_for_are_refused(programs, given, words):
    with pytest.raises(sx.CaptureError, match=words):
        sx.explain(programs["free"], given)


def test_the_program_stays_as_it_was(x):
    net = nn.Sequential(nn.Flatten(), nn.Linear(30, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)).eval()
    program = torch.export.export(net, (torch.from_numpy(x),), strict=False)
    before = str(program.graph)
    assert "relu_" in before
    sx.explain(program, x)
    assert str(program.graph) == before
