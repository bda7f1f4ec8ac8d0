"""Random networks: operations x wirings, as a recipe that hypothesis can shrink, built in both forms."""

from hypothesis import strategies as st

from sciexplain import rules
from tests.lrp.moves import MOVES as MORE_MOVES
from tests.reference.networks import ACTIVATION_CALLS, UNBIASED, Builder

SHAPES = [(4,), (3, 6), (2, 9), (2, 5, 5), (3, 4, 6), (2, 3, 3, 4)]

biases = st.sampled_from(["absorb", "exclude", "distribute"])
numbers = st.sampled_from([0.0, 1e-6, 0.1, 0.25, 1.0, 10.0])


@st.composite
def anywhere(draw):
    """A rule for any linear operation."""
    bias, value = draw(biases), draw(numbers)
    return draw(
        st.sampled_from(
            [
                rules.Zero(bias=bias),
                rules.Epsilon(value, bias=bias),
                rules.Gamma(value, bias=bias),
                rules.AlphaBeta(1 + min(value, 2.0), min(value, 2.0), bias=bias),
                rules.ZPlus(bias=bias),
            ]
        )
    )


at_input = st.sampled_from(
    [
        rules.ZBox(-6, 6),
        rules.ZBox(-5.5, 7, bias="absorb"),
        rules.ZBox(-5, 5, bias="distribute"),
        rules.WSquare(),
        rules.Flat(),
    ]
)


products = st.sampled_from(
    [
        None,
        rules.Half(),
        rules.SignalTakesAll(),
        rules.SignalTakesAll("first"),
        rules.SignalTakesAll("second"),
    ]
)


@st.composite
def for_products(draw):
    """Entries of a composite for the products of two signals; a kind that is missing has its usual rule."""
    entries = {kind: draw(products) for kind in ("gate", "attention", "product")}
    if entries["product"] == rules.SignalTakesAll():  # neither of two signals is the one
        entries["product"] = None
    return {kind: rule for kind, rule in entries.items() if rule is not None}


class Growing:
    """A builder with the nodes that can be used next; a node that was changed in place is not among them.

    written_out: what is one operation to the reference may be several to the engine (x * sigmoid(x)).
    """

    def __init__(self, shape, seed, written_out=True):
        self.b, self.written_out = Builder(shape, seed), written_out
        self.viewed = set()
        self.open, self.used = ["x"], set()

    def styles(self, draw, *names):
        """One of the ways to write an operation."""
        return draw(st.sampled_from([n for n in names if self.written_out or not n.startswith("hand")]))

    def take(self, draw, ok=lambda shape: True):
        fitting = [h for h in self.open if ok(self.b.shapes[h])]
        return draw(st.sampled_from(fitting)) if fitting else None

    def take_plain(self, draw, ok=lambda shape: True):
        """Not the output of a batch norm: whether that merges into what follows is the engine's choice."""
        fitting = [h for h in self.open if ok(self.b.shapes[h])]
        fitting = [h for h in fitting if type(self.b.producer(h)).__name__ not in ("BatchNorm", "Gather")]
        return draw(st.sampled_from(fitting)) if fitting else None

    def put(self, made, *used):
        self.used.update(used)
        if not self.b.shapes[made]:
            made = self.b.reshape(made, 1)
        self.open.append(made)


SPATIAL = (1, 2, 3)


def _conv(draw, g):
    h = g.take(draw, lambda s: len(s) - 1 in SPATIAL and min(s[1:]) >= 2)
    if h is None:
        return
    shape = g.b.shapes[h]
    kernel = draw(st.integers(1, min(3, *shape[1:])))
    padding, stride = draw(st.integers(0, kernel - 1)), draw(st.integers(1, 2))
    groups = shape[0] if draw(st.booleans()) and shape[0] <= 4 else 1
    out = groups * draw(st.integers(1, 2)) if groups > 1 else draw(st.integers(1, 4))
    style = draw(st.sampled_from(["module", "function", "runtime"]))
    bias = draw(st.booleans())
    made = g.b.conv(h, out, kernel, padding=padding, stride=stride, groups=groups, style=style, bias=bias)
    g.put(made, h)


def _deconv(draw, g):
    h = g.take(draw, lambda s: len(s) - 1 in (1, 2) and max(s[1:]) <= 5)
    if h is not None:
        g.put(
            g.b.conv_transpose(
                h, draw(st.integers(1, 3)), 2, stride=draw(st.integers(1, 2)), bias=draw(st.booleans())
            ),
            h,
        )


def _linear(draw, g):
    h = g.take(draw)
    ways = ["module", "function", "runtime", "matmul", "einsum", "tensordot", "weight_norm"]
    ways += {1: ["mm"], 2: ["bmm", "baddbmm"]}.get(len(g.b.shapes[h]), [])
    style = draw(st.sampled_from(ways))
    bias = style == "baddbmm" or (style not in UNBIASED and draw(st.booleans()))
    made = g.b.linear(h, draw(st.integers(1, 5)), style=style, bias=bias)
    if style == "tensordot":  # torch views its result
        g.viewed.add(made)
    g.put(made, h)


def _left(draw, g):
    h = g.take(draw, lambda s: len(s) >= 2)
    if h is not None:
        g.put(g.b.left_matmul(h, draw(st.integers(1, 4))), h)


def _again(draw, g):
    modules = [s for s in g.b.steps if getattr(s, "path", "") == s.into]
    for step in modules:
        shape = g.b.shapes[step.sources[0]]
        h = g.take(draw, lambda s: s == shape)  # noqa: B023
        if h is not None and h != step.sources[0]:
            g.put(g.b.again(h, step.into), h)
            return


def _activation(draw, g):
    h = g.take(draw)
    kind = draw(st.sampled_from(sorted(ACTIVATION_CALLS)))
    style = g.styles(draw, *sorted(ACTIVATION_CALLS[kind]))
    if "inplace" in style:
        if h == "x" or h in g.used or _is_view(g.b, h):  # somebody else holds it, or its memory
            return
        g.open.remove(h)
    g.put(g.b.activation(h, kind, style), h)


def _is_view(b, h):
    """Shape operations may share memory with their source: writing into them would change that too."""
    step = next(s for s in b.steps if s.into == h)
    return type(step).__name__ == "Gather"


def _clamp(draw, g):
    h = g.take(draw)
    g.put(g.b.clamp(h, *draw(st.sampled_from([(-1.0, 1.0), (None, 0.5), (-0.5, None), (0.1, 2.0)]))), h)


def _norm(draw, g):
    """A batch norm after a linear operation of its own, before one, or between others."""
    h = g.take(draw, lambda s: 1 <= len(s) <= 4)
    where = draw(st.sampled_from(["after", "before", "between"]))
    conv = len(g.b.shapes[h]) > 1
    bias, padding = draw(st.booleans()), draw(st.integers(0, 1))

    def weighted(source):
        if conv:
            kernel = 2 if min(g.b.shapes[source][1:]) >= 2 else 1
            return g.b.conv(
                source, draw(st.integers(1, 3)), kernel, padding=min(padding, kernel - 1), bias=bias
            )
        return g.b.linear(source, draw(st.integers(1, 4)), bias=bias)

    if where == "after":
        made = weighted(h)
        g.used.update((h, made))
        made = g.b.batch_norm(made)
    else:
        step = next((s for s in g.b.steps if s.into == h), None)
        unclear = h in g.viewed or h.startswith(("einsum", "weighted"))
        if unclear or type(step).__name__ in ("Gather", "BatchNorm"):
            return  # whether a merge looks through these is the engine's choice
        if getattr(step, "kind", "") == "linear" and conv:
            return  # along tokens it normalises another axis than the linear layer's outputs
        made = g.b.batch_norm(h)
        g.used.add(h)
        if where == "before":
            g.used.add(made)
            made = weighted(made)
    if draw(st.booleans()):
        g.used.add(made)
        made = g.b.activation(made, draw(st.sampled_from(["relu", "tanh"])))
    g.put(made)


def _pool(draw, g):
    h = g.take(draw, lambda s: len(s) - 1 in SPATIAL and min(s[1:]) >= 2)
    if h is None:
        return
    which = draw(st.integers(0, 5))
    stride = draw(st.integers(1, 2))
    made = [
        lambda: g.b.max_pool(h, 2, stride=stride),
        lambda: g.b.max_pool(h, 2, stride=2, padding=1, ceil_mode=True),
        lambda: g.b.average_pool(h, 2, stride=stride),
        lambda: g.b.average_pool(h, 2, stride=2, padding=1, count_include_pad=bool(stride - 1)),
        lambda: g.b.adaptive_pool(h, stride),
        lambda: g.b.adaptive_pool(h, stride, largest=True),
    ][which]()
    g.put(made, h)


def _reduce(draw, g):
    h = g.take(draw, lambda s: len(s) >= 2)
    if h is not None:
        axis = draw(st.integers(0, len(g.b.shapes[h]) - 1))
        how = draw(st.sampled_from(["mean", "sum", "amax"]))
        g.put(g.b.reduce(h, (axis,), how=how, keepdim=draw(st.booleans())), h)


def _constant(draw, g):
    h = g.take(draw)
    value = draw(st.sampled_from([-1.5, 0.3, 2.0]))
    made = draw(st.sampled_from(["scale", "divide", "shift", "minus", "array"]))
    if made == "array":
        g.put(g.b.scale(h, g.b.array(*g.b.shapes[h])), h)
    elif made == "minus":
        g.put(g.b.shift(h, value, subtract=True), h)
    else:
        g.put(getattr(g.b, made)(h, value), h)


def _join(draw, g):
    h = g.take(draw)
    other = g.take(draw, lambda s: s == g.b.shapes[h])
    how = draw(st.sampled_from(["add", "subtract", "cat"]))
    if how == "cat":
        g.put(g.b.concatenate(h, other, axis=draw(st.integers(0, len(g.b.shapes[h]) - 1))), h, other)
    elif h != other or how == "add":
        g.put({"add": g.b.add, "subtract": g.b.subtract}[how](h, other), h, other)


def _shape(draw, g):
    h = g.take(draw)
    shape = g.b.shapes[h]
    n = len(shape)
    which = draw(st.sampled_from(["flatten", "permute", "transpose", "slice", "pad", "split", "dropout"]))
    if which == "flatten":
        made = g.b.flatten(h)
    elif which == "permute":
        made = g.b.permute(h, *draw(st.permutations(range(n))))
    elif which == "transpose" and n >= 2:
        made = g.b.transpose(h, 0, n - 1)
    elif which == "slice" and shape[-1] >= 3:
        made = g.b.slice(h, *[slice(None)] * (n - 1), slice(1, None, draw(st.integers(1, 2))))
    elif which == "pad":
        made = g.b.pad(h, (draw(st.integers(0, 2)), 1))
    elif which == "split" and shape[0] % 2 == 0:
        made = g.b.reshape(h, 2, shape[0] // 2, *shape[1:]) if n <= 3 else g.b.flatten(h)
    else:
        made = g.b.dropout(h)
    g.put(made, h)


MOVES = [_conv, _conv, _linear, _linear, _activation, _activation, _activation, _deconv, _left, _again]
MOVES += [_clamp, _norm, _norm, _norm, _pool, _pool, _reduce, _constant, _join, _join, _shape, _activation]
MOVES += MORE_MOVES


@st.composite
def networks(draw, *, enter_linear=False, written_out=True):
    """(module, program). enter_linear: the input goes into one linear operation, for rules of the input."""
    g = Growing(draw(st.sampled_from(SHAPES)), draw(st.integers(0, 2**32 - 1)), written_out)
    if enter_linear:
        if len(g.b.in_shape) > 1 and draw(st.booleans()):
            first = g.b.conv("x", draw(st.integers(1, 3)), 2, padding=draw(st.integers(0, 1)))
        else:
            first = g.b.linear("x", draw(st.integers(1, 4)))
        g.open = [first]
    for _ in range(draw(st.integers(3, 10))):
        sizes = [g.b.shapes[h] for h in g.open]
        if max(int(_size(s)) for s in sizes) > 150:
            break
        draw(st.sampled_from(MOVES))(draw, g)
    # everything nobody used yet meets in a last linear layer, so no part of the network is idle
    loose = [h for h in g.open if h not in g.used] or [g.open[-1]]
    flat = [g.b.flatten(h) for h in loose]
    h = g.b.concatenate(*flat) if len(flat) > 1 else flat[0]
    return g.b.finish(g.b.linear(h, draw(st.integers(1, 3)), bias=draw(st.booleans())))


def _size(shape):
    n = 1
    for s in shape:
        n *= s
    return n
