"""sciexplain: what did a network trained on scientific data learn?

import sciexplain as sx
ds = sx.explain(model, inputs, method=sx.LRP("epsilon_plus"))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "explain": "api",
    "plan": "api",
    "InputError": "inputs",
    "LRP": "methods",
    "Sensitivity": "methods",
    "GradientTimesInput": "methods",
    "IntegratedGradients": "methods",
    "DeepTaylor": "methods",
    "ExpectedGradients": "methods",
    "DeepLift": "methods",
    "GradCam": "methods",
    "GuidedBackprop": "methods",
    "Deconvnet": "methods",
    "Gradient": "methods",
    "SimpleTaylor": "methods",
    "SmoothGrad": "methods",
    "VarGrad": "methods",
    "Occlusion": "methods",
    "Composite": "lrp.composites",
    "COMPOSITES": "lrp.composites",
    "Contrast": "lrp.targets",
    "Targets": "lrp.targets",
    "CaptureError": "lrp.errors",
    "PlanError": "lrp.errors",
    "RaggedInputError": "lrp.errors",
    "TargetError": "lrp.errors",
    "UnsupportedOperationError": "lrp.errors",
    "ConservationWarning": "lrp.errors",
    "product_structure": "evaluation",
    "continuity": "evaluation",
    "compare_methods": "evaluation",
    "sanity_check": "evaluation",
    "randomise_layers": "evaluation",
    "shattering": "evaluation",
    "localisation": "evaluation",
    "context_ratio": "evaluation",
    "selectivity": "evaluation",
    "reference_samples": "prototypes",
    "activation_maximisation": "prototypes",
    "regions": "relevance",
    "windows": "relevance",
    "bands": "relevance",
    "compose": "relevance",
    "pool": "relevance",
    "band_relevance": "relevance",
    "frequency_relevance": "relevance",
    "time_frequency_relevance": "relevance",
    "class_means": "relevance",
    "validate": "relevance",
    "save": "relevance",
    "load": "relevance",
}
_MODULES = {
    "rules": "lrp.rules",
    "imputers": "methods.imputers",
    "eeg": "domains.eeg",
    "images": "domains.images",
    "molecules": "domains.molecules",
    "data": "data",
    "prototypes": "prototypes",
    "models": "models",
}

if TYPE_CHECKING:
    from . import data, models, prototypes
    from .api import explain, plan
    from .domains import eeg, images, molecules
    from .evaluation import (
        compare_methods,
        context_ratio,
        continuity,
        localisation,
        product_structure,
        randomise_layers,
        sanity_check,
        selectivity,
        shattering,
    )
    from .inputs import InputError
    from .lrp import rules
    from .lrp.composites import COMPOSITES, Composite
    from .lrp.errors import (
        CaptureError,
        ConservationWarning,
        PlanError,
        RaggedInputError,
        TargetError,
        UnsupportedOperationError,
    )
    from .lrp.targets import Contrast, Targets
    from .methods import (
        LRP,
        Deconvnet,
        DeepLift,
        DeepTaylor,
        ExpectedGradients,
        GradCam,
        Gradient,
        GradientTimesInput,
        GuidedBackprop,
        IntegratedGradients,
        Occlusion,
        Sensitivity,
        SimpleTaylor,
        SmoothGrad,
        VarGrad,
        imputers,
    )
    from .prototypes import activation_maximisation, reference_samples
    from .relevance import (
        band_relevance,
        bands,
        class_means,
        compose,
        frequency_relevance,
        load,
        pool,
        regions,
        save,
        time_frequency_relevance,
        validate,
        windows,
    )

__all__ = [
    "COMPOSITES",
    "LRP",
    "CaptureError",
    "Composite",
    "ConservationWarning",
    "Contrast",
    "Deconvnet",
    "DeepLift",
    "DeepTaylor",
    "ExpectedGradients",
    "GradCam",
    "Gradient",
    "GradientTimesInput",
    "GuidedBackprop",
    "InputError",
    "IntegratedGradients",
    "Occlusion",
    "PlanError",
    "RaggedInputError",
    "Sensitivity",
    "SimpleTaylor",
    "SmoothGrad",
    "TargetError",
    "Targets",
    "UnsupportedOperationError",
    "VarGrad",
    "activation_maximisation",
    "band_relevance",
    "bands",
    "class_means",
    "compare_methods",
    "compose",
    "context_ratio",
    "continuity",
    "data",
    "eeg",
    "explain",
    "frequency_relevance",
    "images",
    "imputers",
    "load",
    "localisation",
    "models",
    "molecules",
    "plan",
    "pool",
    "product_structure",
    "prototypes",
    "randomise_layers",
    "reference_samples",
    "regions",
    "rules",
    "sanity_check",
    "save",
    "selectivity",
    "shattering",
    "time_frequency_relevance",
    "validate",
    "windows",
]


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is asked for: importing sciexplain alone costs nothing beyond Python."""
    if name in _MODULES:
        value: Any = importlib.import_module(f".{_MODULES[name]}", __name__)
    elif name in _WHERE:
        value = getattr(importlib.import_module(f".{_WHERE[name]}", __name__), name)
    else:
        raise AttributeError(f"module 'sciexplain' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
