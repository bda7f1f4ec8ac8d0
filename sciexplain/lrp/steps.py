"""The twins of operations without weights: each builder turns a planned operation into a step of the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from .capture import shape_of
from .operations.table import argument
from .plan import Planned, has_constants
from .rows import Whole, rows_of
from .rules import Half, SignalTakesAll
from .sources import carry_places
from .twins import Activation, Attend, Bags, Normalised, PassOn, Product, Scale, Source, Taylor, tap
from .values import Values, fill, norm_scale, run_fixed, run_node

if TYPE_CHECKING:
    from .rewrite import Session

aten = torch.ops.aten
Step = Callable[[Values], Any]


def identity(session: Session, item: Planned) -> Step:
    """The input itself."""
    node = item.node
    return lambda values: values[node.args[0]].view_as(values[node.args[0]])


def homogeneous(session: Session, item: Planned) -> Step:
    """The gradient, divided by the degree, is the message."""
    node, places, degree = item.node, item.places, item.entry.degree
    if degree == 1:
        return lambda values: run_fixed(node, values, places)

    def step(values: Values) -> Any:
        n = degree(node) if callable(degree) else degree
        return Scale.apply(run_fixed(node, values, places), 1 / n)

    return step


def affine(session: Session, item: Planned) -> Step:
    """Values move or add up; what is constant among them absorbs its share."""
    if not has_constants(item):
        return homogeneous(session, item)
    node, open_account = item.node, session.account(item)
    wins = item.name.split(".")[-1] in ("maximum", "minimum", "max", "min")

    def step(values: Values) -> Any:
        y = run_fixed(node, values, item.places)
        with torch.no_grad():
            if wins:
                constant = next(v for v in node.args[:2] if v not in item.signals)
                k_value = fill(constant, values)
                k = torch.where(y == k_value, y, 0)
                other = fill(next(v for v in node.args[:2] if v in item.signals), values)
                k = torch.where(other == k_value, k / 2, k)  # autograd splits ties
            else:
                zeros = {s: torch.zeros_like(values[s]) for s in item.signals}
                k = run_node(node, {**{n: values[n] for n in node.all_input_nodes}, **zeros})
        return tap(y, k, open_account(values))

    return step


def activation(session: Session, item: Planned) -> Step:
    """Elementwise functions; act(0) is a constant."""
    node, open_account = item.node, session.account(item)
    at_zero, slope = value_and_slope_at_zero(node)
    finite = abs(at_zero) < float("inf")
    # log and others without a value at 0 pass R on unchanged
    constant = at_zero if finite else 0.0
    books = bool(constant) or not finite

    def step(values: Values) -> Any:
        z = values[node.args[0]]
        with torch.no_grad():
            y = run_node(node, values)
        account = open_account(values) if books else None
        return Activation.apply(z, account.slot if account else None, y, constant, slope, account)

    return step


def value_and_slope_at_zero(node: fx.Node) -> tuple[float, float]:
    """act(0) and act'(0) of an elementwise operation with its own parameters; an infinite slope counts as 0.

    Computed from the operation itself, so that the table of operations holds no constants.
    """
    with torch.enable_grad():
        z = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        y = node.target(z, *node.args[1:], **node.kwargs)  # type: ignore[operator]
        slope = torch.autograd.grad(y.sum(), z)[0].item() if y.requires_grad else 0.0
    value = y.item()
    if not abs(value) < float("inf") or value != value:
        return float("inf"), 0.0
    return value, slope if abs(slope) < float("inf") else 0.0


def batch_norm(session: Session, item: Planned) -> Step:
    """Batch norm that no linear operation takes in."""
    node, open_account = item.node, session.account(item)

    def step(values: Values) -> Any:
        scale, shift = norm_scale(node, values)
        z = values[node.args[0]]
        shape = (1, -1) + (1,) * (z.dim() - 2)
        y = z * scale.reshape(shape).to(z.dtype) + shift.reshape(shape).to(z.dtype)
        y = tap(y, shift.reshape(shape).to(z.dtype).expand(y.shape), open_account(values))
        return (y,) if isinstance(node.meta.get("val"), (tuple, list)) else y

    return step


def product(session: Session, item: Planned) -> Step:
    """Elementwise products, and sums of products of two signals with a constant bias or term."""
    node, places = item.node, item.places
    share = 0.5 if isinstance(item.product, Half) else 1.0
    place, scale = _term(node)
    if place is None:
        if share == 1:
            return lambda values: run_fixed(node, values, places)
        if item.entry.kind == "product" and item.name in ("aten.mul", "aten.multiply"):
            return lambda values: Product.apply(values[node.args[0]], values[node.args[1]])
        return lambda values: Scale.apply(run_fixed(node, values, places), share)
    term = node.args[place] if place is not None and place < len(node.args) else None
    open_account = session.account(item) if term is not None and term not in item.signals else None

    def step(values: Values) -> Any:
        if term is None:
            return Scale.apply(run_fixed(node, values, places), share)
        alone = torch.zeros_like(values[term])
        # the bias of a convolution has another shape than its result: the term is what the products lack
        y = run_fixed(node, {**values, term: alone}, places)
        with torch.no_grad():
            k = run_fixed(node, values, places) - y
        if open_account is None:
            return Scale.apply(y, share) + scale * values[term]
        y = Scale.apply(y, share) + k
        return tap(y, k, open_account(values))

    return step


def _term(node: fx.Node) -> tuple[int | None, float]:
    """The place of what is added to a product, and its factor."""
    name = node.target._schema.name.split("::")[-1]  # type: ignore[union-attr]
    if name in ("addmm", "baddbmm", "addmv"):
        return 0, argument(node, "beta", 1)
    if name in ("linear", "bilinear") or "conv" in name:
        return [a.name for a in node.target._schema.arguments].index("bias"), 1  # type: ignore[union-attr]
    return None, 1


def gated(session: Session, item: Planned) -> Step:
    """a sigmoid(b) of the two halves of one tensor, in one call."""
    node, rule = item.node, item.product
    whole, half = isinstance(rule, Half), 0.5 if isinstance(rule, Half) else 1.0
    signal_first = not (isinstance(rule, SignalTakesAll) and rule.signal == "second")
    dim = argument(node, "dim", -1)
    open_account = session.account(item) if whole or not signal_first else None

    def step(values: Values) -> Any:
        a, b = values[node.args[0]].chunk(2, dim)
        gate = torch.sigmoid(b.detach())
        if open_account is not None:
            account = open_account(values)
            gate = Activation.apply(b, account.slot, gate, 0.5, 0.25, account)
        return Scale.apply((a if whole or signal_first else a.detach()) * gate, half)

    return step


def quotient(session: Session, item: Planned) -> Step:
    """Divisors are constant unless a rule gives them half; alone they pass R on."""
    node, places = item.node, item.places
    names = [a.name for a in node.target._schema.arguments[:2]]  # type: ignore[union-attr]
    assert len(names) == 2
    divisor_only = set(item.sharing.carrying) == {1}
    if not divisor_only and not isinstance(item.product, Half):
        return lambda values: run_fixed(node, values, places)
    open_account = session.account(item)
    half = 1.0 if divisor_only else 0.5

    def step(values: Values) -> Any:
        top, bottom = fill(node.args[0], values), values[node.args[1]]
        with torch.no_grad():
            y = run_node(node, values)
        through = PassOn.apply(bottom, (account := open_account(values)).slot, y, account)
        if divisor_only:
            return through
        # both ways give y; half the message goes each
        return Scale.apply(top / bottom.detach(), half) + Scale.apply(through, half) - y

    return step


def taylor(session: Session, item: Planned) -> Step:
    """First order at the input."""
    node = item.node
    signals = list(dict.fromkeys(item.sharing.carrying.values()))
    rows = [rows_of(s, session.batch) for s in (*signals, node)]
    if (
        not all(r.samples for r in rows)
        and len({str((shape_of(s) or (1,))[0]) for s in (*signals, node)}) > 1
    ):
        rows = [Whole()] * len(rows)
    open_account = session.account(item, rows[-1])

    def step(values: Values) -> Any:
        fixed = {n: values[n] for n in node.all_input_nodes}

        def run(*xs: Tensor) -> Tensor:
            return run_fixed(node, {**fixed, **dict(zip(signals, xs))}, item.places)

        account = open_account(values)
        return Taylor.apply(account.slot, run, account, rows[:-1], *(values[s] for s in signals))

    return step


def scaled(session: Session, item: Planned) -> Step:
    """Layer, group, instance and RMS norm."""
    node, open_account = item.node, session.account(item)
    name = node.target._schema.name.split("::")[-1]  # type: ignore[union-attr]
    centred, channelwise = "rms" not in name, "group" in name or "instance" in name

    def step(values: Values) -> Any:
        x = values[node.args[0]]
        w, b = (fill(argument(node, k), values) for k in ("weight", "bias"))
        with torch.no_grad():
            y, scale, grouped, dims = _normalise(node, name, x.detach(), w, b)
            w, b = (_spread(v, x, channelwise) for v in (w, b))
        account = open_account(values)
        out = Normalised.apply(
            x, account.slot, y, scale.to(x.dtype), grouped, dims if centred else (), w, b, account
        )
        if not name.startswith("native"):
            return out
        return (out, *run_node(node, {**values, node.args[0]: x.detach()})[1:])

    return step


def _normalise(
    node: fx.Node, name: str, x: Tensor, w: Tensor | None, b: Tensor | None
) -> tuple[Tensor, Tensor, tuple[int, ...], tuple[int, ...]]:
    """The result, the scale, the shape in which it was taken, and the dimensions over which."""
    eps = argument(node, "eps")
    if "layer_norm" in name:
        shape = argument(node, "normalized_shape")
        y, _, scale = aten.native_layer_norm(x, shape, w, b, eps)
        return y, scale, tuple(x.shape), tuple(range(x.dim() - len(shape), x.dim()))
    if "rms" in name:
        dims = tuple(range(x.dim() - len(argument(node, "normalized_shape")), x.dim()))
        eps = torch.finfo(x.dtype).eps if eps is None else eps
        wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        scale = (wide.square().mean(dims, keepdim=True) + eps).rsqrt()
        y = (wide * scale).to(x.dtype)
        return y if w is None else y * w, scale, tuple(x.shape), dims
    n, channels = x.shape[:2]
    groups = channels if "instance" in name else argument(node, "num_groups", argument(node, "group"))
    places = x[0, 0].numel()
    y, _, scale = aten.native_group_norm(x.contiguous(), w, b, n, channels, places, groups, eps)
    grouped = (n, groups, channels // groups, *x.shape[2:])
    return y, scale.reshape(n, groups, *[1] * (len(grouped) - 2)), grouped, tuple(range(2, len(grouped)))


def _spread(w: Any, x: Tensor, channelwise: bool) -> Tensor | None:
    if w is None:
        return None
    w = w.reshape(1, -1, *[1] * (x.dim() - 2)) if channelwise else w
    return w.expand(x.shape)


def embedding(session: Session, item: Planned) -> Step:
    """Rows of a table that is a signal itself: values move."""
    return homogeneous(session, item)


def source(session: Session, item: Planned) -> Step:
    """The start of an integer input's relevance."""
    node, start = item.node, item.source
    assert start is not None

    def step(values: Values) -> Any:
        with torch.no_grad():
            y = run_node(node, values)
        carrier = carry_places(start, values["carriers"][start.input], values)
        if isinstance(y, tuple):
            return (Bags.apply(carrier, y[0], *_bags(node, values, y[0])), *y[1:])
        if not start.rows:
            carrier = carrier.expand(y.shape)
            values["carriers"][node] = carrier  # for rules of the input that share directly
        return Source.apply(carrier, y)

    return step


def _bags(node: fx.Node, values: Values, y: Tensor) -> tuple[Tensor, Tensor]:
    """What each index adds to its bag (index, feature), and its bag (index,)."""
    weight, indices, offsets = (fill(a, values) for a in node.args[:3])
    if argument(node, "include_last_offset", False):
        offsets = offsets[:-1]
    places = torch.arange(len(indices), device=indices.device)
    bag = torch.searchsorted(offsets.contiguous(), places, right=True) - 1
    with torch.no_grad():
        rows = weight[indices]
        padding = argument(node, "padding_idx")
        counts = torch.ones_like(indices) if padding is None else indices != padding
        counts = counts.to(rows.dtype)
        mode = argument(node, "mode", 0)
        if mode == 2:
            wins = (rows == y[bag]) * counts[:, None]
            ties = torch.zeros_like(y).index_add(0, bag, wins)
            return rows * wins / ties[bag].clamp(min=1), bag
        weights = fill(argument(node, "per_sample_weights"), values)
        factor = counts if weights is None else counts * weights
        if mode == 1:
            factor = factor / torch.zeros_like(y[:, 0]).index_add(0, bag, counts).clamp(min=1)[bag]
        return rows * factor[:, None], bag


def attention(session: Session, item: Planned) -> Step:
    """Scaled dot-product attention in one call."""
    node = item.node
    share = item.product
    q, k, v = node.args[:3]
    if share is not None and isinstance(share, Half):
        return _whole_attention(session, item)
    constant = 2 not in item.sharing.carrying

    def step(values: Values) -> Any:
        with torch.no_grad():
            y = run_node(node, values)
        queries, keys = values[q].detach(), values[k].detach()
        mask = fill(argument(node, "attn_mask"), values)  # read now: values are let go as the run goes on
        return Attend.apply(values[v], y, lambda: _weights(node, queries, keys, mask))

    return _whole_attention(session, item) if constant else step


def _scores(node: fx.Node, q: Tensor, k: Tensor) -> Tensor:
    scale = argument(node, "scale")
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    if argument(node, "enable_gqa", False):
        k = k.repeat_interleave(q.shape[-3] // k.shape[-3], -3)
    return (q * scale) @ k.transpose(-2, -1)


def _masked(node: fx.Node, scores: Tensor, mask: Any) -> Tensor:
    if argument(node, "is_causal", False):
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is None:
        return scores
    if mask.dtype == torch.bool:
        return scores.masked_fill(~mask, -torch.inf)
    return scores + mask


def _weights(node: fx.Node, q: Tensor, k: Tensor, mask: Any) -> Tensor:
    with torch.no_grad():
        scores = _masked(node, _scores(node, q, k), mask)
        if mask is None:  # then no row is without weight, which the safe form looks for
            return torch.softmax(scores, -1)
        return aten._safe_softmax(scores, -1)


def _whole_attention(session: Session, item: Planned) -> Step:
    """AttnLRP: half to the values, half to the weights; the softmax to first order; scores half each."""
    node, open_account = item.node, session.account(item)
    carrying = set(item.sharing.carrying)
    both = 0.5 if {0, 1} <= carrying else 1.0
    share = 0.5 if 2 in carrying else 1.0

    def step(values: Values) -> Any:
        q, k, v = (values[a] for a in node.args[:3])
        scores = Scale.apply(_scores(node, q, k), both)
        mask = fill(argument(node, "attn_mask"), values)

        def run(s: Tensor) -> Tensor:
            return aten._safe_softmax(_masked(node, s, mask), -1)

        account = open_account(values)
        weights = Taylor.apply(account.slot, run, account, [account.rows], scores)
        if argument(node, "enable_gqa", False):
            v = v.repeat_interleave(q.shape[-3] // v.shape[-3], -3)
        return Scale.apply(weights @ v, share)

    return step


BUILDERS: dict[str, Callable[[Session, Planned], Step]] = {
    "identity": identity,
    "homogeneous": homogeneous,
    "affine": affine,
    "activation": activation,
    "norm": batch_norm,
    "product": product,
    "weighted": product,
    "gated": gated,
    "quotient": quotient,
    "taylor": taylor,
    "scaled": scaled,
    "embedding": embedding,
    "attention": attention,
}
