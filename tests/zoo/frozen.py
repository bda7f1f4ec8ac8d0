"""What LRP-0 must give, by another road: the plain gradient of the network with its scales and gates frozen.

With R = a * c, LRP-0's message c is the gradient of the same function in which every factor that the rules
call constant is detached: attention weights (Ali et al. 2022), gates (Arras et al. 2019), 1 / sigma of norms,
divisors, and the slope (act(z) - act(0)) / z of an activation; of a product of two signals each half detaches
the other. `Frozen` swaps the functions of torch's public interface for such twins while the user's network
runs, so nothing here knows of captured operations, plans or rules.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

# at 0 they are finite; the slope is that of the chord from there
ACTIVATIONS = {
    *("celu", "clamp", "cos", "elu", "elu_", "exp", "gelu", "hardswish", "hardtanh", "log1p", "mish"),
    *("pow", "__pow__", "relu6", "selu", "silu", "softplus", "square", "tanh"),
}
GATES = {"hardsigmoid", "sigmoid", "softmax"}


def activation(func, z, *args, **kwargs):
    """slope * z + act(0), the slope detached; where z is 0, the slope is act'(0)."""
    kwargs.pop("inplace", None)
    with torch.enable_grad():
        nought = torch.zeros((), dtype=z.dtype, requires_grad=True)
        at_zero = func(nought.clone(), *args, **kwargs)
        (slope_at_zero,) = torch.autograd.grad(at_zero, nought)
    with torch.no_grad():
        y = func(z.clone(), *args, **kwargs)
        slope = torch.where(z == 0, slope_at_zero, (y - at_zero) / torch.where(z == 0, 1.0, z))
    return z * slope + at_zero.detach()


def logarithm(func, z):
    """No value at 0: relevance passes."""
    return z * (func(z) / z).detach()


def variance(func, x, *args, **kwargs):
    """Of degree 2: half the gradient."""
    y = func(x, *args, **kwargs)
    return y / 2 + (y / 2).detach()


def product(func, a, b):
    """Where both carry relevance, each takes half."""
    if signal(a) and signal(b):
        return (func(a, b.detach()) + func(a.detach(), b)) / 2
    return func(a, b)


def quotient(func, a, b):
    """The divisor is a constant."""
    return func(a, b.detach() if signal(b) else b)


def signal(x):
    return isinstance(x, Tensor) and x.requires_grad


def normalised(x, dims, eps):
    centred = x - x.mean(dims, keepdim=True)
    return centred / (x.var(dims, unbiased=False, keepdim=True) + eps).sqrt().detach()


def layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
    y = normalised(x, tuple(range(-len(shape), 0)), eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def group_norm(x, groups, weight=None, bias=None, eps=1e-5):
    y = normalised(x.reshape(len(x), groups, -1), (-1,), eps).reshape(x.shape)
    one_each = (-1, *(1,) * (x.dim() - 2))
    y = y if weight is None else y * weight.view(one_each)
    return y if bias is None else y + bias.view(one_each)


def instance_norm(
    x,
    running_mean=None,
    running_var=None,
    weight=None,
    bias=None,
    use_input_stats=True,
    momentum=0.1,
    eps=1e-5,
):
    assert use_input_stats
    return group_norm(x, x.shape[1], weight, bias, eps)


def attention(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
    assert not enable_gqa
    scores = q @ k.transpose(-2, -1) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        scores = scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), -torch.inf)
    if attn_mask is not None:
        scores = (
            scores.masked_fill(~attn_mask, -torch.inf)
            if attn_mask.dtype == torch.bool
            else scores + attn_mask
        )
    return scores.softmax(-1).detach() @ v


def multi_head_attention(q, k, v, width, heads, weight, bias, *options, **named):
    """nn.MultiheadAttention's function, (time, batch, width), as its documentation defines it."""
    out_weight, out_bias = options[4:6]
    assert not named.get("use_separate_proj_weight")
    time, batch, _ = q.shape
    parts = [F.linear(x, w, b) for x, w, b in zip((q, k, v), weight.chunk(3), bias.chunk(3))]
    q, k, v = (x.reshape(x.shape[0], batch, heads, -1).permute(1, 2, 0, 3) for x in parts)
    scores = q @ k.transpose(-2, -1) / (width // heads) ** 0.5
    for mask, view in (("attn_mask", lambda m: m), ("key_padding_mask", lambda m: m[:, None, None, :])):
        if named.get(mask) is not None:
            m = view(named[mask])
            scores = scores.masked_fill(m, -torch.inf) if m.dtype == torch.bool else scores + m
    out = (scores.softmax(-1).detach() @ v).permute(2, 0, 1, 3).reshape(time, batch, width)
    return F.linear(out, out_weight, out_bias), None


def lstm_step(x, state, w_in, w_rec, b):
    h, c = state
    z = F.linear(x, w_in) + F.linear(h, w_rec) + b
    i, f, g, o = z.chunk(4, -1)
    i, f, o = (gate.sigmoid().detach() for gate in (i, f, o))
    c = f * c + i * activation(torch.tanh, g)
    return o * activation(torch.tanh, c), c


def gru_step(x, state, w_in, w_rec, b_in, b_rec):
    (h,) = state
    r, z, n = (F.linear(x, w_in) + b_in).chunk(3, -1)
    rh, zh, nh = (F.linear(h, w_rec) + b_rec).chunk(3, -1)
    r, z = (r + rh).sigmoid().detach(), (z + zh).sigmoid().detach()
    return ((1 - z) * activation(torch.tanh, n + r * nh) + z * h,)


def relu_step(x, state, w_in, w_rec, b):
    return (F.relu(F.linear(x, w_in) + F.linear(state[0], w_rec) + b),)


def recurrent(step, states, one_bias):
    def run(x, hidden, weights, bias, layers, dropout, training, bidirectional, batch_first=False):
        assert bias
        assert not training
        x = x.transpose(0, 1) if batch_first else x
        hidden = hidden if isinstance(hidden, (tuple, list)) else (hidden,)
        weights, last = list(weights), [[] for _ in range(states)]
        for layer in range(layers):
            outs = []
            for direction in range(1 + bidirectional):
                w_in, w_rec, b_in, b_rec = (weights.pop(0) for _ in range(4))
                biases = (b_in + b_rec,) if one_bias else (b_in, b_rec)
                state = tuple(h[layer * (1 + bidirectional) + direction] for h in hidden)
                steps = range(len(x))
                found = {}
                for t in reversed(steps) if direction else steps:
                    state = step(x[t], state, w_in, w_rec, *biases)
                    found[t] = state[0]
                outs.append(torch.stack([found[t] for t in steps]))
                for kept, s in zip(last, state):
                    kept.append(s)
            x = torch.cat(outs, -1)
        return (x.transpose(0, 1) if batch_first else x, *(torch.stack(s) for s in last))

    return run


# these get the function itself too
ALTERED = {
    **dict.fromkeys(ACTIVATIONS, activation),
    **dict.fromkeys(("mul", "__mul__", "__rmul__", "bmm", "matmul", "__matmul__"), product),
    **dict.fromkeys(("div", "true_divide", "__truediv__"), quotient),
    "log": logarithm,
    "var": variance,
}
TWINS = {
    "layer_norm": layer_norm,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    "scaled_dot_product_attention": attention,
    "multi_head_attention_forward": multi_head_attention,
    "lstm": recurrent(lstm_step, 2, one_bias=True),
    "gru": recurrent(gru_step, 1, one_bias=False),
    "rnn_relu": recurrent(relu_step, 1, one_bias=True),
}


class Frozen(TorchFunctionMode):
    """While it is on, networks run as their own frozen twins.

    Parameters
    ----------
    ids : integer tensor, optional
        Words or charges: the rows of a table that they choose become a leaf, in `leaves`.
    gates : names of functions
        Whose results are detached, beside softmax and sigmoids: a network that squashes by relu6 adds that.
    """

    def __init__(self, ids=None, gates=()):
        super().__init__()
        self.ids, self.gates, self.leaves = ids, GATES | set(gates), []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in self.gates:
            return func(*args, **kwargs).detach()
        if name in ALTERED and any(map(signal, args)):
            return ALTERED[name](func, *args, **kwargs)
        if name == "glu":
            a, gate = args[0].chunk(2, kwargs.get("dim", args[1] if len(args) > 1 else -1))
            return a * gate.sigmoid().detach()
        if name in ("embedding", "__getitem__"):  # also written as rows of a table
            out = func(*args, **kwargs)
            chosen = args[0] if name == "embedding" else args[1]
            table = name == "embedding" or isinstance(args[0], torch.nn.Parameter)
            given = self.ids is not None and table and isinstance(chosen, torch.Tensor)
            if given and torch.equal(chosen.flatten(), self.ids.flatten()):
                out = out.detach().requires_grad_()
                self.leaves.append(out)
            return out
        if name in TWINS:
            return TWINS[name](*args, **kwargs)
        return func(*args, **kwargs)
