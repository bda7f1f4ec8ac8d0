"""zennit without torchvision, for the benchmarks and for the tests of agreement."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def stand_in_for_torchvision() -> Iterator[None]:
    """zennit imports two classes of torchvision, which are not needed here; the stand-in goes again."""
    if importlib.util.find_spec("torchvision") is not None:
        yield
        return
    made = {name: types.ModuleType(name) for name in ("torchvision", "torchvision.models")}
    made["torchvision.models.resnet"] = resnet = types.ModuleType("torchvision.models.resnet")
    resnet.BasicBlock = type("BasicBlock", (nn.Module,), {})  # type: ignore[attr-defined]
    resnet.Bottleneck = type("Bottleneck", (nn.Module,), {})  # type: ignore[attr-defined]
    sys.modules.update(made)
    try:
        yield
    finally:
        for name in made:
            del sys.modules[name]
