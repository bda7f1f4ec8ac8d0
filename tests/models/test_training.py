"""fit, predict, accuracy: learning, seeds, best weights, and refusals before any work."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sciexplain.models import (
    NETWORKS,
    Deep4Net,
    ShallowConvNet,
    TimeJitter,
    TrainingDataError,
    TrainingDivergedError,
    accuracy,
    fit,
    predict,
    predict_logits,
)
from tests.models.simulated import SFREQ, lateralised


class Small(nn.Module):
    """Linear on (trial, 3), with dropout, so that the seed matters."""

    def __init__(self, n_outputs: int = 2) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.linear = nn.Linear(3, n_outputs)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.constrained = 0

    def apply_constraints(self) -> None:
        self.constrained += 1

    def forward(self, x):
        return self.linear(self.drop(x))


@pytest.fixture
def points():
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    return (rng.standard_normal((40, 3)) + y[:, np.newaxis]).astype(np.float32), y


@pytest.mark.parametrize("network", NETWORKS.values())
def test_learns_the_simulated_lateralised_oscillation(network):
    net = network(8, 2, 300, sfreq=SFREQ, seed=0)
    log = fit(net, *lateralised(seed=0), epochs=12, batch_size=16, lr=5e-3, seed=0, progress=False)
    assert accuracy(net, *lateralised(seed=1)) > 0.9
    assert log.train_loss[-1] < log.train_loss[0]
    assert len(log.train_loss) == 12
    assert not net.training


def test_same_seed_same_weights_and_no_trace_in_the_global_state(points):
    states = []
    for seed in (3, 3, 4):
        net = Small()
        before = torch.get_rng_state()
        log = fit(net, *points, epochs=3, seed=seed, progress=False)
        assert torch.equal(torch.get_rng_state(), before)
        states.append((log.train_loss, net.linear.weight.detach().clone()))
    assert states[0][0] == states[1][0]
    assert torch.equal(states[0][1], states[1][1])
    assert states[0][0] != states[2][0]


def test_without_dropout_it_is_adamw_on_a_cosine(points):
    # one trial fewer: of balanced classes the bias gets no gradient but rounding, which Adam makes steps of
    X, y = torch.from_numpy(points[0][1:]), torch.from_numpy(points[1][1:])
    net = Small()
    net.drop.p = 0.0
    reference = copy.deepcopy(net)
    fit(net, X, y, epochs=5, batch_size=100, lr=0.1, weight_decay=0.2, progress=False)
    optimiser = torch.optim.AdamW(
        [
            {"params": [reference.linear.weight], "weight_decay": 0.2},
            {"params": [reference.linear.bias], "weight_decay": 0.0},
        ]
    )
    for step in range(5):  # one batch per epoch: the order of the trials makes no difference
        for group in optimiser.param_groups:
            group["lr"] = 0.05 * (1 + np.cos(np.pi * step / 5))
        optimiser.zero_grad()
        F.cross_entropy(reference(X), y).backward()
        optimiser.step()
    torch.testing.assert_close(net.linear.weight, reference.linear.weight)
    torch.testing.assert_close(net.linear.bias, reference.linear.bias)
    assert net.constrained == 5


def test_the_best_weights_on_the_validation_trials_are_kept(points):
    X, y = points
    net = Small()
    # validation labels are swapped: every step makes it worse, so that the first epoch is the best
    log = fit(net, X, y, X_valid=X, y_valid=1 - y, epochs=50, lr=0.1, patience=4, progress=False)
    assert log.best_epoch == 0
    assert log.stopped_early
    assert len(log.valid_loss) == 5
    loss = F.cross_entropy(torch.from_numpy(predict_logits(net, X)), torch.from_numpy(1 - y))
    assert loss.item() == pytest.approx(log.valid_loss[0], rel=1e-6)
    assert accuracy(net, X, 1 - y) == pytest.approx(log.valid_accuracy[0])
    assert list(log.to_frame().columns) == ["train_loss", "valid_loss", "valid_accuracy"]


def test_batch_norm_is_settled_without_dropout():
    X, y = lateralised(n_trials=24)
    net = Deep4Net(8, 2, 300, sfreq=SFREQ, seed=0)
    fit(net, X, y, epochs=1, batch_size=24, progress=False)
    assert {norm.momentum for norm in net.norms} == {0.1}
    seen: list[torch.Tensor] = []
    twin = copy.deepcopy(net).train()
    twin.drop.eval()
    for norm in twin.norms:
        norm.register_forward_pre_hook(lambda _module, args: seen.append(args[0].detach()))
    twin(torch.from_numpy(X))
    assert len(seen) == 4
    for norm, values in zip(net.norms, seen):
        torch.testing.assert_close(norm.running_mean, values.mean(dim=(0, 2)), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(norm.running_var, values.var(dim=(0, 2)), rtol=1e-4, atol=1e-5)


def test_training_one_left_over_trial_does_not_make_a_batch_of_its_own():
    class Strict(Small):
        def forward(self, x):
            assert len(x) > 1 or not self.training
            return super().forward(x)

    X = np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32)
    fit(Strict(), X, np.arange(9) % 2, epochs=1, batch_size=4, progress=False)


def test_class_weights(points):
    X, y = points[0][:30], np.r_[np.zeros(24, int), np.ones(6, int)]
    balanced, equal, given = Small(), Small(), Small()
    settings = {"epochs": 10, "lr": 0.05, "progress": False}
    fit(balanced, X, y, class_weight="balanced", **settings)
    fit(given, X, y, class_weight=[30 / 48, 30 / 12], **settings)
    fit(equal, X, y, **settings)
    assert torch.equal(balanced.linear.weight, given.linear.weight)
    assert predict_logits(balanced, X)[:, 1].mean() > predict_logits(equal, X)[:, 1].mean()


def test_divergence_is_an_error_and_leaves_the_network_as_it_was(points):
    class Exploding(Small):
        def forward(self, x):
            return super().forward(x) / (0.0 if self.constrained == 2 else 1.0)

    net = Exploding()
    weight = net.linear.weight.detach().clone()
    with pytest.raises(TrainingDivergedError, match="epoch 3 of 5"):
        fit(net, *points, epochs=5, batch_size=64, progress=False)
    assert torch.equal(net.linear.weight, weight)
    assert not net.training


def test_wrong_data_are_refused_before_training(points):
    X, y = points
    holes = X.copy()
    holes[7, 1] = np.nan
    wrong = [
        (X[:0], y[:0], "none of them 0"),
        (X[:, 0], y, "expected \\(trial, ...\\)"),
        (X.astype(int), y, "astype"),
        (holes, y, "1 of 40 trials, the first is 7"),
        (X, y[:-1], r"expected \(40,\): one label"),
        (X, y.astype(float), "return_inverse"),
        (X, np.array(["left", "right"])[y], "return_inverse"),
        (X, y + 1, "labels from 1 to 2"),
        (X, y - 1, "labels from -1 to 0"),
    ]
    for bad_X, bad_y, message in wrong:
        net = Small()
        with pytest.raises(TrainingDataError, match=message):
            fit(net, bad_X, bad_y, epochs=1, progress=False)
        assert net.constrained == 0
    with pytest.raises(TrainingDataError, match="both or neither"):
        fit(Small(), X, y, X_valid=X, progress=False)
    with pytest.raises(TrainingDataError, match=r"X_valid: \(2,\)"):
        fit(Small(), X, y, X_valid=X[:, :2], y_valid=y, progress=False)
    with pytest.raises(TrainingDataError, match=r"no trial of class \[2\]"):
        fit(Small(3), X, y, class_weight="balanced", progress=False)
    with pytest.raises(TrainingDataError, match="expected \\(1, n_outputs >= 2\\)"):
        fit(Small(1), X, 0 * y, progress=False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 1.5},
        {"lr": 0},
        {"weight_decay": -1},
        {"patience": 3},
        {"class_weight": "equal"},
    ],
)
def test_wrong_settings_are_refused(points, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        fit(Small(), *points, progress=False, **wrong)


def test_volts_are_refused():
    X, y = lateralised(n_trials=8)
    with pytest.raises(TrainingDataError, match="microvolts"):
        fit(ShallowConvNet(8, 2, 300, sfreq=SFREQ), X * 1e-5, y, progress=False)


def test_predictions_do_not_depend_on_the_batch_size_and_keep_the_mode():
    X, _ = lateralised(n_trials=7)
    net = ShallowConvNet(8, 2, 300, sfreq=SFREQ, seed=0)
    net.norm.eval()
    np.testing.assert_allclose(predict_logits(net, X, 7), predict_logits(net, X, 2), rtol=1e-5, atol=1e-6)
    assert net.training
    assert not net.norm.training
    assert predict(net, X.astype(np.float64)).tolist() == predict_logits(net, X).argmax(1).tolist()


def test_read_only_arrays_are_taken(points):
    X, y = points
    X.flags.writeable = False
    fit(Small(), X, y, epochs=1, progress=False)
    assert predict(Small(), X).shape == (40,)


def test_progress_is_shown_on_standard_error_only_if_wanted(points, capsys):
    fit(Small(), *points, epochs=2, progress=True)
    assert "training: 100%" in capsys.readouterr().err
    fit(Small(), *points, epochs=2, progress=False)
    assert capsys.readouterr().err == ""


def test_time_jitter_moves_whole_trials_and_mirrors_their_ends():
    generator = torch.Generator().manual_seed(0)
    ramp = torch.arange(10.0).expand(200, 2, 10)
    moved = TimeJitter(3)(ramp, generator)
    assert moved.shape == ramp.shape
    assert torch.equal(moved[:, 0], moved[:, 1])
    shifts = moved[:, 0, 5] - 5
    assert sorted(set(shifts.tolist())) == [-3, -2, -1, 0, 1, 2, 3]
    late = moved[shifts == 2][0, 0]
    assert late.tolist() == [2, 3, 4, 5, 6, 7, 8, 9, 8, 7]
    early = moved[shifts == -2][0, 0]
    assert early.tolist() == [2, 1, 0, 1, 2, 3, 4, 5, 6, 7]


def test_time_jitter_errors():
    with pytest.raises(ValueError, match="expected an int >= 0"):
        TimeJitter(-1)
    with pytest.raises(ValueError, match="10 samples"):
        TimeJitter(10)(torch.zeros(1, 1, 10), torch.Generator())


def test_augmentation_reaches_training_batches_only(points):
    seen = []

    def spy(batch, generator):
        seen.append(len(batch))
        assert isinstance(generator, torch.Generator)
        return batch

    fit(
        Small(),
        *points,
        X_valid=points[0],
        y_valid=points[1],
        epochs=2,
        batch_size=20,
        augment=spy,
        progress=False,
    )
    assert seen == [20, 20, 20, 20]
