"""Recurrent layers as users have them: long, in float32, started by signals, projected, in other batches."""

import numpy as np
import pytest
import torch
from torch import nn

import sciexplain as sx
from sciexplain import rules
from tests.lrp.helpers import lrp

KINDS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
EVERY = [
    rules.Zero(),
    rules.Epsilon(1e-3),
    rules.Epsilon(1e-2, bias="exclude"),
    rules.Gamma(0.25),
    rules.Gamma(0.5, bias="distribute"),
    rules.AlphaBeta(2, 1),
    rules.AlphaBeta(2, 1, bias="absorb"),
    rules.ZPlus(bias="distribute"),
]
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


class Reader(nn.Module):
    """Sequences (sample, time, feature) to scores, through the last hidden state of each direction."""

    def __init__(self, kind, features=4, hidden=5, **options):
        super().__init__()
        self.reader = kind(features, hidden, batch_first=True, **options)
        width = options.get("proj_size") or hidden
        self.head = nn.Linear(width * (2 if options.get("bidirectional") else 1), 3)

    def forward(self, x):
        out, _ = self.reader(x)
        if not self.reader.bidirectional:
            return self.head(out[:, -1])
        ahead, back = out.chunk(2, -1)
        return self.head(torch.cat([ahead[:, -1], back[:, 0]], 1))


class Sequence(nn.Module):
    """All hidden states, those of one direction, or some."""

    def __init__(self, reader, columns=slice(None)):
        super().__init__()
        self.reader, self.columns = reader, columns

    def forward(self, x):
        return self.reader(x)[0][..., self.columns]


# Sums and samples


@pytest.mark.parametrize("rule", [rules.Zero(), rules.Epsilon(1e-6), rules.Gamma(0.25)])
@pytest.mark.parametrize("bidirectional", [False, True])
@each_kind
def test_long_sequences_add_up_in_float32(kind, bidirectional, rule):
    net = Reader(kind, 8, 16, bidirectional=bidirectional).eval()
    ds = lrp(net, torch.randn(3, 200, 8), rule, target="predicted")
    found = ds.relevance.values.astype(np.float64).sum((1, 2)) + ds.absorbed.values.sum(1)
    np.testing.assert_allclose(found, ds.score.values, rtol=1e-5)


@pytest.mark.parametrize("rule", EVERY)
@each_kind
def test_a_sample_alone_gets_what_it_gets_in_a_batch(kind, rule):
    net = Reader(kind, bidirectional=True, num_layers=2).double().eval()
    x, R = torch.randn(5, 7, 4).double(), torch.randn(5, 3).double()
    together = lrp(net, x, rule, R)
    for i in range(5):
        alone = lrp(net, x[i : i + 1], rule, R[i : i + 1])
        np.testing.assert_allclose(alone.relevance[0], together.relevance[i], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(alone.absorbed[0], together.absorbed[i], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rule", EVERY)
def test_several_targets_get_what_each_gets_alone(rule):
    net = Reader(nn.LSTM, bidirectional=True, proj_size=2).double().eval()
    x = torch.randn(2, 6, 4).double()
    both = lrp(net, x, rule, target=sx.Targets([0, 2]))
    for i, target in enumerate((0, 2)):
        alone = lrp(net, x, rule, target=target)
        np.testing.assert_allclose(both.relevance[i], alone.relevance, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("rule", EVERY)
@each_kind
def test_both_directions_get_theirs(kind, rule):
    """The backward direction reads the mirrored sequence with weights of its own."""
    both = kind(4, 5, batch_first=True, bidirectional=True).double().eval()
    x, R = torch.randn(2, 6, 4).double(), torch.randn(2, 6, 10).double()
    found = lrp(Sequence(both), x, rule, R)
    want, absorbed = 0, 0
    for suffix, columns, dims in (("", slice(0, 5), ()), ("_reverse", slice(5, 10), (1,))):
        one = kind(4, 5, batch_first=True).double().eval()
        one.load_state_dict({k: both.state_dict()[k + suffix] for k in one.state_dict()})
        ds = lrp(Sequence(one), x.flip(dims), rule, R[..., columns].flip(dims))
        assert abs(ds.relevance).sum() > 0.1
        want = want + torch.tensor(ds.relevance.values).flip(dims).numpy()
        absorbed = absorbed + ds.absorbed.sum("operation").values
    np.testing.assert_allclose(found.relevance, want, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.absorbed.sum("operation"), absorbed, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("rule", EVERY)
@each_kind
def test_a_cell_in_a_loop_is_the_layer(kind, rule):
    layer = kind(4, 5, batch_first=True).double().eval()
    cell = {nn.LSTM: nn.LSTMCell, nn.GRU: nn.GRUCell, nn.RNN: nn.RNNCell}[kind](4, 5).double().eval()
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})

    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = cell

        def forward(self, x):
            state, found = None, []
            for t in range(x.shape[1]):
                state = self.cell(x[:, t], state)
                found.append(state[0] if kind is nn.LSTM else state)
            return torch.stack(found, 1)

    x, R = torch.randn(2, 4, 4).double(), torch.randn(2, 4, 5).double()
    a, b = lrp(Sequence(layer), x, rule, R), lrp(Loop(), x, rule, R)
    np.testing.assert_allclose(a.relevance, b.relevance, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(a.absorbed.sum("operation"), b.absorbed.sum("operation"), rtol=1e-10)


# Against gradients of the network with frozen gates, written out


def line(z, act):
    """act(z) as a multiple of z that no gradient sees."""
    return z * (act(z) / z).detach()


def frozen(module, x, state=None):
    """The layer of one direction (sample, time, feature) whose only gradients are those of the signal."""
    weights = dict(module.named_parameters())
    W, U = weights["weight_ih_l0"], weights["weight_hh_l0"]
    b, d = (weights.get(f"bias_{k}_l0", torch.zeros(len(W), dtype=x.dtype)) for k in ("ih", "hh"))
    P = weights.get("weight_hr_l0")
    width = U.shape[1]
    h = torch.zeros(len(x), width, dtype=x.dtype) if state is None else state[0]
    c = torch.zeros(len(x), module.hidden_size, dtype=x.dtype) if state is None else state[1]
    found = []
    for t in range(x.shape[1]):
        z = (x[:, t] @ W.T + b).split(module.hidden_size, 1)
        y = (h @ U.T + d).split(module.hidden_size, 1)
        if isinstance(module, nn.LSTM):
            i, f, o = (torch.sigmoid(z[k] + y[k]).detach() for k in (0, 1, 3))
            c = f * c + i * line(z[2] + y[2], torch.tanh)
            h = o * line(c, torch.tanh)
            h = h if P is None else h @ P.T
        elif isinstance(module, nn.GRU):
            r, u = (torch.sigmoid(z[k] + y[k]).detach() for k in (0, 1))
            h = (1 - u) * line(z[2] + r * y[2], torch.tanh) + u * h
        else:
            h = line(z[0] + y[0], getattr(torch, module.nonlinearity))
        found.append(h)
    return torch.stack(found, 1), (h, c)


def through_gradient(function, x, R):
    """x times the gradient of what yields R at the output."""
    x = x.clone().requires_grad_()
    out = function(x)
    (gradient,) = torch.autograd.grad((out * (R / out).detach()).sum(), x)
    return (gradient * x).detach().numpy()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (nn.LSTM, {}), (nn.LSTM, {"proj_size": 2}), (nn.GRU, {}), (nn.RNN, {}),
        (nn.RNN, {"nonlinearity": "relu"}),
    ],
)  # fmt: skip
def test_rule_zero_is_the_gradient_of_the_frozen_layer(kind, options, bias):
    layer = kind(4, 5, batch_first=True, bias=bias, **options).double().eval()
    x = torch.randn(3, 6, 4).double()
    R = torch.randn(layer(x)[0].shape).double() * (layer(x)[0].detach() != 0)  # a dead unit yields nothing
    ds = lrp(Sequence(layer), x, rules.Zero(), R)

    def last(x):
        out = frozen(layer, x)[0]
        np.testing.assert_allclose(out.detach(), layer(x)[0].detach(), rtol=1e-12, atol=1e-14)
        return torch.where(R == 0, 1, out)

    want = through_gradient(last, x, R)
    np.testing.assert_allclose(ds.relevance, want, rtol=1e-10, atol=1e-12)
    if not bias:
        np.testing.assert_allclose(ds.absorbed.sum("operation"), 0, atol=1e-12)


class Translator(nn.Module):
    """A second layer that starts where the first has ended; it reads the sequence again, or a constant."""

    def __init__(self, kind, again):
        super().__init__()
        self.encoder, self.decoder = kind(4, 5, batch_first=True), kind(4, 5, batch_first=True)
        self.start, self.again = nn.Parameter(torch.randn(1, 3, 4)), again

    def forward(self, x):
        _, state = self.encoder(x)
        return self.decoder(x if self.again else self.start.expand(x.shape[0], -1, -1), state)[0][:, -1]


@pytest.mark.parametrize("again", [True, False])
@each_kind
def test_states_hand_relevance_on(kind, again):
    net = Translator(kind, again).double().eval()
    x, R = torch.randn(3, 6, 4).double(), torch.randn(3, 5).double()
    ds = lrp(net, x, rules.Zero(), R)

    def whole(x):
        _, state = frozen(net.encoder, x)
        return frozen(net.decoder, x if again else net.start.expand(3, -1, -1), state)[0][:, -1]

    np.testing.assert_allclose(ds.relevance, through_gradient(whole, x, R), rtol=1e-10, atol=1e-12)
    missing = R.sum(1).numpy() - ds.relevance.sum(("dim_1", "dim_2")).values
    np.testing.assert_allclose(ds.absorbed.sum("operation"), missing, rtol=1e-10)


def test_the_projection_follows_the_rule():
    """With gamma so large that only its sign's contributions count, checked at one time step."""
    layer = nn.LSTM(3, 4, batch_first=True, proj_size=2, bias=False).double().eval()
    x, R = torch.randn(1, 1, 3).double(), torch.randn(1, 1, 2).double()
    found = lrp(Sequence(layer), x, rules.Gamma(1e9), R).relevance.values[0, 0]
    a, R = x[0, 0].numpy(), R[0, 0].numpy()
    W, P = (getattr(layer, f"weight_{k}_l0").detach().numpy() for k in ("ih", "hr"))
    gates = W @ a
    candidate = gates[8:12]
    h = np.tanh(np.tanh(candidate) / (1 + np.exp(-gates[:4]))) / (1 + np.exp(-gates[12:]))

    def share(weight, a, R):
        p = weight * a
        same = p * (p * p.sum(1, keepdims=True) > 0)
        return R @ (same / same.sum(1, keepdims=True))

    np.testing.assert_allclose(found, share(W[8:12], a, share(P, h, R)), rtol=1e-6, atol=1e-8)


# Composites and refusals


def test_a_path_gives_the_layer_its_rule():
    net = Reader(nn.LSTM).double().eval()
    x, R = torch.randn(2, 6, 4).double(), torch.randn(2, 3).double()
    chosen = sx.Composite({"reader": rules.Gamma(0.25), "linear": rules.Zero()})
    rows = sx.plan(net, x, sx.LRP(chosen))
    assert dict(zip(rows["path"], rows["rule"]))["head"] == "Zero()"
    assert rows["rule"][list(rows["path"]).index("reader")] == "Gamma(gamma=0.25)"
    hidden = net.reader(x)[0][:, -1].detach()
    share = hidden * ((R / net.head(hidden)).detach() @ net.head.weight.detach())
    given = torch.zeros(2, 6, 5).double()
    given[:, -1] = share
    want = lrp(Sequence(net.reader), x, rules.Gamma(0.25), given)
    np.testing.assert_allclose(lrp(net, x, chosen, R).relevance, want.relevance, rtol=1e-9, atol=1e-12)
    other = lrp(net, x, rules.Zero(), R)
    assert abs(other.relevance - want.relevance).max() > 1e-3


def test_dropout_between_layers_in_training_mode_is_refused():
    net = Reader(nn.LSTM, num_layers=2, dropout=0.5)
    with pytest.raises(sx.UnsupportedOperationError, match=r"aten.lstm +reader[^!]*model.eval\(\)"):
        lrp(net, torch.randn(2, 6, 4), "epsilon")


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.reader = nn.LSTM(4, 5, batch_first=True)

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        return self.reader(packed)[1][0][-1]


def test_packed_sequences_are_refused():
    inputs = (torch.randn(3, 6, 4), torch.tensor([6, 4, 2]))
    with pytest.raises(
        sx.CaptureError, match=r"test_recurrent.py:\d+: packed = .*[^!]*sequences of one length"
    ):
        sx.explain(Packed(), inputs, target=0, method="lrp")


class Windows(nn.Module):
    """Several sequences of each sample, read as a batch of their own."""

    def __init__(self, batch_first):
        super().__init__()
        self.reader, self.first = nn.GRU(4, 5, batch_first=batch_first), batch_first

    def forward(self, x):
        windows = x.reshape(x.shape[0] * 3, 2, 4)
        out, _ = self.reader(windows if self.first else windows.transpose(0, 1))
        return (out[:, -1] if self.first else out[-1]).reshape(x.shape[0], 3, 5).sum(1)


@pytest.mark.parametrize("batch_first", [True, False])
def test_what_windows_absorb_is_told_per_sample(batch_first):
    net = Windows(batch_first).double().eval()
    x, R = torch.randn(4, 6, 4).double(), torch.randn(4, 5).double()
    ds = lrp(net, x, rules.Gamma(0.25), R)
    missing = R.sum(1).numpy() - ds.relevance.values.sum((1, 2))
    np.testing.assert_allclose(ds.absorbed.sum("operation"), missing, rtol=1e-9)


def test_rules_for_the_input_alone_are_refused():
    with pytest.raises(sx.PlanError, match=r"ZBox.*reader \(aten.gru"):
        lrp(Reader(nn.GRU).eval(), torch.rand(2, 6, 4), sx.Composite({"reader": rules.ZBox(0, 1)}))
