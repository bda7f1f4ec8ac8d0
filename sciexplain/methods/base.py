"""What a method is: a value that, prepared for one model, turns batches into attributions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, fx

from ..lrp.capture import Capture, Model, capture, is_float
from ..lrp.engine import Attribution, Layer, conservation
from ..lrp.errors import RaggedInputError
from ..lrp.layers import returned
from ..lrp.owners import by_sample
from ..lrp.plan import ancestors, find_output
from ..lrp.targets import Seed
from ..lrp.tracing import no_autocast
from ..lrp.values import Values, run_node
from .settings import plain

Start = Callable[[Any], Any]  # outputs -> Seed, or a list of them


@dataclass(frozen=True)
class Explained:
    """What of the model's output is explained.

    Attributes
    ----------
    name : str, int or None
        One of several outputs.
    every : bool
        The target is a function of all of them.
    keep_final : bool
        A final softmax, log-softmax or sigmoid is not left out.
    """

    name: str | int | None = None
    every: bool = False
    keep_final: bool = False


LOGIT = Explained()


class Prepared(Protocol):
    """A method bound to a model: `run` takes one batch after another."""

    accounts: list[str]
    input_names: list[str]
    conditions: list[str]  # names, where one run explains under several
    offset: int  # number of the batch's first sample among all; set before each run
    numbered: bool  # whether `offset` is read: several copies of a batch must not run as one

    @property
    def kept(self) -> str:
        """What was left out at the end of the model: "", "softmax", "log_softmax" or "sigmoid"."""
        ...

    @property
    def captured(self) -> Capture: ...

    def run(self, inputs: Sequence[Tensor], start: Start) -> list[Attribution]: ...


class Method:
    """Base of all attribution methods: equal, hashable, printable values."""

    name: ClassVar[str]
    conserves: ClassVar[bool] = False

    def settled(self, inputs: Sequence[Any]) -> Method:
        """The method for these inputs: names of dims become positions, and all samples are seen at once.

        Parameters
        ----------
        inputs : sequence of Labelled
            `values`, `dims` and `coords` of each input.
        """
        return self

    def prepare(
        self,
        model: Model,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        explained: Explained = LOGIT,
        layers: Sequence[str] = (),
    ) -> Prepared:
        """Capture the model for inputs like these and settle all that does not depend on values."""
        raise NotImplementedError

    def to_json(self) -> str:
        """The method and its settings as JSON text."""
        return json.dumps(self.plain())

    def plain(self) -> dict[str, Any]:
        """The method and its settings, as JSON has them."""
        own = {f.name: plain(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]
        return {"method": self.name, **own}

    @property
    def composite_json(self) -> str:
        """The rules as JSON text, empty for methods without rules."""
        return ""


class Forward:
    """The captured operations as they are, up to the explained output."""

    def __init__(
        self, captured: Capture, model: Model, explained: Explained, layers: Sequence[str] = ()
    ) -> None:
        self.capture = captured
        self.every = explained.every
        self.single = not (explained.every and not captured.bare)
        self.kept = ""
        self.outputs = list(captured.outputs)
        if self.single:
            node, self.kept = find_output(captured.select(explained.name), explained.keep_final)
            self.outputs = [node]
        self._values = captured.tensors(model)
        needed = ancestors(self.outputs)
        self.order = [n for n in captured.graph.nodes if n in needed and n.op == "call_function"]
        reads = {n: n.all_input_nodes for n in self.order if is_float(n)}
        self._layers = {path: returned(reads, self.outputs, path)[-1] for path in layers}

    def __call__(self, inputs: Sequence[Tensor], layers: dict[str, Tensor] | None = None) -> list[Tensor]:
        """The outputs; what the named layers return is added to `layers`."""
        values: dict[fx.Node, Any] = dict(self._values)
        values.update(zip(self.capture.inputs, inputs))
        for node in self.order:
            values[node] = self.value(node, values)
        if layers is not None:
            layers.update((path, values[n]) for path, n in self._layers.items())
        return [values[n] for n in self.outputs]

    def value(self, node: fx.Node, values: Values) -> Any:
        """What one operation returns."""
        return run_node(node, values)

    def shown(self, outputs: Sequence[Tensor]) -> Any:
        """The outputs as a target sees them."""
        return outputs[0].detach() if self.single else self.capture.structured([o.detach() for o in outputs])


@dataclass
class Gradient:
    """A gradient of the score.

    Attributes
    ----------
    inputs : list of Tensor or None
        With respect to each floating-point input.
    outputs : Tensor or None
        The output there, if one is explained.
    seed : Seed
    layers : dict of str to (Tensor, Tensor)
        What each named layer returns, and the gradient with respect to it.
    """

    inputs: list[Tensor | None]
    outputs: Tensor | None
    seed: Seed
    layers: dict[str, tuple[Tensor, Tensor]]


@dataclass
class GradientRun:
    """Gradients of the captured model at points of the user's choice."""

    forward: Forward
    attribute: Callable[[GradientRun, Sequence[Tensor], Start], Attribution]
    accounts: list[str]
    input_names: list[str]
    conditions: list[str] = field(default_factory=list)
    offset: int = 0
    numbered: bool = False
    _owners: list[Tensor | None] | None = None

    @property
    def kept(self) -> str:
        return self.forward.kept

    @property
    def captured(self) -> Capture:
        return self.forward.capture

    def run(self, inputs: Sequence[Tensor], start: Start) -> list[Attribution]:
        with torch.inference_mode(False), no_autocast():
            inputs = [x.clone() if x.is_inference() else x for x in inputs]
            count = 1

            def the(k: int) -> Start:
                def begin(outputs: Any) -> Seed:
                    nonlocal count
                    begun = start(outputs)
                    if not isinstance(begun, list):
                        return begun
                    count = len(begun)
                    return begun[k]

                return begin

            first = self._attributed(inputs, the(0))
            return [first, *(self._attributed(inputs, the(k)) for k in range(1, count))]

    def _attributed(self, inputs: Sequence[Tensor], start: Start) -> Attribution:
        self._owners = None
        found = self.attribute(self, inputs, start)
        samples = len(found.seed.score)
        # where any input has other rows (edges of a graph), equally many rows may be no samples either
        if any(len(x) != samples for x in inputs):
            totals, owners = self._rows_by_sample(inputs, found)
            error = conservation(found.seed.score, found.relevance, found.absorbed, totals)
            found = replace(found, conservation_error=error, owners=owners)
        return found

    def _rows_by_sample(
        self, inputs: Sequence[Tensor], found: Attribution
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Relevance of each sample where rows are no samples, and the sample of each row."""
        owners, total = self.owners(inputs, found.seed), torch.zeros_like(found.seed.score)
        for r, owner in zip(found.relevance, owners):
            if r is not None:
                assert owner is not None
                rows = r.double().reshape(len(r), -1).sum(1)
                total = total.index_add(0, owner.clamp(min=0), rows)
        return total, [None if r is None else o for r, o in zip(found.relevance, owners)]

    def owners(self, inputs: Sequence[Tensor], seed: Seed) -> list[Tensor | None]:
        """The sample of each row of each floating-point input, -1 for rows that nothing comes back to.

        Raises
        ------
        RaggedInputError
            A row belongs to several samples.
        """
        n, moving = len(seed.score), [i for i, x in enumerate(inputs) if x.is_floating_point()]
        known: list[Tensor | None] = [None] * len(inputs)
        if all(len(x) == n for x in inputs):
            return [torch.arange(n, device=x.device) if i in moving else None for i, x in enumerate(inputs)]
        if n == 1:
            return [x.new_zeros(len(x), dtype=torch.int64) if i in moving else None
                    for i, x in enumerate(inputs)]  # fmt: skip
        if self._owners is not None:
            return self._owners
        weights = [torch.rand(inputs[i].shape[1:], generator=torch.Generator().manual_seed(0)) + 0.5
                   for i in moving]  # fmt: skip

        def row_sums(factor: Tensor) -> list[Tensor]:
            def times(m: Tensor | None) -> Tensor | None:
                return m if m is None else m * factor.reshape(-1, *[1] * (m.dim() - 1)).to(m.dtype)

            sent = times(seed.message) if self.forward.single else [times(m) for m in seed.message]
            grads = self.gradient(inputs, lambda outputs: replace(seed, message=sent)).inputs
            pairs = [(grads[i], w) for i, w in zip(moving, weights)]
            return [
                (g.double() * w.to(g.device)).reshape(len(g), -1).sum(1) for g, w in pairs if g is not None
            ]

        _, found = by_sample(row_sums(torch.ones_like(seed.score)), row_sums, n)
        if any(f is None for f in found):
            raise RaggedInputError(
                f"Rows of the inputs belong to several of the {n} samples: explain one sample at a time (of a"
                " model with an output for each node of a graph, a function that returns that of one node)."
            )
        for i, owner in zip(moving, found):
            known[i] = owner
        self._owners = known
        return known

    def outputs(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The outputs at a point, without gradient."""
        with torch.no_grad():
            return self.forward(inputs)

    def gradient(self, inputs: Sequence[Tensor], start: Start) -> Gradient:
        """d score / d input and d score / d layer at a point."""
        with torch.enable_grad():
            leaves = [x.detach().requires_grad_() if x.is_floating_point() else x for x in inputs]
            layers: dict[str, Tensor] = {}
            outputs = self.forward(leaves, layers)
            seed = start(self.forward.shown(outputs))
            wanted = [x for x in (*leaves, *layers.values()) if x.requires_grad]
            messages = [seed.message] if self.forward.single else seed.message
            pairs = [(o, m) for o, m in zip(outputs, messages) if m is not None and o.requires_grad]
            grads = iter(
                torch.autograd.grad([o for o, _ in pairs], wanted, [m for _, m in pairs], allow_unused=True)
            )
        found: list[Tensor | None] = []
        for x in leaves:
            g = next(grads) if x.requires_grad else None
            found.append(torch.zeros_like(x) if g is None and x.requires_grad else g)
        at = {}
        for path, a in layers.items():
            g = next(grads) if a.requires_grad else None
            at[path] = a.detach(), torch.zeros_like(a) if g is None else g
        return Gradient(found, outputs[0].detach() if self.forward.single else None, seed, at)


class GradientMethod(Method):
    """Base of the methods that take gradients of the operations."""

    accounts: ClassVar[tuple[str, ...]] = ()
    layered: ClassVar[bool] = False  # whether relevance at layers is defined

    def attribute(self, run: GradientRun, inputs: Sequence[Tensor], start: Start) -> Attribution:
        """The attribution of one batch."""
        raise NotImplementedError

    def forward(
        self, captured: Capture, model: Model, explained: Explained, layers: Sequence[str]
    ) -> Forward:
        """The operations whose gradient is taken: as they are, unless a subclass has twins of some."""
        return Forward(captured, model, explained, layers)

    def prepare(
        self,
        model: Model,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        explained: Explained = LOGIT,
        layers: Sequence[str] = (),
    ) -> Prepared:
        if layers and not self.layered:
            raise ValueError(
                f"{self.name} has no relevance at layers; layers= is for sx.LRP(...), sx.DeepLift(...) and"
                " methods of one gradient, such as sx.GradientTimesInput()."
            )
        captured = capture(model, args, kwargs)
        if not any(is_float(n) for n in captured.inputs):
            raise ValueError("The model has no floating-point input to take a gradient of.")
        forward = self.forward(captured, model, explained, layers)
        return GradientRun(forward, self.attribute, list(self.accounts), [n.name for n in captured.inputs])


def attribution(
    relevance: list[Tensor | None],
    message: list[Tensor | None],
    outputs: Tensor | None,
    seed: Seed,
    absorbed: Tensor | None = None,
    layers: dict[str, Layer] | None = None,
    approximation_error: Tensor | None = None,
) -> Attribution:
    """Assemble the result of a gradient method; what does not add up shows as conservation error."""
    if absorbed is None:
        absorbed = seed.score.new_zeros((len(seed.score), 0))
    if any(r is not None and len(r) != len(seed.score) for r in relevance):
        error = torch.full_like(seed.score, torch.nan)  # until the rows are known by sample
    else:
        error = conservation(seed.score, relevance, absorbed)
    return Attribution(
        relevance,
        message,
        layers or {},
        outputs,
        seed,
        absorbed,
        error,
        approximation_error=approximation_error,
    )
