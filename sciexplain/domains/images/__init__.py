"""Images: from pictures and a network to relevance per pixel, region and original picture, and to figures."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# Public name -> module that defines it; loaded when first asked for, so that `import sciexplain` loads
# neither Pillow nor scikit-image.
_HOME = {
    "NCHW": "preprocess",
    "IMAGENET": "preprocess",
    "Preprocess": "preprocess",
    "Resize": "preprocess",
    "CenterCrop": "preprocess",
    "Crop": "preprocess",
    "Gray": "preprocess",
    "Normalize": "preprocess",
    "load": "preprocess",
    "Pictures": "pictures",
    "ImageError": "pictures",
    "explain": "adapter",
    "on_original": "geometry",
    "onto_model": "geometry",
    "to_picture": "geometry",
    "patches": "regions",
    "superpixels": "regions",
    "boxes": "regions",
    "label_map": "regions",
    "pool": "regions",
    "plot_heatmaps": "plots",
    "plot_grid": "plots",
    "plot_overlay": "plots",
    "plot_regions": "plots",
    "mnist": "collections",
    "cifar10": "collections",
    "imagenet_photos": "collections",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
