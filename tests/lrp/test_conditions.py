"""Conditional relevance against relevance handed back by hand, and against gradients of detached networks."""

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn

import sciexplain as sx
from sciexplain import rules
from sciexplain.lrp.composites import composite
from tests.lrp import views

COMPOSITES = ("epsilon", "epsilon_plus", "epsilon_gamma", "alpha2_beta1")


def conv_net():
    torch.manual_seed(2)
    return (
        nn.Sequential(
            nn.Conv2d(2, 4, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 5, 2, padding=1),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(20, 6),
            nn.ReLU(),
            nn.Linear(6, 3),
        )
        .double()
        .eval()
    )


def images(n=2):
    return torch.randn(n, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def by_kind(name):
    """Rules of layers: an average is shared in proportion, whatever the composite."""
    table = dict(composite(name))
    kinds = {nn.Conv2d: table["conv"], nn.Linear: table["linear"]}
    return lambda layer: kinds.get(type(layer), rules.Zero())


CHOICES = {
    "one channel": ({"0": 2}, {0: [2]}),
    "a ReLU": ({"4": [0, 3]}, {4: [0, 3]}),
    "a pool": ({"2": [-1]}, {2: [3]}),
    "a dense layer": ({"7": [1, 4, 5]}, {7: [1, 4, 5]}),
    "two layers": ({"3": [1, 2], "0": [0, 3]}, {3: [1, 2], 0: [0, 3]}),
    "the output": ({"9": [0]}, {9: [0]}),
}


@pytest.mark.parametrize("name", COMPOSITES)
@pytest.mark.parametrize("choice", CHOICES)
def test_conditional_relevance_is_relevance_handed_back_through_the_chosen_channels(name, choice):
    net, x = conv_net(), images()
    condition, by_hand = CHOICES[choice]
    R = np.random.default_rng(0).standard_normal((2, 3))
    paths = tuple(str(i) for i in range(9))
    ds = sx.explain(net, x, method=sx.LRP(name, condition=condition), output_relevance=R, layers=paths)
    layers = list(net)
    for n in range(2):
        values = views.forward(layers, x[n].numpy())
        masks = {}
        for at, channels in by_hand.items():
            masks[at] = np.zeros_like(values[at + 1])
            masks[at][channels] = 1
        want = views.relevances(layers, x[n].numpy(), R[n], by_kind(name), masks)
        np.testing.assert_allclose(ds.relevance.values[n], want[0], rtol=1e-9, atol=1e-12)
        for i, path in enumerate(paths):
            np.testing.assert_allclose(ds[f"relevance_{path}"].values[n], want[i + 1], rtol=1e-9, atol=1e-12)
        stopped = sum(
            float(ds.absorbed.sel(operation=f"condition:{path}")[n]) for path in (str(at) for at in by_hand)
        )
        before = views.relevances(layers, x[n].numpy(), R[n], by_kind(name))
        if len(by_hand) == 1:
            (at,) = by_hand
            np.testing.assert_allclose(
                stopped, (before[at + 1] * (1 - masks[at])).sum(), rtol=1e-9, atol=1e-12
            )
    assert ds.conservation_error.max() < 1e-12


def test_a_condition_can_name_dimensions():
    """One position of some channels, and a position of all channels, counted from either end."""
    net, x = conv_net(), images(1)
    R = np.array([[1.0, -2.0, 0.5]])
    both = sx.explain(
        net, x, method=sx.LRP("epsilon_plus", condition={"3": {1: [0, 4], -1: 2}}), output_relevance=R
    )
    row = sx.explain(net, x, method=sx.LRP("epsilon_plus", condition={"3": {2: 0}}), output_relevance=R)
    mask = np.zeros((5, 4, 4))
    mask[[0, 4], :, 2] = 1
    other = np.zeros((5, 4, 4))
    other[:, 0] = 1
    for ds, m in ((both, mask), (row, other)):
        want = views.relevances(list(net), x[0].numpy(), R[0], by_kind("epsilon_plus"), {3: m})
        np.testing.assert_allclose(ds.relevance.values[0], want[0], rtol=1e-9, atol=1e-12)


class Residual(nn.Module):
    """A block that is called twice, with a way around it."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(3, 4, 3, padding=1)
        self.block = nn.Sequential(nn.Conv1d(4, 4, 3, padding=1), nn.BatchNorm1d(4), nn.ReLU())
        self.norm = nn.BatchNorm1d(24)
        self.head = nn.Linear(24, 2)

    def forward(self, x):
        h = torch.relu(self.first(x))
        for _ in range(2):
            h = h + self.block(h)
        return self.head(self.norm(h.flatten(1)))


class Recurrent(nn.Module):
    """A dense layer that is called at every step, a concatenation, and two readers of one result."""

    def __init__(self):
        super().__init__()
        self.cell = nn.Linear(7, 4)
        self.tail = nn.Sequential(nn.Linear(8, 5), nn.ReLU())
        self.heads = nn.ModuleList([nn.Linear(5, 2, bias=False), nn.Linear(5, 2)])

    def forward(self, x):
        h = x.new_zeros(len(x), 4)
        for t in range(x.shape[1]):
            h = torch.relu(self.cell(torch.cat([x[:, t], h], 1)))
        z = self.tail(torch.cat([h, 2 * h], 1))
        return self.heads[0](z) + torch.relu(self.heads[1](z))


def with_random_norms(net):
    for m in net.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            for t in (m.weight, m.bias, m.running_mean):
                nn.init.normal_(t)
            nn.init.uniform_(m.running_var, 0.5, 2)
    return net.double().eval()


NETS = {
    "residual": (Residual, (3, 6), {"first": 4, "block": 4, "block.0": 4, "block.1": 4, "norm": 24}),
    "recurrent": (Recurrent, (4, 3), {"cell": 4, "tail.0": 5, "tail": 5}),
}
CASES = [(net, path) for net, (_, _, paths) in NETS.items() for path in paths]


def detached(net, path, channels):
    """The same function, whose gradient passes the module's result at the chosen channels only."""
    net = copy.deepcopy(net)

    def hook(module, args, y):
        mask = torch.zeros(y.shape[1], dtype=y.dtype)
        mask[channels] = 1
        mask = mask.reshape(-1, *[1] * (y.dim() - 2))
        return y * mask + (y * (1 - mask)).detach()

    net.get_submodule(path).register_forward_hook(hook)
    return net


@pytest.mark.parametrize(("name", "path"), CASES)
def test_lrp_0_under_a_condition_is_gradient_times_input_of_the_detached_network(name, path):
    """Reused modules, skip connections, batch norms merged with what precedes or follows them."""
    make, shape, sizes = NETS[name]
    net = with_random_norms(make())
    x = torch.randn(3, *shape, dtype=torch.float64, requires_grad=True)
    channels = [0, sizes[path] - 1]
    (grad,) = torch.autograd.grad(detached(net, path, channels)(x)[:, 1].sum(), x)
    ds = sx.explain(
        net, x.detach(), target=1, method=sx.LRP(rules.Zero(), condition={path: channels}), layers=(path,)
    )
    np.testing.assert_allclose(ds.relevance.values, (x * grad).detach().numpy(), rtol=1e-9, atol=1e-12)
    assert ds.conservation_error.max() < 1e-12
    others = [i for i in range(sizes[path]) if i not in channels]
    layer = ds[f"relevance_{path}"].values
    assert (layer[:, others] == 0).all()
    assert (layer[:, channels] != 0).any()


@pytest.mark.parametrize("method", COMPOSITES)
@pytest.mark.parametrize(
    ("name", "path"), [("residual", "first"), ("residual", "norm"), ("recurrent", "tail.0")]
)
def test_the_channels_of_a_layer_that_all_relevance_passes_add_up(name, path, method):
    make, shape, sizes = NETS[name]
    net = with_random_norms(make())
    x = torch.randn(2, *shape, dtype=torch.float64)
    whole = sx.explain(net, x, target=0, method=method)
    each = [{path: k} for k in range(sizes[path])]
    parts = sx.explain(net, x, target=0, method=sx.LRP(method, condition=each))
    np.testing.assert_allclose(
        parts.relevance.sum("explained").values, whole.relevance.values, rtol=1e-10, atol=1e-12
    )
    # what the condition stops in one run passes in exactly one of the others
    account = f"condition:{path}"
    stopped = parts.absorbed.sel(operation=account).sum("explained").values
    passed = (parts.relevance.sum(parts.relevance.dims[2:]) + parts.absorbed.sum("operation")).values
    np.testing.assert_allclose(passed, np.tile(whole.score.values, (len(each), 1)), rtol=1e-10, atol=1e-12)
    through = sx.explain(net, x, target=0, method=method, layers=(path,))[f"relevance_{path}"]
    total = through.sum(through.dims[1:]).values
    np.testing.assert_allclose(stopped, (len(each) - 1) * total, rtol=1e-10, atol=1e-12)


def test_several_conditions_are_the_single_ones_also_beside_several_targets():
    net, x = conv_net(), images(3)
    given = [{"0": 1}, {"3": [0, 2], "0": [1, 3]}, {"7": 5}, {"3": {2: [0, 1]}}]
    several = sx.explain(net, x, target=sx.Targets([2, 0]), method=sx.LRP(condition=given), layers=("3",))
    assert several.relevance.dims[0] == "explained"
    assert several.condition.values.tolist() == ["0=1", "3=[0, 2] and 0=[1, 3]", "7=5", "3=2:[0, 1]"] * 2
    assert several.explained.values[5] == "0, 3=[0, 2] and 0=[1, 3]"
    assert several.target.values[:, 0].tolist() == [2] * 4 + [0] * 4
    for k, (target, condition) in enumerate((t, c) for t in (2, 0) for c in given):
        one = sx.explain(net, x, target=target, method=sx.LRP(condition=condition), layers=("3",))
        for name in ("relevance", "message", "relevance_3", "message_3", "score", "conservation_error"):
            np.testing.assert_allclose(several[name].values[k], one[name].values, rtol=1e-12, atol=1e-14)
        for operation in one.operation.values:
            np.testing.assert_allclose(
                several.absorbed.sel(operation=operation).values[k],
                one.absorbed.sel(operation=operation).values,
                rtol=1e-12,
                atol=1e-14,
            )


def test_more_conditions_than_go_back_together():
    net, x = conv_net(), images(2)
    each = [{"7": k} for k in range(6)] + [{"3": {1: k, 2: j}} for k in range(5) for j in range(3)]
    several = sx.explain(net, x, target=1, method=sx.LRP(condition=each))
    assert several.sizes["explained"] == 21
    for k in (0, 15, 16, 17, 20):
        one = sx.explain(net, x, target=1, method=sx.LRP(condition=each[k]))
        np.testing.assert_allclose(several.relevance.values[k], one.relevance.values, rtol=1e-12, atol=1e-14)


def test_batches_and_a_list_of_one():
    net, x = conv_net(), images(5)
    method = sx.LRP(condition=[{"3": [1, 2]}])
    whole = sx.explain(net, x, target=[0, 1, 2, 0, 1], method=method)
    parts = sx.explain(net, x, target=[0, 1, 2, 0, 1], method=method, batch_size=2)
    assert whole.relevance.shape == (1, 5, 2, 8, 8)
    assert whole.explained.values.tolist() == ["3=[1, 2]"]
    np.testing.assert_allclose(parts.relevance.values, whole.relevance.values, rtol=1e-12, atol=1e-14)


class Attention(nn.Module):
    """Two heads of width 3, written out; no biases."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.queries, self.keys, self.values = (nn.Linear(6, 6, bias=False) for _ in range(3))
        self.out = nn.Linear(6, 6, bias=False)

    def forward(self, x):
        q, k, v = (f(x).unflatten(2, (2, 3)).transpose(1, 2) for f in (self.queries, self.keys, self.values))
        if self.how == "one call":
            y = nn.functional.scaled_dot_product_attention(q, k, v)
        elif self.how == "products":
            y = (q @ k.transpose(-1, -2) / 3**0.5).softmax(-1) @ v
        else:
            y = torch.einsum("bhij,bhjd->bhid", (q @ k.transpose(-1, -2) / 3**0.5).softmax(-1), v)
        return self.out(y.transpose(1, 2).flatten(2))


class Reader(nn.Module):
    def __init__(self, attention):
        super().__init__()
        self.attention, self.head = attention, nn.Linear(6, 2, bias=False)

    def forward(self, x):
        y = self.attention(x) if isinstance(self.attention, Attention) else self.attention(x, x, x)[0]
        return self.head(y.sum(1))


def packed(attention):
    """The four matrices of nn.MultiheadAttention."""
    return (*attention.in_proj_weight.chunk(3), attention.out_proj.weight)


@pytest.mark.parametrize("how", ["one call", "products", "torch's own"])
def test_heads_of_attention(how):
    """Constant weights A_h: the head's part of x_t is x_t sum_s A_h[s, t] W_v^T[h] W_o^T[h] w."""
    if how == "torch's own":
        net = Reader(nn.MultiheadAttention(6, 2, bias=False, batch_first=True)).double().eval()
        wq, wk, wv, wo = packed(net.attention)
    else:
        net = Reader(Attention(how)).double().eval()
        a = net.attention
        wq, wk, wv, wo = a.queries.weight, a.keys.weight, a.values.weight, a.out.weight
    x = torch.randn(2, 4, 6, dtype=torch.float64)
    wq, wk, wv, wo, w = (t.detach().numpy() for t in (wq, wk, wv, wo, net.head.weight))
    each = sx.explain(
        net, x, target=1, method=sx.LRP(rules.Zero(), condition=[{"attention": {"head": h}} for h in (0, 1)])
    )
    for h in (0, 1):
        own = slice(3 * h, 3 * h + 3)
        for n in range(2):
            scores = (x[n].numpy() @ wq[own].T) @ (x[n].numpy() @ wk[own].T).T / 3**0.5
            A = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
            back = w[1] @ wo[:, own] @ wv[own]  # what a unit of the head's mixture brings
            want = x[n].numpy() * A.sum(0)[:, None] * back
            np.testing.assert_allclose(each.relevance.values[h, n], want, rtol=1e-9, atol=1e-12)
    whole = sx.explain(net, x, target=1, method=sx.LRP(rules.Zero()))
    np.testing.assert_allclose(each.relevance.sum("explained").values, whole.relevance.values, rtol=1e-10)
    assert each.conservation_error.max() < 1e-12


def test_channels_of_token_networks_are_features():
    net = nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.LayerNorm(5), nn.Linear(5, 4)).double().eval()
    x = torch.randn(2, 3, 6, dtype=torch.float64)
    for path, size in (("0", 5), ("1", 5), ("2", 5), ("3", 4)):
        kept = sx.explain(
            net,
            x,
            target=lambda y: y.sum((1, 2)),
            method=sx.LRP("epsilon", condition={path: [0, 2]}),
            layers=(path,),
        )[f"relevance_{path}"]
        assert kept.shape == (2, 3, size)
        assert (np.abs(kept.values).sum((0, 1)) > 0).tolist() == [k in (0, 2) for k in range(size)]


@pytest.mark.parametrize("batch_first", [True, False])
def test_channels_of_a_recurrent_layer_are_its_units(batch_first):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(3, 5, batch_first=batch_first)
            self.head = nn.Linear(5, 2)

        def forward(self, x):
            y, _ = self.lstm(x if batch_first else x.transpose(0, 1))
            return self.head(y.mean(1 if batch_first else 0))

    net = Net().double().eval()
    x = torch.randn(2, 4, 3, dtype=torch.float64)
    each = sx.explain(net, x, target=0, method=sx.LRP("epsilon", condition=[{"lstm": k} for k in range(5)]))
    whole = sx.explain(net, x, target=0, method="epsilon")
    np.testing.assert_allclose(
        each.relevance.sum("explained").values, whole.relevance.values, rtol=1e-10, atol=1e-13
    )
    assert (np.abs(each.relevance.values).sum((1, 2, 3)) > 0).all()


def test_relevance_given_at_an_output_of_zero_is_stopped_too():
    net = nn.Sequential(nn.Linear(3, 2, bias=False)).double().eval()
    nn.init.ones_(net[0].weight)
    x = torch.tensor([[1.0, -1.0, 0.0]], dtype=torch.float64)
    R = np.array([[5.0, 7.0]])
    ds = sx.explain(
        net, x, method=sx.LRP(rules.AlphaBeta(2, 1), condition={"0": 1}), output_relevance=R, output="as_is"
    )
    assert ds.conservation_error.item() < 1e-12
    assert float(ds.relevance.sum() + ds.absorbed.sum()) == 12.0


def test_atoms_of_several_molecules():
    """Rows of the inputs are no samples; what the condition stops is booked to the molecule."""

    class Molecules(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.out = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, atoms, molecule):
            h = torch.relu(self.embed(atoms))
            return self.out(h.new_zeros(3, 4).index_add(0, molecule, h))

    net = Molecules().double().eval()
    atoms = torch.randn(7, 3, dtype=torch.float64)
    owner = torch.tensor([0, 0, 1, 1, 1, 2, 2])
    each = [{"embed": k} for k in range(4)]
    ds = sx.explain(net, (atoms, owner), target=1, method=sx.LRP("epsilon", condition=each))
    whole = sx.explain(net, (atoms, owner), target=1, method="epsilon")
    (name,) = [v for v in ds.data_vars if str(v).startswith("relevance")]
    np.testing.assert_allclose(ds[name].sum("explained").values, whole[name].values, rtol=1e-10, atol=1e-13)
    h = torch.relu(net.embed(atoms)).detach().numpy()
    parts = h * net.out.weight[1].detach().numpy()
    stopped = ds.absorbed.sel(operation="condition:embed").values
    for k in range(4):
        rest = parts.sum(1) - parts[:, k]
        want = [rest[owner.numpy() == m].sum() for m in range(3)]
        np.testing.assert_allclose(stopped[k], want, rtol=1e-5, atol=1e-6)  # epsilon takes 1e-6 of it


def test_a_condition_is_a_value():
    a = sx.LRP("epsilon", condition={"0": [1, 2], "3": {"head": 1, 2: [0]}})
    b = sx.LRP("epsilon", condition={"0": np.array([1, 2]), "3": {"head": torch.tensor([1]), 2: 0}})
    assert a == b
    assert hash(a) == hash(b)
    assert a != sx.LRP("epsilon", condition={"0": [1, 3]})
    assert a != sx.LRP("epsilon", condition=[{"0": [1, 2], "3": {"head": 1, 2: [0]}}])
    assert eval(repr(a), {"LRP": sx.LRP}) == a
    assert json.loads(a.to_json())["condition"] == {"0": [1, 2], "3": {"head": [1], "2": [0]}}
    both = sx.LRP(condition=[{"0": 1}, {"3": 2}])
    assert eval(repr(both), {"LRP": sx.LRP}) == both
    assert json.loads(both.to_json())["condition"] == [{"0": [1]}, {"3": [2]}]
    assert "condition" not in json.loads(sx.LRP().to_json())
    assert sx.LRP("epsilon", condition=a.condition) == a


def test_the_dataset_of_several_conditions_goes_to_a_file_and_back(tmp_path):
    ds = sx.explain(
        conv_net(), images(), target=0, method=sx.LRP(condition=[{"0": 1}, {"0": 2}]), layers=("3",)
    )
    sx.save(ds, tmp_path / "a.nc")
    again = sx.load(tmp_path / "a.nc")
    assert again.identical(ds)


BAD_VALUES = {
    "no mapping": (TypeError, "features"),
    "nothing": (TypeError, {}),
    "a path that is none": (TypeError, {3: [0]}),
    "no channels": (ValueError, {"0": []}),
    "twice": (ValueError, {"0": [1, 1]}),
    "fractions": (TypeError, {"0": [0.5]}),
    "truth values": (TypeError, {"0": True}),
    "a word": (TypeError, {"0": "all"}),
    "no dimensions": (ValueError, {"0": {}}),
    "a dimension that is none": (TypeError, {"0": {"channel": 1}}),
    "an empty list": (ValueError, []),
    "the same twice": (ValueError, [{"0": 1}, {"0": [1]}]),
}


@pytest.mark.parametrize("case", BAD_VALUES)
def test_what_is_no_condition_is_refused_at_once(case):
    error, condition = BAD_VALUES[case]
    with pytest.raises(error, match=r"LRP: "):
        sx.LRP(condition=condition)


BAD_PLACES = {
    "a module that is not there": ({"33": 0}, r"'33'.*Did you mean '3'\?.*Modules: 0, 1, 2"),
    "a channel that is not there": ({"3": [0, 5]}, r"'3' names \[5\]; it has 5 channels along dimension 1"),
    "a negative one": ({"3": -6}, r"names \[-6\]"),
    "a position that is not there": ({"3": {2: 4}}, r"names \[4\]; it has 4 channels along dimension 2"),
    "a dimension that is not there": ({"3": {4: 0}}, r"dimension 4 of the shape \(batch, 5, 4, 4\)"),
    "samples": ({"3": {0: 0}}, r"dimension 0 .*numbers the samples"),
    "heads without attention": ({"3": {"head": 0}}, r"names heads, but no attention is paid"),
}


@pytest.mark.parametrize("case", BAD_PLACES)
def test_what_the_model_has_not_is_refused_before_anything_is_explained(case):
    condition, message = BAD_PLACES[case]
    with pytest.raises(sx.PlanError, match=message):
        sx.explain(conv_net(), images(), target=0, method=sx.LRP(condition=condition))


def test_a_dimension_that_nothing_tells_has_to_be_named():
    class Swap(nn.Module):
        def forward(self, x):
            return x.transpose(1, 2)

    net = nn.Sequential(nn.Conv1d(2, 3, 2), Swap(), nn.Flatten(), nn.Linear(9, 2)).double().eval()
    x = torch.randn(2, 2, 4, dtype=torch.float64)
    with pytest.raises(sx.PlanError, match=r"Which dimension of '1', of shape \(batch, 3, 3\).*Name it"):
        sx.explain(net, x, target=0, method=sx.LRP(condition={"1": 0}))
    named = sx.explain(net, x, target=0, method=sx.LRP(condition={"1": {2: 0}}))
    first = sx.explain(net, x, target=0, method=sx.LRP(condition={"0": 0}))
    np.testing.assert_allclose(named.relevance.values, first.relevance.values, rtol=1e-12)


def test_heads_that_cannot_be_told_apart_are_refused():
    net = Reader(Attention("einsum")).double().eval()
    with pytest.raises(sx.PlanError, match=r"heads of the attention inside 'attention' cannot be told"):
        sx.explain(
            net,
            torch.randn(2, 4, 6, dtype=torch.float64),
            target=0,
            method=sx.LRP(condition={"attention": {"head": 0}}),
        )


def test_nothing_can_be_chosen_where_a_rule_of_the_input_jumps_over():
    net = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).double().eval()
    x = torch.rand(2, 4, dtype=torch.float64)
    method = sx.LRP("epsilon", input=rules.ZBox(0, 1))
    for more in (
        {"method": sx.LRP("epsilon", input=rules.ZBox(0, 1), condition={"0": 1})},
        {"method": method, "layers": ("0",)},
    ):
        with pytest.raises(sx.PlanError, match=r"shares relevance with the input directly, past '0'"):
            sx.explain(net, x, target=0, **more)
    later = sx.LRP("epsilon", input=rules.ZBox(0, 1), condition={"1": 1})
    assert sx.explain(net, x, target=0, method=later).conservation_error.max() < 1e-12
