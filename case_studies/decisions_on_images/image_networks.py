"""The three networks: trained here (digits, thumbnails) or read (ImageNet), and how right they are.

`python case_studies/decisions_on_images/image_networks.py` trains the network for thumbnails anew and writes
its checkpoint beside this file.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import xarray as xr

import sciexplain as sx
from sciexplain.domains.images.collections import CIFAR10_CLASSES
from sciexplain.models.efficientnet_lite import MEAN, SCALE

HERE = Path(__file__).resolve().parent
KEPT = HERE / "networks" / "thumbnail_net.safetensors"


@dataclass(frozen=True)
class Recipe:
    """Settings of one training; the checkpoint carries them."""

    epochs: int
    lr: float
    batch_size: int
    weight_decay: float
    max_shift: int
    flip: bool
    fill: float  # of the pixels that a shift brings in
    seed: int = 0


DIGITS = Recipe(epochs=15, lr=2e-3, batch_size=64, weight_decay=1e-2, max_shift=2, flip=False, fill=0.0)
SURROUNDED = Recipe(epochs=6, lr=4e-3, batch_size=64, weight_decay=5e-2, max_shift=0, flip=True, fill=0.0)
SURROUNDED_SHORT = Recipe(3, 4e-3, 32, 5e-2, 0, True, 0.0)
THUMBNAILS = Recipe(epochs=6, lr=4e-3, batch_size=128, weight_decay=5e-2, max_shift=2, flip=True, fill=0.0)

PHOTOS = sx.images.Preprocess(
    (
        sx.images.Resize(256, "bicubic"),
        sx.images.CenterCrop(224),
        sx.images.Normalize((MEAN,) * 3, (SCALE,) * 3),
    )
)
"""What EfficientNet-Lite0 takes: about -1 to 1."""


def digit_input(digits: xr.DataArray) -> xr.DataArray:
    """(sample, row, column), 0 to 255 -> (sample, color, row, column), 0 to 1."""
    return (digits / np.float32(255)).expand_dims(color=1, axis=1)


def thumbnail_input(pictures: xr.DataArray) -> xr.DataArray:
    """(sample, row, column, color), 0 to 255 -> (sample, color, row, column), -1 to 1."""
    return (pictures / np.float32(127.5) - np.float32(1)).transpose("sample", "color", "row", "column")


def photo_input(pixels: np.ndarray) -> np.ndarray:
    """(sample, row, column, color), 0 to 255, in its final size -> (sample, color, row, column)."""
    scaled = (pixels / np.float32(255) - np.float32(MEAN)) / np.float32(SCALE)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def train(net: torch.nn.Module, inputs: xr.DataArray, recipe: Recipe, progress: bool = False) -> float:
    """In place; returns the minutes of processor time that it took."""
    started = time.process_time()
    sx.models.fit(
        net,
        inputs.values,
        inputs["label"].values,
        epochs=recipe.epochs,
        lr=recipe.lr,
        batch_size=recipe.batch_size,
        weight_decay=recipe.weight_decay,
        augment=sx.models.ShiftFlip(recipe.max_shift, recipe.flip, recipe.fill),
        seed=recipe.seed,
        progress=progress,
    )
    return (time.process_time() - started) / 60


def digit_net(bias: bool = True) -> tuple[torch.nn.Module, dict[str, float]]:
    """Trained on 4,000 digits in a quarter of a minute, and not kept; with what it cost and reached."""
    digits, held_out = digit_input(sx.images.mnist("train")), digit_input(sx.images.mnist("test"))
    net = sx.models.DigitNet(bias=bias, seed=0)
    minutes = train(net, digits, DIGITS)
    right = sx.models.accuracy(net, held_out.values, held_out["label"].values)
    return net, {"test_accuracy": right, "cpu_minutes": minutes}


def train_thumbnail_net(path: Path, progress: bool = True) -> dict[str, float]:
    """Train on the 50,000 thumbnails, write the checkpoint, return accuracy and minutes.

    Settings were chosen on 5,000 of the training pictures; the test pictures are looked at once, here.
    """
    net = sx.models.ThumbnailNet(seed=0)
    minutes = train(net, thumbnail_input(sx.images.cifar10("train")), THUMBNAILS, progress)
    held_out = thumbnail_input(sx.images.cifar10("test"))
    right = sx.models.accuracy(net, held_out.values, held_out["label"].values, batch_size=250)
    result = {"test_accuracy": right, "cpu_minutes": round(minutes, 1)}
    path.parent.mkdir(parents=True, exist_ok=True)
    info = {
        **result,
        **asdict(THUMBNAILS),
        "classes": list(CIFAR10_CLASSES),
        "torch": torch.__version__,
    }
    sx.models.save_checkpoint(net, path, info=info)
    return result


def thumbnail_net(path: Path = KEPT) -> tuple[torch.nn.Module, dict[str, object]]:
    """The network of a checkpoint, and its notes: accuracy, minutes, settings."""
    return sx.models.load_checkpoint(path)


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> float:
    """Largest difference of two networks' weights and statistics; 0 where they are the same."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return max(float((a.double() - b.double()).abs().max()) for a, b in pairs)


def photo_net() -> torch.nn.Module:
    """EfficientNet-Lite0 with its published weights."""
    return sx.models.load_efficientnet_lite0(next(iter(sx.data.fetch("efficientnet_lite0").values())))


if __name__ == "__main__":
    torch.set_num_threads(1)
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else KEPT
    print(train_thumbnail_net(target), "->", target)
