"""A model is the same object in the same state after a run, also after one that failed."""

import copy
import gc
import logging
import random
import sys
import warnings
import weakref

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

import sciexplain as sx
from sciexplain import rules
from sciexplain.lrp.capture import capture
from sciexplain.lrp.targets import seed

from .eager import agrees, draw


class Watched(nn.Module):
    def __init__(self, broken=False):
        super().__init__()
        self.conv = nn.Conv1d(2, 3, 3, padding=1)
        self.norm = nn.BatchNorm1d(3)
        self.drop = nn.Dropout(0.5)
        self.out = nn.Linear(3 * 8, 2)
        self.broken = broken

    def forward(self, x):
        h = self.drop(torch.relu_(self.norm(self.conv(x))))
        if self.broken:
            h = torch.cumprod(h, -1)
        return self.out(h.flatten(1))


def state(net):
    return {
        "values": {k: v.clone() for k, v in net.state_dict().items()},
        "training": [m.training for m in net.modules()],
        "requires_grad": [p.requires_grad for p in net.parameters()],
        "grads": [p.grad for p in net.parameters()],
        "hooks": [
            (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in net.modules()
        ],
        "attributes": [sorted(vars(m)) for m in net.modules()],
        "classes": [type(m) for m in net.modules()],
        "ids": [id(p) for p in net.parameters()],
        "forwards": ["forward" in vars(m) for m in net.modules()],
        "tensor attributes": [sorted(vars(p)) for p in net.parameters()],
    }


def same(before, after):
    for key, value in before.items():
        if key == "values":
            assert all(torch.equal(v, after[key][k]) for k, v in value.items())
        elif key == "grads":
            assert all(a is b for a, b in zip(value, after[key]))
        else:
            assert value == after[key], key


METHODS = [
    sx.LRP("epsilon_plus"),
    sx.LRP(rules.AlphaBeta(2, 1)),
    sx.GradientTimesInput(),
    sx.Sensitivity(),
    sx.IntegratedGradients(steps=4),
]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("broken", [False, True])
def test_model_input_and_random_state_are_untouched(method, broken):
    net = Watched(broken).eval()
    next(net.parameters()).requires_grad_(False)
    net.out.bias.grad = torch.ones(2)
    x = torch.randn(2, 2, 8)
    x_before = x.clone()
    before, random, grad_mode = state(net), torch.get_rng_state(), torch.is_grad_enabled()
    numpy_random = np.random.get_state()[1].copy()  # noqa: NPY002
    if broken and isinstance(method, sx.LRP):
        with pytest.raises(sx.UnsupportedOperationError):
            sx.explain(net, x, target=0, method=method)
    else:
        sx.explain(net, x, target=0, method=method)
    same(before, state(net))
    assert torch.equal(torch.get_rng_state(), random)
    assert (np.random.get_state()[1] == numpy_random).all()  # noqa: NPY002
    assert torch.is_grad_enabled() == grad_mode
    assert torch.equal(x, x_before)
    assert not x.requires_grad
    assert x.grad is None


def test_the_random_states_of_python_and_numpy_are_untouched_by_models_that_draw():
    class Draws(Watched):
        def forward(self, x):
            random.random()
            np.random.rand()  # noqa: NPY002
            torch.rand(1)
            return super().forward(x)

    net, x = Draws().eval(), torch.randn(2, 2, 8)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    sx.explain(net, x, target=0)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    assert random.getstate() == states[2]


class Remembers(Watched):
    """Keeps values of its last pass as attributes, in a list, in a buffer, in a counter."""

    def __init__(self):
        super().__init__()
        self.last, self.passes, self.seen, self.notes = None, 0, [], {"shapes": []}
        self.register_buffer("total", torch.zeros(2))

    def forward(self, x):
        y = super().forward(x)
        self.last, self.new = y, torch.relu(y)
        self.passes += 1
        self.seen.append(self.new)
        self.notes["shapes"].append(y.shape)
        self.total += y.sum(0)
        return self.new


def test_what_a_model_stores_in_a_pass_is_as_before():
    net = Remembers().eval()
    with torch.no_grad():
        net(torch.randn(3, 2, 8))
    before, held = dict(vars(net)), (list(net.seen), list(net.notes["shapes"]), net.total.clone())
    for n in (2, 1, 5):
        sx.explain(net, torch.randn(n, 2, 8), target=0)
    assert vars(net).keys() == before.keys()
    assert all(vars(net)[k] is v for k, v in before.items())
    assert len(net.seen) == 1
    assert net.seen[0] is held[0][0]
    assert net.notes["shapes"] == held[1]
    assert torch.equal(net.total, held[2])


def test_hooks_that_look_see_real_tensors_and_never_the_stand_ins_of_tracing():
    net, x = Watched().eval(), torch.randn(2, 2, 8)
    recorded = []
    net.conv.register_forward_hook(lambda module, args, output: recorded.append(output.detach().numpy()))
    net.conv.register_forward_pre_hook(lambda module, args: recorded.append(args[0].detach().numpy()))
    want = sx.explain(copy.deepcopy(net), x, target=0).relevance.values
    recorded.clear()
    np.testing.assert_array_equal(sx.explain(net, x, target=0).relevance.values, want)
    once = len(recorded)
    assert once == 2  # each hook once, when the model is recorded
    np.testing.assert_array_equal(recorded[0], x.numpy())
    np.testing.assert_array_equal(recorded[1], net.conv(x).detach().numpy())
    recorded.clear()
    sx.explain(net, x, target=0)
    assert recorded == []  # recorded already: the model itself does not run
    net(x)
    assert len(recorded) == 2


def test_hooks_on_all_modules_see_real_tensors_only():
    kinds = set()
    handle = register_module_forward_hook(lambda module, args, output: kinds.add(type(output)))
    try:
        sx.explain(Watched().eval(), torch.randn(2, 2, 8), target=0)
    finally:
        handle.remove()
    assert kinds == {torch.Tensor}


def writes(module, args, out):
    out.mul_(2)


ACTING = {
    "returns another output": lambda m: m.register_forward_hook(lambda module, args, out: out * 2),
    "writes to the output": lambda m: m.register_forward_hook(writes),
    "returns other arguments": lambda m: m.register_forward_pre_hook(lambda module, args: (args[0] * 2,)),
    "with keywords": lambda m: m.register_forward_hook(
        lambda module, args, kwargs, out: out + args[0][:, :5], with_kwargs=True
    ),
}


@pytest.mark.parametrize("name", ACTING)
def test_hooks_that_act_belong_to_the_model_while_they_are_there(name):
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)).double().eval()
    x = draw(3)
    plain = agrees(net, x).relevance.values
    handle = ACTING[name](net[0])
    assert not np.allclose(agrees(net, x).relevance.values, plain)
    handle.remove()
    np.testing.assert_array_equal(agrees(net, x).relevance.values, plain)


def test_hooks_on_the_way_back_do_not_fire():
    net, x, fired = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)), draw(3).float(), []
    net[0].register_full_backward_hook(lambda *_: fired.append("module"))
    net[1].register_full_backward_pre_hook(lambda *_: fired.append("before"))
    net[2].weight.register_hook(lambda g: fired.append("weight"))
    sx.explain(net, x, target=0)
    assert fired == []
    net(x.requires_grad_()).sum().backward()
    assert len(fired) == 3


@pytest.mark.parametrize("fails", [False, True])
def test_switches_of_torch_are_as_before(fails, capsys):
    class Attends(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)

        def forward(self, x):
            print("a pass")
            y = self.layer(x)
            return y[:, 0] if not fails else y.nonsense

    def switches():
        return (
            torch.backends.mha.get_fastpath_enabled(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.is_autocast_enabled("cpu"),
            torch.are_deterministic_algorithms_enabled(),
            list(warnings.filters),
            logging.getLogger("torch.fx.experimental.symbolic_shapes").level,
            sys.stdout,
            sys.stderr,
        )

    torch.set_default_dtype(torch.float64)
    try:
        before = switches()
        if fails:
            with pytest.raises(ValueError, match="nonsense"):
                sx.explain(Attends().eval(), torch.randn(2, 3, 6), target=0)
        else:
            sx.explain(Attends().eval(), torch.randn(2, 3, 6), target=0)
        assert switches() == before
    finally:
        torch.set_default_dtype(torch.float32)
    assert "a pass" in capsys.readouterr().out


def test_buffers_of_layers_in_training_mode_stay():
    for layer in (nn.InstanceNorm1d(3, track_running_stats=True), nn.BatchNorm1d(3)):
        net = nn.Sequential(nn.Conv1d(2, 3, 3), layer, nn.Flatten(), nn.Linear(18, 2))
        before = {k: v.clone() for k, v in net.state_dict().items()}
        with pytest.raises(Exception, match=r"model\.eval\(\)"):
            sx.explain(net, torch.randn(2, 2, 8), target=0)
        assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 2))
    before = {k: v.clone() for k, v in spectral.state_dict().items()}
    sx.explain(spectral.train(), torch.randn(2, 6), target=0)
    assert all(torch.equal(v, before[k]) for k, v in spectral.state_dict().items())


def test_the_users_hooks_stay_and_the_model_can_be_trained_copied_and_saved_after():
    net = Watched().eval()
    seen = []
    net.conv.register_forward_hook(lambda *_: seen.append(1))
    sx.explain(net, torch.randn(2, 2, 8), target=0)
    before = len(seen)
    net(torch.randn(1, 2, 8))
    assert len(seen) == before + 1
    copy.deepcopy(net)
    net.train()
    net(torch.randn(2, 2, 8)).sum().backward()
    assert net.out.weight.grad is not None


def test_an_exception_inside_the_model_leaves_no_trace():
    class Fails(Watched):
        def forward(self, x):
            super().forward(x)
            raise RuntimeError("sensor 7 is on fire")

    net = Fails().eval()
    before = state(net)
    with pytest.raises(Exception, match="sensor 7 is on fire"):
        sx.explain(net, torch.randn(2, 2, 8), target=0)
    same(before, state(net))


def test_works_under_no_grad_and_inference_mode():
    net = Watched().eval()
    x = torch.randn(2, 2, 8)
    want = sx.explain(net, x, target=0).relevance.values
    with torch.no_grad():
        np.testing.assert_array_equal(sx.explain(net, x, target=0).relevance.values, want)
    with torch.inference_mode():
        np.testing.assert_array_equal(sx.explain(net, x, target=0).relevance.values, want)
    frozen = Watched().eval().requires_grad_(False)
    frozen.load_state_dict(net.state_dict())
    np.testing.assert_array_equal(sx.explain(frozen, x, target=0).relevance.values, want)


def test_the_same_call_twice_is_bitwise_the_same():
    net = Watched().eval()
    x = torch.randn(2, 2, 8)
    first, second = (sx.explain(net, x, target=0) for _ in range(2))
    np.testing.assert_array_equal(first.relevance.values, second.relevance.values)


def test_prepared_weights_go_when_nobody_holds_them():
    net, x = (
        nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.LayerNorm(5), nn.Linear(5, 2)).eval(),
        torch.randn(3, 4),
    )
    sx.explain(net, x, method="alpha2_beta1")  # the first capture leaves frames of torch behind
    gc.collect()
    gc.disable()  # only counting references may free them
    try:
        prepared = sx.LRP("alpha2_beta1").prepare(net, [x], {})
        session = weakref.ref(prepared.session)
        prepared.run([x], lambda outputs: seed(outputs, "predicted"))
        del prepared
        assert session() is None
    finally:
        gc.enable()


def test_one_capture_serves_a_model_of_two_inputs():
    class Two(nn.Module):
        def forward(self, a, b):
            return (a * b).sum(1, keepdim=True)

    net = Two().eval()
    first = capture(net, [torch.randn(3, 4), torch.randn(3, 4)])
    assert capture(net, [torch.randn(5, 4), torch.randn(5, 4)]) is first
