"""zennit and captum, called like our own: a network, inputs, R at the output or a target -> relevance.

Both work on a copy of the network: captum writes to its modules. Both are handed inputs that require a
gradient: captum warns of any other.
"""

import copy
import importlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

FILE = Path(__file__).parents[2] / "benchmarks" / "without_torchvision.py"
_SPEC = importlib.util.spec_from_file_location("without_torchvision", FILE)
_SHARED = importlib.util.module_from_spec(_SPEC)  # the benchmarks are scripts, no package
_SPEC.loader.exec_module(_SHARED)


def zennit(module):
    """`zennit.module`; skips the test where zennit is missing."""
    with _SHARED.stand_in_for_torchvision():
        return pytest.importorskip(f"zennit.{module}", reason="zennit is not installed: make peers")


def captum(module):
    """`captum.module`; skips the test where captum is missing."""
    return pytest.importorskip(f"captum.{module}", reason="captum is not installed: make peers")


def exact(denominator):
    """A stabiliser for zennit that changes nothing but 0, where every share is 0 in any case."""
    return torch.where(denominator == 0, torch.ones_like(denominator), denominator)


def zennit_composite(rules, canonizers=(), stabiliser=exact):
    """A composite from {"conv": rule, "linear": rule, "input": rule}.

    Other modules have zennit's own rules: Pass (R in = R out) for activations and batch norm, Norm (in
    proportion) for average pools and zennit.layer.Sum; all that has no rule passes on a plain gradient.
    """
    composites, kinds = zennit("composites"), zennit("types")
    others = composites.layer_map_base(stabiliser)
    weighted = [
        (kind, rules[key])
        for key, kind in (("conv", kinds.Convolution), ("linear", torch.nn.Linear))
        if key in rules
    ]
    options = {"layer_map": others + weighted, "canonizers": list(canonizers)}
    if "input" in rules:
        return composites.SpecialFirstLayerMapComposite(first_map=[(kinds.Linear, rules["input"])], **options)
    return composites.LayerMapComposite(**options)


def zennit_relevance(net, x, R, composite):
    """Relevance of x given R at the output."""
    x, R = torch.as_tensor(x).clone().requires_grad_(), torch.as_tensor(R)
    with zennit("attribution").Gradient(copy.deepcopy(net), composite) as attributor:
        _, relevance = attributor(x, R)
    return relevance.detach().numpy()


def captum_lrp(net, inputs, target, rules=None):
    """Relevance of each input from captum's LRP, which starts at the output `target` itself.

    rules: module path -> rule; LRP-epsilon with epsilon = 1e-9 elsewhere.
    """
    net = copy.deepcopy(net)
    for path, rule in (rules or {}).items():
        net.get_submodule(path).rule = rule
    several = isinstance(inputs, tuple)
    leaves = tuple(torch.as_tensor(x).clone().requires_grad_() for x in (inputs if several else (inputs,)))
    found = captum("attr").LRP(net).attribute(leaves, target=target)
    arrays = [r.detach().numpy() for r in found]
    return arrays if several else arrays[0]


def far_apart(a, b, by=1e-2):
    """Whether two relevances differ by more than `by` of the larger's size anywhere."""
    return bool(np.abs(a - b).max() > by * max(np.abs(a).max(), np.abs(b).max()))
