"""What every network of the zoo must pass, whatever it is made of."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import sciexplain as sx
from sciexplain import rules
from tests.lrp.test_leaves_no_trace import same, state
from tests.zoo.frozen import Frozen

COMPOSITES = ("epsilon", "epsilon_plus", "epsilon_gamma")
TOLERANCE = 1e-4
NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm1d)


def as_given(outputs):
    return outputs


@dataclass(frozen=True)
class Case:
    """A network and how to feed it.

    Attributes
    ----------
    make : () -> model
        A module, or a function of tensors that calls one.
    inputs : batch size -> inputs
        A tensor, a tuple (by position) or a dict (by keyword).
    logits : the model's outputs -> (rows, outputs)
        The largest of each row is what is explained, unless `options` has a target.
    options : arguments of `sx.explain`
    whole : bool
        Rows of inputs are not rows of outputs: relevance adds up over the batch.
    gates : function names
        Gates beside sigmoids and softmax (see `Frozen`).
    alike : net -> None
        Replaces modules of the frozen copy by others that are the same function in one call.
    double : bool
        It has a form in float64; networks that call `.float()` have none, and rounding is allowed for.
    ids : inputs -> the integer tensor that embeddings read, if that is the input
    """

    make: Callable[[], Any]
    inputs: Callable[[int], Any]
    logits: Callable[[Any], Tensor] = as_given
    options: Mapping[str, Any] = field(default_factory=dict)
    whole: bool = False
    gates: tuple[str, ...] = ()
    alike: Callable[[nn.Module], None] | None = None
    ids: Callable[[Any], Tensor] | None = None
    double: bool = True

    @property
    def seen(self):
        """The score that a plain forward gives, one per row."""
        target = self.options.get("target")
        return target if callable(target) else lambda outputs: self.logits(outputs).max(dim=1).values


def call(model, inputs):
    if isinstance(inputs, tuple):
        return model(*inputs)
    return model(**inputs) if isinstance(inputs, Mapping) else model(inputs)


def each(function, inputs):
    """`function` of every tensor in the inputs."""
    if isinstance(inputs, Tensor):
        return function(inputs)
    if isinstance(inputs, Mapping):
        return {k: each(function, v) for k, v in inputs.items()}
    return tuple(each(function, v) for v in inputs) if isinstance(inputs, (tuple, list)) else inputs


def doubled(inputs):
    return each(lambda x: x.double() if x.is_floating_point() else x, inputs)


def built(case):
    """The network as after training: running statistics of data, norms that scale and shift, no bias of 0."""
    torch.manual_seed(1)
    net = case.make()
    if not isinstance(net, nn.Module):
        return net
    net.eval()
    norms = [m for m in net.modules() if isinstance(m, NORMS) and m.weight is not None]
    with torch.no_grad():
        for m in net.modules():
            for name, p in m.named_parameters(recurse=False):
                if name.endswith("bias") and (p == 0).all():
                    p.normal_(0, 0.1)
        for m in norms:
            m.weight.uniform_(0.5, 1.5)
            m.bias.normal_(0, 0.2)
        running = [m for m in norms if isinstance(m, NORMS[0])]
        if running:
            for m in running:
                m.momentum = None
                m.train()
            call(net, case.inputs(8))
        net.eval()
        call(net, case.inputs(1))  # some register hooks of their own the first time
    return net


def relevances(ds):
    found = [v for k, v in ds.data_vars.items() if str(k) == "relevance" or str(k).startswith("relevance_")]
    assert found
    return found


def per_row(array, whole):
    """float64 sums per sample, or over all."""
    values = array.values.astype(np.float64)
    return values.sum() if whole else values.reshape(len(values), -1).sum(1)


def conservation_error(ds, whole=False):
    """|score - relevance - absorbed| relative to max(|score|, sum |relevance|), from the numbers alone."""
    score, absorbed = per_row(ds.score, whole), per_row(ds.absorbed, whole)
    total = sum(per_row(r, whole) for r in relevances(ds))
    size = sum(per_row(abs(r), whole) for r in relevances(ds))
    return np.abs(score - total - absorbed) / np.maximum(np.abs(score), size)


def check_explained(net, case, composite, x):
    """Conserves, explains the model's own output, leaves no trace. Returns the dataset."""
    before = state(net) if isinstance(net, nn.Module) else None
    given = each(torch.clone, x)
    ds = sx.explain(net, x, method=sx.LRP(composite), **case.options)
    if before is not None:
        same(before, state(net))
    for a, b in zip(tensors(x), tensors(given), strict=True):
        assert torch.equal(a, b)
    with torch.no_grad():
        want = case.seen(call(net, x)).double().numpy()
    np.testing.assert_allclose(ds.score.values, want, rtol=2e-4, atol=2e-5 * np.abs(want).max())
    for r in relevances(ds):
        assert np.isfinite(r.values).all()
    assert sum(float(abs(r).sum()) for r in relevances(ds)) > 1e-3 * np.abs(want).max(), (
        "nothing reached the input"
    )
    error = conservation_error(ds, case.whole)
    assert (error <= TOLERANCE).all(), error
    assert (ds.conservation_error.values <= TOLERANCE).all()
    return ds


def tensors(inputs):
    if isinstance(inputs, Tensor):
        return [inputs]
    values = inputs.values() if isinstance(inputs, Mapping) else inputs
    return [x for v in values if isinstance(v, (Tensor, tuple, list, Mapping)) for x in tensors(v)]


def check_frozen(net, case, batch=2):
    """LRP-0 in float64 is input times gradient of the frozen network."""
    net = copy.deepcopy(net).requires_grad_(False)
    x = case.inputs(batch)
    if case.double:
        net, x = net.double(), doubled(x)
    got = relevances(sx.explain(net, x, method=sx.LRP(rules.Zero()), **case.options))
    leaves = [
        t.float().requires_grad_() if t.dtype == torch.uint8 else t.requires_grad_()
        for t in tensors(each(torch.clone, x))
        if carries(t)
    ]
    waiting = (leaf.clone() for leaf in leaves)  # networks may write into their input
    fed = each(lambda t: next(waiting) if carries(t) else t, x)
    ids = case.ids(x) if case.ids else None
    if case.alike:
        case.alike(net)
    with torch.enable_grad(), Frozen(ids, case.gates) as mode:
        score = case.seen(call(net, fed))
    with torch.no_grad():  # frozen or not, the values are the network's own
        np.testing.assert_allclose(
            score.detach().numpy(), case.seen(call(net, x)).numpy(), rtol=1e-9 if case.double else 1e-5
        )
    leaves = mode.leaves + leaves
    gradients = torch.autograd.grad(score.sum(), leaves)
    want = [(a * g).detach() for a, g in zip(leaves, gradients)]
    want[: len(mode.leaves)] = [w.sum(-1) for w in want[: len(mode.leaves)]]
    assert len(got) == len(want)
    rtol, atol = (1e-7, 1e-9) if case.double else (1e-3, 1e-4)
    for g, w in zip(got, want):
        scale = float(w.abs().max())
        assert scale > 0
        np.testing.assert_allclose(g.values, w.numpy(), rtol=rtol, atol=atol * scale)


def carries(x):
    return x.is_floating_point() or x.dtype == torch.uint8
