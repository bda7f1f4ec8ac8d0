"""Run a plan on one batch: one forward pass, one backward pass, conservation measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx

from .capture import is_float
from .owners import by_sample
from .plan import Plan
from .rewrite import Session
from .rows import size
from .targets import Seed
from .tracing import no_autocast
from .twins import Account, inner
from .values import Values


@dataclass
class Layer:
    """Relevance at one layer, with the product structure R = a c where it has one; all of its shape."""

    relevance: Tensor
    activation: Tensor
    message: Tensor | None = None


@dataclass
class Attribution:
    """Relevance of one batch; tensors are detached.

    Attributes
    ----------
    relevance : list of Tensor or None
        Per model input, its shape; None for inputs that carry none (masks).
    message : list of Tensor or None
        c with R = x c; None where a rule returned relevance directly, and for integer inputs.
    layers : dict of str to Layer
    outputs : Tensor or None
        The (logit) output that was explained; None where the target is a function of several outputs.
    seed : Seed
    absorbed : Tensor (sample, account), float64
    conservation_error : Tensor (sample,), float64
        |score - sum R - sum absorbed| / max(|score|, sum |R|).
    owners : list of Tensor (row,) or None
        Per model input the sample of each row, -1 where unknown; None as a whole where rows are samples.
    approximation_error : Tensor (sample,), float64, or None
        Of methods that approximate an integral or a mean: how far off the relevance may be, summed over |R|.
    """

    relevance: list[Tensor | None]
    message: list[Tensor | None]
    layers: dict[str, Layer]
    outputs: Tensor | None
    seed: Seed
    absorbed: Tensor
    conservation_error: Tensor
    owners: list[Tensor | None] | None = None
    approximation_error: Tensor | None = None


def conservation(
    score: Tensor, relevance: Sequence[Tensor | None], absorbed: Tensor, total: Tensor | None = None
) -> Tensor:
    """Relative gap between the score and all that was accounted for, per sample, in float64.

    `total` is the relevance of each sample where the rows of the inputs are not the samples.
    """
    present = [r for r in relevance if r is not None]
    if total is None:
        parts = [r.double().reshape(len(r), -1) for r in present]
        total = sum((p.sum(1) for p in parts), torch.zeros_like(score))
        extent = sum((p.abs().sum(1) for p in parts), torch.zeros_like(score))
    else:
        extent = total.abs()
    scale = torch.maximum(score.abs(), extent)
    gap = (score - total - absorbed.sum(1)).abs()
    return torch.where(scale > 0, gap / scale, gap)


_TOGETHER = 16  # messages in one backward pass: activations are shared, gradients are not


@dataclass
class _Sent:
    """The messages to all outputs for one seed, under one condition."""

    seed: Seed
    messages: list[Tensor]
    condition: int


@dataclass
class _Pass:
    """A forward pass that waits for messages."""

    plan: Plan
    outputs: list[Tensor]
    leaves: dict[fx.Node, Tensor]
    carriers: dict[fx.Node, Tensor]
    layers: dict[str, Tensor]
    accounts: dict[int, Account]
    tickets: list[Tensor]

    @property
    def wanted(self) -> list[Tensor]:
        slots = [a.slot for a in self.accounts.values()]
        return [*self.leaves.values(), *self.carriers.values(), *self.layers.values(), *slots]

    def back(self, messages: list[_Sent], keep: bool) -> list[_Grads]:
        """What returns for each set of messages; several sets go back together."""
        if len(messages) > _TOGETHER:
            parts = [messages[i : i + _TOGETHER] for i in range(0, len(messages), _TOGETHER)]
            return [g for part in parts for g in self.back(part, keep or part is not parts[-1])]
        sent = [[*m.messages, *(_one_hot(t, m.condition) for t in self.tickets)] for m in messages]
        ends = [*self.outputs, *self.tickets]
        if len(sent) == 1:
            found = torch.autograd.grad(ends, self.wanted, sent[0], allow_unused=True, retain_graph=keep)
            return [self._sort(found)]
        stacked = [torch.stack(m) for m in zip(*sent)]
        found = torch.autograd.grad(
            ends, self.wanted, stacked, allow_unused=True, retain_graph=keep, is_grads_batched=True
        )
        return [self._sort([None if g is None else g[k] for g in found]) for k in range(len(messages))]

    def _sort(self, found: Sequence[Tensor | None]) -> _Grads:
        rest = iter(found)
        leaves = {n: next(rest) for n in self.leaves}
        carriers = {n: next(rest) for n in self.carriers}
        layers = {path: next(rest) for path in self.layers}
        booked = {i: g for i, g in zip(self.accounts, rest) if g is not None}
        return _Grads(leaves, carriers, layers, booked)


@dataclass
class _Grads:
    leaves: dict[fx.Node, Tensor | None]
    carriers: dict[fx.Node, Tensor | None]
    layers: dict[str, Tensor | None]
    booked: dict[int, Tensor]

    def relevance(self, node: fx.Node, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """R of an input, and c where R = x c."""
        via = self.carriers.get(node)
        if node not in self.leaves:
            return (
                (torch.zeros_like(x, dtype=torch.get_default_dtype()) if via is None else via, None)
                if (node in self.carriers)
                else (None, None)
            )
        c = self.leaves[node]
        r = torch.zeros_like(x.real if x.is_complex() else x) if c is None else inner(c, x.detach())
        if via is not None:
            return r + via, None
        return r, torch.zeros_like(x) if c is None else c


def run(
    session: Session,
    inputs: Sequence[Tensor],
    start: Callable[[Any], Seed | list[Seed]],
) -> list[Attribution]:
    """Propagate relevance from `start(outputs)` back to the inputs and to the session's layers.

    Parameters
    ----------
    session : Session
    inputs : sequence of Tensor
        Tensors among the flattened model inputs.
    start : callable
        (output, or all outputs in the model's structure) -> Seed, or several: one backward pass serves all.

    Returns
    -------
    list of Attribution, one per seed and, for each, per condition of the session
    """
    plan = session.plan
    with torch.inference_mode(False), torch.enable_grad(), no_autocast():
        values = _begin(session, inputs)
        leaves = {n: values[n] for n in plan.capture.inputs if is_float(n)}
        carriers = {n: values["carriers"][n] for n in list(values["carriers"])}
        session.forward(values, {*plan.outputs, *plan.capture.outputs})
        begun = start(values[plan.outputs[0]].detach() if plan.single else _structured(plan, values))
        seeds = [session.start_at(s, values) for s in (begun if isinstance(begun, list) else [begun])]
        forward = _Pass(
            plan,
            [values[n] for n in plan.outputs],
            leaves,
            carriers,
            {path: values["layers"][path] for path in session.layers},
            values["accounts"],
            values["tickets"],
        )
        del values
        mixed = _rows_are_no_samples(forward, inputs, len(seeds[0].score))
        under = range(max(1, len(session.conditions)))
        sent = [_Sent(s, m, k) for s, m in ((s, _messages(plan, s)) for s in seeds) for k in under]
        found = forward.back(sent, mixed)
        return [_attribution(session, forward, inputs, s, grads, mixed) for s, grads in zip(sent, found)]


def _attribution(
    session: Session,
    forward: _Pass,
    inputs: Sequence[Tensor],
    sent: _Sent,
    grads: _Grads,
    mixed: bool,
) -> Attribution:
    seed = sent.seed
    nodes = session.plan.capture.inputs
    pairs = [grads.relevance(node, x) for node, x in zip(nodes, inputs)]
    relevance, messages = [r for r, _ in pairs], [c for _, c in pairs]
    layers = {}
    for (path, a), g in zip(forward.layers.items(), grads.layers.values()):
        c = torch.zeros_like(a) if g is None else g
        layers[path] = Layer(inner(c, a.detach()), a.detach(), c)
    booked, total, owners = grads.booked, None, None
    if mixed:
        booked, total, owners = _by_owner(forward, inputs, sent, grads, relevance)
    absorbed = _absorbed(len(session.accounts), booked, seed)
    error = conservation(seed.score, relevance, absorbed, total)
    output = forward.outputs[0].detach() if session.plan.single else None
    return Attribution(relevance, messages, layers, output, seed, absorbed, error, owners)


def _rows_are_no_samples(forward: _Pass, inputs: Sequence[Tensor], n: int) -> bool:
    """Whether inputs or what is absorbed come in other rows than the scores do."""
    carry = [x for node, x in zip(forward.plan.capture.inputs, inputs)
             if node in forward.leaves or node in forward.carriers]  # fmt: skip
    slots = [a.slot for a in forward.accounts.values()]
    return any(x.dim() == 0 or len(x) != n for x in carry) or any(len(s) != n for s in slots)


def _by_owner(
    forward: _Pass,
    inputs: Sequence[Tensor],
    sent: _Sent,
    grads: _Grads,
    relevance: list[Tensor | None],
) -> tuple[dict[int, Tensor], Tensor, list[Tensor | None]]:
    """What was absorbed and the relevance of all inputs per sample, and the sample of each input row."""

    def sums(found: _Grads) -> list[Tensor]:
        pairs = zip(forward.plan.capture.inputs, inputs)
        present = [r for r, _ in (found.relevance(node, x) for node, x in pairs) if r is not None]
        return [*found.booked.values(), *(_row_sums(r) for r in present)]

    def weighted(factor: Tensor) -> list[Tensor]:
        def times(m: Tensor) -> Tensor:
            return m * factor.reshape(-1, *[1] * (m.dim() - 1)).to(m.dtype)

        given = {a: a.outright for a in forward.accounts.values() if a.outright is not None}
        for account, relevance_given in given.items():
            account.outright = times(relevance_given)
        back = forward.back([replace(sent, messages=[times(m) for m in sent.messages])], keep=True)[0]
        for account, relevance_given in given.items():
            account.outright = relevance_given
        return sums(back)

    seed = sent.seed
    n, first = len(seed.score), sums(grads)
    if n == 1:
        split = [t.sum()[None] for t in first]
        owned: list[Tensor | None] = [torch.zeros(len(t), dtype=torch.int64) for t in first]
    else:
        split, owned = by_sample(first, weighted, n)
    booked = dict(zip(grads.booked, split))
    rows = iter(owned[len(booked) :])
    owners = [None if r is None else _owner(next(rows), r) for r in relevance]
    return booked, sum(split[len(booked) :], torch.zeros_like(seed.score)), owners


def _row_sums(r: Tensor) -> Tensor:
    return r.double().reshape(len(r), -1).sum(1) if r.dim() else r.double()[None]


def _owner(found: Tensor | None, r: Tensor) -> Tensor:
    return torch.full((len(r),), -1) if found is None else found.cpu()


def _begin(session: Session, inputs: Sequence[Tensor]) -> Values:
    """Values before the first step: constants, inputs that ask for messages, sizes."""
    plan = session.plan
    values: Values = dict(session.constants)
    direct = any(item.rule is not None and item.rule.direct for item in plan.operations)
    started = {s.input for s in plan.wiring.sources.values()}
    carriers: dict[fx.Node, Tensor] = {}
    sizes: dict[Any, int] = {}
    for node, x in zip(plan.capture.inputs, inputs):
        x = x.clone() if x.is_inference() else x.detach()
        if is_float(node):
            x = x.requires_grad_() if not x.requires_grad else x
        if (direct and is_float(node)) or node in started:
            kind = x.dtype if is_float(node) else session.dtype
            carriers[node] = torch.zeros(x.shape, dtype=kind, device=x.device, requires_grad=True)
        for declared, have in zip(node.meta["val"].shape, x.shape):
            symbol = size(declared)
            if not isinstance(symbol, int):
                sizes[symbol] = have
        values[node] = x
    batch = plan.capture.batch
    values["samples"] = (
        batch if isinstance(batch, int) else int(batch.subs(sizes)) if batch is not None else 1
    )
    values["sizes"], values["device"] = sizes, inputs[0].device
    values["carriers"], values["accounts"], values["layers"], values["tickets"] = carriers, {}, {}, []
    return values


def _one_hot(ticket: Tensor, k: int) -> Tensor:
    message = torch.zeros_like(ticket)
    message[k] = 1
    return message


def _structured(plan: Plan, values: Values) -> Any:
    """All outputs as the model returns them; those that carry no relevance included."""
    return plan.capture.structured([values[n].detach() for n in plan.capture.outputs])


def _messages(plan: Plan, seed: Seed) -> list[Tensor]:
    """One message per output of the plan."""
    if plan.single:
        return [seed.message]
    sums: dict[fx.Node, Tensor] = {}
    for node, message in zip(plan.capture.outputs, seed.message):
        if message is not None:
            sums[node] = sums[node] + message if node in sums else message
    return [sums[n] for n in plan.outputs]


def _absorbed(count: int, booked: dict[int, Tensor], seed: Seed) -> Tensor:
    """(sample, account); the last account is the target itself."""
    nothing = torch.zeros_like(seed.score)
    columns = [booked[i].to(nothing) if i in booked else nothing for i in range(count)]
    return torch.stack([*columns, seed.absorbed], 1)


def account_names(session: Session) -> list[str]:
    """Names of the columns of `Attribution.absorbed`."""
    return [*session.accounts, "target"]
