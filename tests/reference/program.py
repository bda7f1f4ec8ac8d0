"""A network as a list of steps: NumPy values forward, relevance R backward, one sample at a time."""

from dataclasses import dataclass, field, replace

import numpy as np

from tests.reference import activations, rules


@dataclass
class Step:
    """One operation: values[into] = f(values[sources])."""

    sources: tuple[str, ...]
    into: str
    out_shape: tuple[int, ...] = ()

    def forward(self, *arrays):
        raise NotImplementedError

    def relevance(self, arrays, out, R):
        """Relevance of each source, given that of the output."""
        raise NotImplementedError


@dataclass
class Linear(Step):
    """W (output, input) and b (output,); `kind` and `path` choose its rule."""

    W: np.ndarray = field(default=None, repr=False)
    b: np.ndarray | None = field(default=None, repr=False)
    kind: str = "linear"
    path: str = ""
    merges_after: bool = True  # a batch norm before it merges exactly: no zero padding, and over its features
    rule: object = None
    box: dict = field(default_factory=dict)
    real: np.ndarray | None = field(default=None, repr=False)  # 0 where a padding stands in for an input
    condition: float = np.inf

    def forward(self, a):
        z = self.W @ a.ravel()
        return (z if self.b is None else z + self.b).reshape(self.out_shape)

    def relevance(self, arrays, out, R):
        (a,) = arrays
        W = self.W if self.real is None else self.W * self.real
        found = rules.shares(self.rule, W, self.b, a.ravel(), **self.box)
        self.condition = found.condition
        return [(R.ravel() @ found.S).reshape(a.shape)]


@dataclass
class Proportional(Linear):
    """A linear step without a rule of its own (mean, sum, average pool, constant): LRP-0, bias absorbed."""


@dataclass
class Scaled(Proportional):
    """Constant factors and shifts, element by element."""


@dataclass
class Masked(Step):
    """Elements that a constant mask replaces by a constant, which keeps what they are given."""

    mask: np.ndarray = field(default=None, repr=False)
    value: float = 0.0

    def forward(self, a):
        return np.where(self.mask, self.value, a)

    def relevance(self, arrays, out, R):
        return [np.where(self.mask, 0, R)]


@dataclass
class Constant(Step):
    """A value that no input decides; it keeps what it is given."""

    value: np.ndarray = field(default=None, repr=False)

    def forward(self):
        return self.value

    def relevance(self, arrays, out, R):
        return []


class Zero:
    """LRP-0, bias absorbed, in the form the rules module reads."""

    bias = "absorb"


@dataclass
class BatchNorm(Step):
    """scale * x + shift over the first axis (channel); merged into a neighbour where exact, else LRP-0."""

    scale: np.ndarray = None
    shift: np.ndarray = None
    condition: float = np.inf

    def _spread(self, v, a):
        return np.broadcast_to(v.reshape(-1, *[1] * (a.ndim - 1)), a.shape)

    def forward(self, a):
        return self._spread(self.scale, a) * a + self._spread(self.shift, a)

    def relevance(self, arrays, out, R):
        (a,) = arrays
        p = self._spread(self.scale, a) * a
        whole = np.abs(p) + np.abs(self._spread(self.shift, a))
        self.condition = condition_of(out, whole)
        return [np.divide(p * R, out, out=np.zeros_like(R), where=out != 0)]


@dataclass
class Activation(Step):
    """R_in = R (act(z) - act(0)) / act(z): act(0) is a constant and keeps its part. Log passes R on."""

    name: str = ""
    arguments: dict = field(default_factory=dict)
    condition: float = np.inf

    def forward(self, z):
        return activations.FUNCTIONS[self.name](z, **self.arguments)

    def relevance(self, arrays, out, R):
        if self.name in activations.PASSES:
            return [R]
        at_zero = self.forward(np.zeros(1))[0]
        self.condition = condition_of(out, np.abs(out) + abs(at_zero))
        return [np.divide((out - at_zero) * R, out, out=np.zeros_like(R), where=out != 0)]


def condition_of(total, whole):
    """Smallest sum relative to its terms; 0 where they cancel exactly: a share is only a limit there."""
    ok = whole > 0
    return float((np.abs(total[ok]) / whole[ok]).min()) if ok.any() else np.inf


@dataclass
class MaxPool(Step):
    """Winner takes all: the first largest value of each window, or in equal parts all that are the largest.

    A pooling has one winner; a maximum over axes has no order among equals (torch's own convention).
    """

    windows: list = field(default_factory=list, repr=False)
    shared: bool = False
    condition: float = np.inf

    def winners(self, a):
        flat = a.ravel()
        return np.array([index[np.argmax(flat[index])] for index, _ in self.windows])

    def forward(self, a):
        return a.ravel()[self.winners(a)].reshape(self.out_shape)

    def relevance(self, arrays, out, R):
        (a,) = arrays
        flat, given = a.ravel(), np.zeros(a.size)
        if self.shared:
            for (index, _), r in zip(self.windows, R.ravel()):
                equal = index[flat[index] == flat[index].max()]
                given[equal] += r / len(equal)
        else:
            np.add.at(given, self.winners(a), R.ravel())
        for index, _ in self.windows:  # a gap of rounding size makes the winner a matter of luck
            two = np.sort(flat[index])[-2:]
            if len(two) == 2 and two[0] != two[1]:
                self.condition = min(self.condition, (two[1] - two[0]) / max(np.abs(two).max(), 1e-300))
        return [given.reshape(a.shape)]


@dataclass
class Gather(Step):
    """out[i] = a[index[i]], a constant where the index is -1: reshape, transpose, slice, pad, expand."""

    index: np.ndarray = field(default=None, repr=False)
    constant: float = 0.0

    def forward(self, a):
        out = np.where(self.index >= 0, a.ravel()[self.index], self.constant)
        return out.reshape(self.out_shape)

    def relevance(self, arrays, out, R):
        (a,) = arrays
        given = np.zeros(a.size)
        keep = self.index.ravel() >= 0
        np.add.at(given, self.index.ravel()[keep], R.ravel()[keep])
        return [given.reshape(a.shape)]


@dataclass
class Add(Step):
    """Sum of the sources with constant factors; relevance in proportion to each term (numpy broadcasting)."""

    factors: tuple[float, ...] = (1.0, 1.0)
    condition: float = np.inf

    def _terms(self, arrays):
        terms = [f * a for f, a in zip(self.factors, arrays)]
        shape = np.broadcast_shapes(*(t.shape for t in terms))
        return [np.broadcast_to(t, shape) for t in terms]

    def forward(self, *arrays):
        return sum(self._terms(arrays))

    def relevance(self, arrays, out, R):
        terms = self._terms(arrays)
        self.condition = condition_of(out, sum(np.abs(t) for t in terms))
        given = []
        for a, t in zip(arrays, terms):
            share = np.divide(t * R, out, out=np.zeros_like(out), where=out != 0)
            extra = tuple(range(share.ndim - a.ndim))
            share = share.sum(axis=extra)
            ones = tuple(i for i, n in enumerate(a.shape) if n == 1 and share.shape[i] != 1)
            given.append(share.sum(axis=ones, keepdims=True))
        return given


@dataclass
class Concatenate(Step):
    """Sources side by side along an axis (of the sample, without the batch)."""

    axis: int = 0

    def forward(self, *arrays):
        return np.concatenate(arrays, axis=self.axis)

    def relevance(self, arrays, out, R):
        cuts = np.cumsum([a.shape[self.axis] for a in arrays])[:-1]
        return list(np.split(R, cuts, axis=self.axis))


@dataclass
class Pair(Step):
    """A product or quotient of two signals; `kind` chooses its rule, None is what the kind has by default."""

    kind: str = "product"
    rule: object = None


@dataclass
class Result:
    """Relevance of the input, what each step absorbed (step.into -> number), the worst condition of a sum."""

    relevance: np.ndarray
    output: np.ndarray
    absorbed: dict[str, float]
    condition: float
    values: dict[str, np.ndarray] = field(repr=False, default_factory=dict)


@dataclass(repr=False)
class Program:
    """Steps in order; `values["x"]` is the input and the last step's output the network's."""

    steps: list[Step]
    in_shape: tuple[int, ...]

    def __repr__(self):  # what hypothesis prints of a failing network: the wiring, not the weights
        lines = [
            f"  {s.into} = {type(s).__name__}({', '.join(s.sources)}) -> {s.out_shape}" for s in self.steps
        ]
        return "\n".join([f"Program x {self.in_shape}", *lines])

    def values(self, x):
        values = {"x": np.asarray(x, dtype=np.float64).reshape(self.in_shape)}
        for step in self.steps:
            values[step.into] = np.asarray(step.forward(*(values[s] for s in step.sources)))
        return values

    def forward(self, x):
        return self.values(x)[self.steps[-1].into]

    def consumers(self, name):
        return [s for s in self.steps if name in s.sources]

    def producer(self, name):
        return next((s for s in self.steps if s.into == name), None)

    def touches_input(self, step):
        """Only shape operations between the network's input and this step."""
        source = step.sources[0]
        while source != "x":
            before = self.producer(source)
            if not isinstance(before, Gather):
                return False
            source = before.sources[0]
        return True

    def gathered(self, step, full):
        """An array of the input's shape, taken through the shape operations before `step`; padding is 0."""
        chain, source = [], step.sources[0]
        while source != "x":
            before = self.producer(source)
            chain.append(before)
            source = before.sources[0]
        for before in reversed(chain):
            full = replace(before, constant=0.0).forward(full)
        return full.ravel()

    def merged(self):
        """The same network, batch norms merged into the linear step before, else the one after, else kept.

        Merging is exact only where the other step sees nothing else: one consumer, and no zero padding after.
        """
        steps = list(self.steps)
        for norm in [s for s in self.steps if isinstance(s, BatchNorm)]:
            now = Program(steps, self.in_shape)
            before, users = now.producer(norm.sources[0]), now.consumers(norm.into)
            over_outputs = _weighted(before) and (before.kind == "conv" or len(before.out_shape) == 1)
            if over_outputs and len(now.consumers(before.into)) == 1:
                each = int(np.prod(before.out_shape)) // before.out_shape[0]
                scale, shift = np.repeat(norm.scale, each), np.repeat(norm.shift, each)
                b = 0 if before.b is None else before.b
                joint = replace(before, into=norm.into, W=scale[:, None] * before.W, b=scale * b + shift)
                steps = [joint if s is before else s for s in steps if s is not norm]
                continue
            if len(users) == 1 and _weighted(users[0]):
                after = users[0]
                if after.merges_after:
                    each = after.W.shape[1] // len(norm.scale)
                    scale, shift = np.repeat(norm.scale, each), np.repeat(norm.shift, each)
                    b = 0 if after.b is None else after.b
                    joint = replace(after, sources=norm.sources, W=after.W * scale, b=b + after.W @ shift)
                    steps = [joint if s is after else s for s in steps if s is not norm]
        return Program(steps, self.in_shape)

    def explain(self, x, R, choose):
        """Relevance of one sample x given R at the output; choose(program, step) is a Linear step's rule."""
        program = self.merged()
        values = program.values(x)
        last = program.steps[-1]
        relevance = {name: np.zeros_like(v) for name, v in values.items()}
        relevance[last.into] = np.asarray(R, dtype=np.float64).reshape(values[last.into].shape)
        absorbed, condition = {}, np.inf
        for step in reversed(program.steps):
            arrays = [values[s] for s in step.sources]
            if isinstance(step, Linear):
                step.rule = Zero() if isinstance(step, Proportional) else choose(program, step)
                step.box, step.real = {}, None
                if type(step.rule).__name__ in ("ZBox", "WSquare", "Flat") and program.touches_input(step):
                    step.real = program.gathered(step, np.ones(self.in_shape))
                if type(step.rule).__name__ == "ZBox":
                    step.box = {
                        side: program.gathered(
                            step,
                            np.broadcast_to(np.asarray(getattr(step.rule, side), dtype=float), self.in_shape),
                        )
                        for side in ("low", "high")
                    }
            elif isinstance(step, Pair):
                step.rule = choose(program, step)
            given = step.relevance(arrays, values[step.into], relevance[step.into])
            absorbed[step.into] = float(relevance[step.into].sum() - sum(g.sum() for g in given))
            for source, g in zip(step.sources, given):
                relevance[source] = relevance[source] + g
            if relevance[step.into].any():  # elsewhere nothing is divided: gates, divisors, masks
                condition = min(condition, getattr(step, "condition", np.inf))
        return Result(relevance["x"], values[last.into], absorbed, condition, values)


def _weighted(step):
    return isinstance(step, Linear) and not isinstance(step, Proportional)


def everywhere(rule):
    """choose() that gives every linear step the same rule; products keep theirs."""
    return lambda program, step: rule if isinstance(step, Linear) else None


def composite(entries, default=None):
    """choose() for {"input": ..., "conv": ..., "gate": ...}: the input entry wins, then the kind."""

    def choose(program, step):
        if isinstance(step, Pair):
            return entries.get(step.kind)
        if "input" in entries and program.touches_input(step):
            return entries["input"]
        return entries.get(step.kind, default if default is not None else Zero())

    return choose
