"""A recording is used again only where it is what the model does: other sizes, weights, attributes."""

import copy
import gc
import io
import pickle
import weakref

import numpy as np
import pytest
import torch
from torch import nn

import sciexplain as sx
from sciexplain.lrp import capture as recording

from .eager import ZERO, Between, agrees, conv_net, draw


def count(monkeypatch):
    """The list of models that are recorded from now on."""
    recorded = []
    record = recording._record
    monkeypatch.setattr(recording, "_record", lambda *given: recorded.append(given[0]) or record(*given))
    return recorded


# Sizes


@pytest.mark.parametrize("sizes", [(1, 7, 2), (7, 1, 2), (2, 7, 1)], ids=str)
def test_one_recording_serves_every_batch_size(sizes, monkeypatch):
    net, recorded = conv_net(), count(monkeypatch)
    for n in sizes:
        agrees(net, draw(n, 2, 8, 8))
    assert len(recorded) == 1


BRANCHES = {
    "more than ten": (lambda x, y: y * 2 if x.shape[0] > 10 else y, (1, 7, 12, 10, 11, 2)),
    "a single sample": (lambda x, y: y * 3 if x.shape[0] == 1 else y, (1, 7, 1, 2)),
    "a single sample, recorded for several first": (lambda x, y: y * 3 if x.size(0) == 1 else y, (7, 1, 2)),
    "two samples": (lambda x, y: y * 3 if len(x) == 2 else y, (1, 2, 3, 1)),
    "odd": (lambda x, y: y * 3 if x.shape[0] % 2 else y, (1, 2, 3, 4)),
    "the size as a factor": (lambda x, y: y * x.shape[0] + float(x.shape[0]), (1, 7, 2)),
    "squeezed": (lambda x, y: y.squeeze().reshape(-1, 2), (1, 7, 1, 2)),
    "a loop over samples": (lambda x, y: torch.stack([y[i] * (i + 1) for i in range(len(x))]), (3, 1, 2)),
}


@pytest.mark.parametrize("name", BRANCHES)
def test_a_branch_on_the_batch_size_is_taken_as_the_model_takes_it(name):
    function, sizes = BRANCHES[name]

    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(6, 2)

        def forward(self, x):
            return function(x, self.out(x))

    net = Branching().double().eval()
    for n in sizes:
        agrees(net, draw(n))


def test_every_batch_of_one_call_takes_the_models_own_way():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(6, 2)

        def forward(self, x):
            return self.out(x) * (3.0 if x.shape[0] == 1 else 5.0 if x.shape[0] > 3 else 1.0)

    net, x = Branching().double().eval(), draw(9)
    ds = sx.explain(net, x, target=0, method=ZERO, batch_size=4)  # 4, 4, 1
    factor = np.array([5.0] * 8 + [3.0])
    plain = (x * net.out.weight[0]).detach().numpy()
    np.testing.assert_allclose(ds.relevance.values, plain * factor[:, None], rtol=1e-10)


def test_batches_that_execute_other_operations_are_refused():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.out, self.more = nn.Linear(6, 2), nn.Linear(2, 2)

        def forward(self, x):
            return self.out(x) if x.shape[0] > 2 else self.more(self.out(x))

    net = Branching().double().eval()
    with pytest.raises(ValueError, match=r"batch_size="):
        sx.explain(net, draw(5), target=0, batch_size=3)
    assert sx.explain(net, draw(6), target=0, batch_size=3).sizes["sample"] == 6


def test_a_branch_on_the_length_in_time():
    class Long(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.out = nn.Conv1d(2, 3, 3), nn.Linear(3, 2)

        def forward(self, x):
            h = nn.functional.leaky_relu(self.conv(x))
            if x.shape[-1] > 10:
                h = h[..., ::2] * 2
            return self.out(h.mean(-1))

    net = Long().double().eval()
    for n in (1, 7):
        for length in (8, 20, 9, 10, 11):
            agrees(net, draw(n, 2, length))


# What changes between calls


def both(net, x, change):
    agrees(net, x)
    change()
    agrees(net, x)


def small():
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)).double().eval()


def fresh(net):
    return {k: torch.randn_like(v) for k, v in net.state_dict().items()}


WEIGHTS = {
    "in place": lambda net: net[0].weight.detach().mul_(-2),
    "data": lambda net: setattr(net[0].weight, "data", draw(5, 6)),
    "load_state_dict": lambda net: net.load_state_dict(fresh(net)),
    "load_state_dict, assigned": lambda net: net.load_state_dict(fresh(net), assign=True),
    "a new parameter": lambda net: setattr(net[2], "weight", nn.Parameter(draw(2, 5))),
    "a new module": lambda net: net.__setitem__(2, nn.Linear(5, 3).double()),
    "another activation": lambda net: net.__setitem__(1, nn.LeakyReLU(0.5)),
    "a slope": lambda net: net.__setitem__(1, nn.LeakyReLU(0.1)),
    "no bias": lambda net: setattr(net[2], "bias", None),
    "another order": lambda net: net.insert(1, nn.Linear(5, 5).double()),
    "frozen": lambda net: net.requires_grad_(False),
    "forward of the object": lambda net: setattr(net, "forward", lambda x: net[2](net[0](x))),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_change_of_the_model_is_seen(name):
    net, x = small(), draw(3)
    both(net, x, lambda: WEIGHTS[name](net))


def test_new_weights_need_no_new_recording(monkeypatch):
    net, x, recorded = small(), draw(3), count(monkeypatch)
    both(net, x, lambda: net.load_state_dict(fresh(net)))
    assert len(recorded) == 1


class Settings:
    def __init__(self):
        self.scale = 1.0


FACTOR = {"global": 1.0}


class ManyAttributes(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv1d(2, 3, 3), nn.Linear(3, 2)
        self.number, self.table, self.list = 1.0, {"a": 1.0}, [1.0]
        self.tensor = torch.tensor(1.0, dtype=torch.float64)
        self.tensors = [torch.ones(3, 1, dtype=torch.float64)]
        self.array = np.ones((3, 1))
        self.settings, self.act, self.hidden = Settings(), torch.relu, [nn.Linear(3, 3).double()]
        self.double().eval()

    def forward(self, x):
        h = self.act(self.conv(x)) * torch.from_numpy(self.array) * self.tensors[0]
        factor = self.number * self.table["a"] * self.list[0] * self.tensor * self.settings.scale
        return self.out(self.hidden[0](h.mean(-1))) * factor * FACTOR["global"]


ATTRIBUTES = {
    "stride": lambda net: setattr(net.conv, "stride", (2,)),
    "a number": lambda net: setattr(net, "number", 2.0),
    "an entry of a dict": lambda net: net.table.update(a=-1.0),
    "an entry of a list": lambda net: net.list.__setitem__(0, 3.0),
    "a tensor in place": lambda net: net.tensor.mul_(3),
    "another tensor": lambda net: setattr(net, "tensor", torch.tensor(5.0, dtype=torch.float64)),
    "a tensor of a list in place": lambda net: net.tensors[0].mul_(2),
    "another tensor of a list": lambda net: net.tensors.__setitem__(0, draw(3, 1)),
    "an array in place": lambda net: net.array.__imul__(2),
    "another array": lambda net: setattr(net, "array", np.full((3, 1), 7.0)),
    "an attribute of an object": lambda net: setattr(net.settings, "scale", 4.0),
    "another function": lambda net: setattr(net, "act", lambda v: torch.relu(v) * 3),
    "an entry of a global dict": lambda net: FACTOR.update({"global": FACTOR["global"] * 2}),
    "a module that is not registered": lambda net: net.hidden.__setitem__(0, nn.Linear(3, 3).double()),
    "weights that are not registered": lambda net: setattr(net.hidden[0], "weight", nn.Parameter(draw(3, 3))),
}


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_a_change_of_an_attribute_is_seen(name):
    net, x = ManyAttributes(), draw(3, 2, 9)
    both(net, x, lambda: ATTRIBUTES[name](net))


def test_a_function_that_closes_over_a_setting():
    settings = {"scale": 1.0}
    net, x = Between(lambda h: torch.relu(h) * settings["scale"]), draw(3)
    both(net, x, lambda: settings.update(scale=-3.0))


def test_a_new_forward_of_the_class():
    class Changing(Between):
        pass

    net, x = Changing(torch.relu), draw(3)
    both(net, x, lambda: setattr(Changing, "forward", lambda self, x: self.last(self.first(x))))


def test_functions_that_take_the_place_of_others_are_told_apart():
    net, x = Between(torch.relu), draw(3)
    for k in range(5):  # each may stand where the one before stood in memory
        net.function = eval(f"lambda h: h * {k + 1}.0")
        agrees(net, x)


def test_a_change_of_precision():
    net, x = small(), draw(3)
    agrees(net, x)
    agrees(net.float(), x.float(), tolerance=1e-5)
    agrees(net.double(), x)


# Modules and weights that appear more than once


def test_modules_reused_and_weights_shared():
    layer = nn.Linear(6, 6)
    net = nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), layer).double().eval()
    both(net, draw(3), lambda: layer.weight.detach().add_(1))
    tied = (
        nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2)).double().eval()
    )
    tied[2].weight = tied[0].weight
    both(tied, draw(3), lambda: tied[0].weight.detach().add_(1))
    assert tied[2].weight is tied[0].weight


def test_nested_module_dicts_and_lists_of_parameters():
    class Nested(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleDict(
                {"a": nn.ModuleDict({"x": nn.Linear(6, 5)}), "b": nn.ModuleDict({"x": nn.Linear(5, 2)})}
            )
            self.scales = nn.ParameterList([nn.Parameter(torch.ones(5))])
            self.shifts = nn.ParameterDict({"z": nn.Parameter(torch.ones(5))})

        def forward(self, x):
            h = torch.relu(self.parts["a"]["x"](x)) * self.scales[0] + self.shifts["z"]
            return self.parts["b"]["x"](h)

    net, x = Nested().double().eval(), draw(3)
    both(net, x, lambda: net.scales[0].detach().mul_(3))
    both(net, x, lambda: net.scales.__setitem__(0, nn.Parameter(draw(5).sum(1))))
    both(net, x, lambda: net.shifts.__setitem__("z", nn.Parameter(draw(5).sum(1))))
    both(net, x, lambda: net.parts.__setitem__("a", nn.ModuleDict({"x": nn.Linear(6, 5).double()})))


def test_data_parallel_and_a_function_of_a_model():
    net, x = small(), draw(3)
    agrees(nn.DataParallel(net), x)
    agrees(lambda v: net(v) * 2, x)
    both(lambda v: net(v), x, lambda: net[0].weight.detach().mul_(2))


# Weights computed in the forward pass


class MaxNorm(nn.Conv1d):
    def forward(self, x):
        self.weight.data = torch.renorm(self.weight.data, p=2, dim=0, maxnorm=0.5)
        return super().forward(x)


def renorm_before(module, args):
    with torch.no_grad():
        module.weight.copy_(torch.renorm(module.weight, 2, 0, 0.5))


def test_max_norm_layers_are_explained_and_their_weights_left():
    hooked = nn.Conv1d(2, 3, 3)
    hooked.register_forward_pre_hook(renorm_before)
    for conv in (MaxNorm(2, 3, 3), hooked):
        net, x = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)).double().eval(), draw(3, 2, 6)
        before, parameter = conv.weight.detach().clone(), conv.weight
        ds = sx.explain(net, x, target=0, method=ZERO)
        assert conv.weight is parameter
        assert torch.equal(conv.weight, before)
        assert before.flatten(1).norm(dim=1).max() > 0.5
        net(x)  # the user's own call renorms
        assert conv.weight.detach().flatten(1).norm(dim=1).max() < 0.5 + 1e-6
        np.testing.assert_allclose(agrees(net, x).relevance.values, ds.relevance.values, rtol=1e-6)


def test_parametrized_weights():
    x = draw(3)
    norm = nn.utils.parametrizations.weight_norm
    net = nn.Sequential(norm(nn.Linear(6, 5)), nn.ReLU(), nn.Linear(5, 2)).double().eval()
    both(net, x, lambda: net[0].parametrizations.weight.original0.detach().mul_(2))
    spectral = nn.utils.parametrizations.spectral_norm
    net = nn.Sequential(spectral(nn.Linear(6, 5)), nn.ReLU(), nn.Linear(5, 2)).double().eval()
    both(net, x, lambda: net[0].parametrizations.weight.original.detach().add_(1))


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_weights_computed_by_hooks():
    x = draw(3)
    net = nn.Sequential(nn.utils.weight_norm(nn.Linear(6, 5)), nn.ReLU(), nn.Linear(5, 2)).double().eval()
    both(net, x, lambda: net[0].weight_g.detach().mul_(2))
    assert type(net[0].weight) is torch.Tensor
    net = nn.Sequential(nn.utils.spectral_norm(nn.Linear(6, 5)), nn.ReLU(), nn.Linear(5, 2)).double().eval()
    both(net, x, lambda: net[0].weight_orig.detach().add_(1))


# Copies, and what is left in memory


def test_copies_are_models_of_their_own():
    net, x = conv_net(), draw(2, 2, 8, 8)
    agrees(net, x)
    copied = copy.deepcopy(net)
    copied[0].weight.detach().mul_(2)
    agrees(copied, x)
    agrees(net, x)
    agrees(pickle.loads(pickle.dumps(net)), x)
    stored = io.BytesIO()
    torch.save(net, stored)
    stored.seek(0)
    agrees(torch.load(stored, weights_only=False), x)


def test_a_model_that_is_no_longer_used_is_freed():
    net = Between(torch.relu)
    sx.explain(net, draw(3), target=0)
    alive = weakref.ref(net), weakref.ref(net.first.weight)
    del net
    gc.collect()
    assert [ref() for ref in alive] == [None, None]


def tensors_alive():
    gc.collect()
    return sum(type(o) in (torch.Tensor, nn.Parameter) for o in gc.get_objects())


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_fifty_calls_leave_nothing_behind():
    net = Between(torch.relu)
    changing = Between(lambda h: h * 1.0)

    def calls(count):
        for k in range(count):
            sx.explain(net, draw(1 + k % 5), target=0)
        for k in range(8):  # each needs a recording; only a few are kept
            changing.function = lambda h, k=k: h * float(k + 1)
            sx.explain(changing, draw(2), target=0)

    calls(5)
    before = tensors_alive()
    calls(50)
    assert tensors_alive() <= before
    assert len(recording._cache[changing]) <= recording._KEPT_PER_MODEL
