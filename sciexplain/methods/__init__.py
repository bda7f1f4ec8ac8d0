"""Attribution methods, all called the same way: `sx.explain(model, inputs, method=...)`."""

from __future__ import annotations

import difflib

from .backprop import Deconvnet, GuidedBackprop
from .base import Method
from .deep_lift import DeepLift
from .deep_taylor import DeepTaylor
from .expected import ExpectedGradients
from .grad_cam import GradCam
from .gradients import Gradient, GradientTimesInput, Sensitivity
from .integrated import IntegratedGradients
from .lrp import LRP, RuleMethod
from .occlusion import Occlusion
from .smoothing import SmoothGrad, VarGrad
from .taylor import SimpleTaylor

#: Methods by name, with their default settings.
METHODS: dict[str, Method] = {
    m.name: m
    for m in (
        LRP(),
        GradientTimesInput(),
        Sensitivity(),
        Gradient(),
        SimpleTaylor(),
        DeepTaylor(),
        IntegratedGradients(),
        SmoothGrad(),
        VarGrad(),
        Occlusion(),
        DeepLift(),
        GuidedBackprop(),
        Deconvnet(),
    )
}
#: Methods that need a setting, and how they are written.
WITH_SETTINGS = {
    "expected_gradients": "sx.ExpectedGradients(background=...)",
    "grad_cam": "sx.GradCam(layer=...)",
}


def method(given: str | Method) -> Method:
    """A method from its name, or as it is; LRP composites are known by their names too."""
    if isinstance(given, Method):
        return given
    if isinstance(given, str):
        from ..lrp.composites import COMPOSITES

        if given in METHODS:
            return METHODS[given]
        if given in COMPOSITES:
            return LRP(given)
        if given in WITH_SETTINGS:
            raise ValueError(f"{given!r} needs a setting: method={WITH_SETTINGS[given]}.")
        known = list(dict.fromkeys([*METHODS, *COMPOSITES]))
        close = difflib.get_close_matches(given, known, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"No method is called {given!r}.{hint} Known: {', '.join(known)}.")
    if isinstance(given, type) and issubclass(given, Method):
        raise TypeError(f"A method is a value: write {given.__name__}().")
    raise TypeError(f"A method is a name or a value such as sx.LRP('epsilon'); got {type(given).__name__}.")


__all__ = [
    "LRP",
    "METHODS",
    "Deconvnet",
    "DeepLift",
    "DeepTaylor",
    "ExpectedGradients",
    "GradCam",
    "Gradient",
    "GradientTimesInput",
    "GuidedBackprop",
    "IntegratedGradients",
    "Method",
    "Occlusion",
    "RuleMethod",
    "Sensitivity",
    "SimpleTaylor",
    "SmoothGrad",
    "VarGrad",
    "method",
]
