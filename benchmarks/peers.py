"""Those that take part: gradient x input, sciexplain, zennit and captum, called alike.

Each gets the network as it is; none is rewritten for a peer. zennit gets what it has to be right: its rules
for activations, averages and sums, and its canonizer that merges batch norm. Peers work on a copy of the
network, since they hook or change modules.

The peers are no dependency: `pip install --no-deps zennit captum` brings them (zennit asks for torchvision,
which need not be there).
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import sciexplain as sx
from sciexplain.lrp.targets import Targets, each_target, seed

from without_torchvision import stand_in_for_torchvision  # isort: skip (a script beside this one)

COMPOSITES = ("epsilon", "epsilon_plus", "epsilon_gamma", "alpha2_beta1")
Inputs = tuple[Tensor, ...]
Relevances = list[Tensor | None]  # per input; None where it carries none, or was not asked


def nothing() -> None:
    pass


@dataclass(frozen=True)
class Contestant:
    """One way to explain the predicted class of a batch.

    Attributes
    ----------
    run : callable
        (between=nothing) -> relevance per input. This is what is timed. Gradient x input and sciexplain call
        `between` when the forward pass is done.
    around : callable
        () -> a context in which `run` is called; entering it is not timed.
    """

    run: Callable[..., Relevances]
    around: Callable[[], AbstractContextManager[Any]] = nullcontext


def gradient_times_input(model: nn.Module, inputs: Inputs) -> Contestant:
    """The plain network's gradient; of integer inputs that of the embedding's rows, summed over width."""
    rows: list[Tensor] = []
    if any(isinstance(m, nn.Embedding) for m in model.modules()):
        model = copy.deepcopy(model)  # hooks are for this contestant alone
        for module in model.modules():
            if isinstance(module, nn.Embedding):
                module.register_forward_hook(lambda _m, _i, out: rows.append(out.requires_grad_()))
    # cuDNN has no backward pass of recurrent layers in eval mode
    recurrent = any(isinstance(m, nn.RNNBase) for m in model.modules())
    around = (lambda: torch.backends.cudnn.flags(enabled=False)) if recurrent else nullcontext

    def run(between: Callable[[], None] = nothing) -> Relevances:
        rows.clear()
        leaves = [x.detach().requires_grad_() if x.is_floating_point() else x for x in inputs]
        outputs = model(*leaves)
        between()
        best = outputs.gather(1, outputs.argmax(1, keepdim=True)).sum()
        wanted = [*(x for x in leaves if x.requires_grad), *rows]
        found = iter([x.detach() * g for x, g in zip(wanted, torch.autograd.grad(best, wanted))])
        relevance: Relevances = [next(found) if x.requires_grad else None for x in leaves]
        of_rows = [r.sum(-1) for r in found]
        rows.clear()
        return [of_rows.pop(0) if r is None and of_rows else r for r in relevance]

    return Contestant(run, around)


def prepare(model: nn.Module, inputs: Inputs, composite: str) -> Any:
    """sciexplain captured, planned and with its weights ready."""
    return sx.LRP(composite).prepare(model, list(inputs), {}, layers=())


def explain(
    prepared: Any, inputs: Inputs, between: Callable[[], None] = nothing, targets: int = 0
) -> Relevances:
    """Relevance of the predicted class, or of the first `targets` classes in one backward pass."""

    def start(outputs: Tensor) -> Any:
        between()
        if targets:
            return [seed(outputs, k) for k in each_target(Targets(range(targets)), outputs)]
        return seed(outputs, "predicted")

    return prepared.run(list(inputs), start)[0].relevance


def ours(model: nn.Module, inputs: Inputs, composite: str) -> Contestant:
    prepared = prepare(model, inputs, composite)
    return Contestant(lambda between=nothing: explain(prepared, inputs, between))


class OneInput(nn.Module):
    """A network as a function of its first real input: peers take one."""

    def __init__(self, model: nn.Module, inputs: Inputs) -> None:
        super().__init__()
        self.model, self.others = model, list(inputs)
        self.place = real_input(inputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(*self.others[: self.place], x, *self.others[self.place + 1 :])


def real_input(inputs: Sequence[Tensor]) -> int:
    return next(i for i, x in enumerate(inputs) if x.is_floating_point())


def for_peers(model: nn.Module, inputs: Inputs) -> tuple[nn.Module, Tensor]:
    model = copy.deepcopy(model)
    return (model if len(inputs) == 1 else OneInput(model, inputs)), inputs[real_input(inputs)]


def zennit(model: nn.Module, inputs: Inputs, composite: str) -> Contestant | None:
    """zennit with the same rules for convolutions and linear layers; None where it is not installed."""
    if importlib.util.find_spec("zennit") is None:
        return None
    with stand_in_for_torchvision():
        from zennit.attribution import Gradient
        from zennit.canonizers import SequentialMergeBatchNorm
        from zennit.composites import LayerMapComposite, layer_map_base
        from zennit.rules import AlphaBeta, Epsilon, Gamma, ZPlus
        from zennit.types import Convolution
    epsilon = Epsilon(1e-6, zero_params=None)
    conv, linear = {
        "epsilon": (epsilon, epsilon),
        "epsilon_plus": (ZPlus(zero_params="bias"), epsilon),
        "epsilon_gamma": (Gamma(0.25), epsilon),
        "alpha2_beta1": (AlphaBeta(2, 1, zero_params="bias"), AlphaBeta(2, 1, zero_params="bias")),
    }[composite]
    layers = [*layer_map_base(), (Convolution, conv), (nn.Linear, linear)]
    copied, x = for_peers(model, inputs)
    attributor = Gradient(copied, LayerMapComposite(layers, canonizers=[SequentialMergeBatchNorm()]))

    def start(outputs: Tensor) -> Tensor:
        return nn.functional.one_hot(outputs.argmax(1), outputs.shape[1]) * outputs

    def run() -> Relevances:
        return _at(inputs, attributor(x.detach().clone(), start)[1])

    return Contestant(run, lambda: attributor)


def captum(model: nn.Module, inputs: Inputs, composite: str) -> Contestant | None:
    """captum's LRP; None where it is not installed or has no such rule (alpha-beta with beta > 0)."""
    if composite == "alpha2_beta1" or importlib.util.find_spec("captum") is None:
        return None
    from captum.attr import LRP
    from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule, GammaRule

    copied, x = for_peers(model, inputs)
    for module in copied.modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Linear)):
            conv = not isinstance(module, nn.Linear)
            rule = EpsilonRule(epsilon=1e-6)
            if conv and composite == "epsilon_plus":
                rule = Alpha1_Beta0_Rule(set_bias_to_zero=True)
            elif conv and composite == "epsilon_gamma":
                rule = GammaRule(gamma=0.25)
            module.rule = rule  # type: ignore[assignment]
    explainer = LRP(copied)
    with torch.no_grad():
        best = copied(x).argmax(1)

    def run() -> Relevances:
        return _at(inputs, explainer.attribute(x.detach().clone().requires_grad_(), target=best))

    return Contestant(run)


def _at(inputs: Inputs, relevance: Tensor) -> Relevances:
    place = real_input(inputs)
    return [relevance.detach() if i == place else None for i in range(len(inputs))]


PEERS = {"zennit": zennit, "captum": captum}


def agrees(ours: Relevances, theirs: Relevances) -> bool:
    """Same relevance, where both give one, up to rounding and one factor per sample (another score)."""
    pairs = [(a, b) for a, b in zip(ours, theirs) if a is not None and b is not None]
    a, b = (torch.cat([t.flatten(1).double() for t in side], 1) for side in zip(*pairs))
    return bool((nn.functional.cosine_similarity(a, b) > 0.9999).all())
