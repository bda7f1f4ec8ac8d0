"""Scores of changed inputs against the model run by itself."""

import numpy as np
import pytest
import torch
from torch import nn

import sciexplain as sx
from sciexplain.evaluation.scoring import Scorer
from sciexplain.inputs import InputError
from sciexplain.lrp.errors import TargetError


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 4), nn.Softmax(1)).double().eval()


@pytest.fixture
def x():
    return torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def changed():
    return torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


ROWS = [4, 0, 0, 2, 1, 3, 4]


def logits(net, x):
    with torch.no_grad():
        return net[:3](x).numpy()


@pytest.mark.parametrize("batch_size", [1, 2, 64, None])
def test_the_target_is_that_of_the_input_as_it_was(net, x, changed, batch_size):
    scorer = Scorer(net, x, batch_size=batch_size)
    predicted = logits(net, x).argmax(1)
    assert scorer.chosen == predicted.tolist()
    np.testing.assert_allclose(scorer.score, logits(net, x).max(1), rtol=1e-12)
    want = logits(net, changed)[np.arange(7), predicted[ROWS]]
    np.testing.assert_allclose(scorer([changed], ROWS), want, rtol=1e-12)
    assert (logits(net, changed).argmax(1) != predicted[ROWS]).any()  # where "predicted" would be another


@pytest.mark.parametrize(
    ("target", "score"),
    [
        (2, lambda y, rows: y[:, 2]),
        ([3, 1, 0, 2, 2], lambda y, rows: y[np.arange(7), np.array([3, 1, 0, 2, 2])[rows]]),
        (sx.Contrast(0, 3), lambda y, rows: y[:, 0] - y[:, 3]),
        (lambda y: y[:, 0] * y[:, 1], lambda y, rows: y[:, 0] * y[:, 1]),
    ],
)
def test_every_kind_of_target(net, x, changed, target, score):
    scorer = Scorer(net, x, target, batch_size=3)
    np.testing.assert_allclose(
        scorer([changed], ROWS), score(logits(net, changed), np.array(ROWS)), rtol=1e-12
    )
    ds = sx.explain(net, x, target, "gradient_times_input")
    np.testing.assert_allclose(scorer.score, ds.score.values, rtol=1e-12)


def test_labels_and_the_output_as_it_is(net, x):
    scorer = Scorer(net, x, "c", coords={"output": list("abcd")}, output="as_is")
    assert scorer.chosen == ["c"] * 5
    with torch.no_grad():
        np.testing.assert_allclose(scorer.score, net(x)[:, 2].numpy(), rtol=1e-12)


def test_several_inputs_by_name(changed):
    class Two(nn.Module):
        def forward(self, a, b):
            return (a.sum(1) * b.sum(1))[:, None]

    scorer = Scorer(Two(), {"a": torch.ones(2, 3), "b": torch.full((2, 1), 2.0)})
    assert scorer.score.tolist() == [6.0, 6.0]
    assert scorer([torch.ones(3, 3), torch.tensor([[1.0], [2.0], [3.0]])], [0, 1, 1]).tolist() == [
        3.0,
        6.0,
        9.0,
    ]


def test_a_model_of_one_batch_size_gets_it_filled_up(x, changed):
    class Four(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.arange(12, dtype=torch.float64).reshape(4, 3))

        def forward(self, x):
            return (x * self.weight[0]).reshape(4, 3).sum(1, keepdim=True)

    net = Four().eval()
    scorer = Scorer(net, x[:4], batch_size=4)
    want = changed.numpy() @ np.arange(3.0)
    np.testing.assert_allclose(scorer([changed], [0, 1, 2, 3, 0, 1, 2]), want, rtol=1e-12)


def test_a_model_that_takes_another_way_on_one_row(x, changed):
    class Squeezes(nn.Module):
        def forward(self, x):
            return x.sum(1).squeeze()

    scorer = Scorer(Squeezes(), x, 0, batch_size=2)  # 5 samples: the last batch has one
    np.testing.assert_allclose(scorer.score, x.sum(1).numpy(), rtol=1e-12)
    np.testing.assert_allclose(scorer([changed[:1]], [3]), changed[:1].sum(1).numpy(), rtol=1e-12)


def test_what_is_refused(net, x, changed):
    with pytest.raises(ValueError, match="each of Targets"):
        Scorer(net, x, sx.Targets([0, 1]))
    with pytest.raises(TargetError, match="out of range"):
        Scorer(net, x, 9)
    with pytest.raises(InputError, match="2 targets were given for 5 samples"):
        Scorer(net, x, [0, 1])
    with pytest.raises(InputError, match="different first sizes"):
        Scorer(net, (x, x[:2]))
    with pytest.raises(ValueError, match="3 samples for inputs"):
        Scorer(net, x)([changed], [0, 1, 2])
    with pytest.raises(ValueError, match="possible are 'logit'"):
        Scorer(net, x, output="probability")
