"""Time of selectivity beside Quantus, whose curves must be the same to 1e-4 of their range.

    python benchmarks/selectivity.py [--rounds 5] [--samples 100] [--threads 1]

Both follow the logit of the predicted class while what is most relevant goes first, replaced by 0, with the
same relevance given; both take turns in every round. "forward" is the network alone on all steps of all
samples: how long it takes if nothing but the network costs time. Steps that replace black by black give the
score of the step before; we do not run them ("run" is the share of steps that is), so that digits, most of
them black, can take less than that. Photos and noise have no such steps.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from without_torchvision import stand_in_for_torchvision

import sciexplain as sx
from sciexplain.evaluation.scoring import Scorer

TOLERANCE = 1e-4


def quantus() -> Any:
    """Quantus, without OpenCV where that is not installed: none of what is compared uses it."""
    try:
        import cv2  # noqa: F401
    except ImportError:
        sys.modules["cv2"] = types.ModuleType("cv2")
    with warnings.catch_warnings(), stand_in_for_torchvision():
        warnings.simplefilter("ignore")
        try:
            from quantus.metrics.faithfulness import pixel_flipping, selectivity
        except ImportError as error:
            raise SystemExit(f"Quantus does not import ({error}); make peers installs it.") from error
    return types.SimpleNamespace(
        PixelFlipping=pixel_flipping.PixelFlipping, Selectivity=selectivity.Selectivity
    )


def dense() -> nn.Module:
    """784-300-100-10, for digits."""
    layers = nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)
    return nn.Sequential(*layers).eval()


def convolutional() -> nn.Module:
    """Two convolutions with pooling, for digits."""
    features = (
        nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
    )  # fmt: skip
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(256, 10)).eval()


def strided() -> nn.Module:
    """Three convolutions with stride, for thumbnails in color."""
    features = (
        nn.Conv2d(3, 16, 4, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2), nn.ReLU(),
        nn.Conv2d(32, 32, 3), nn.ReLU(),
    )  # fmt: skip
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(32 * 25, 10)).eval()


# network, "digits" or the shape of noise, elements (or side of a patch) a step, whether patches
TASKS: dict[str, tuple[Callable[[], nn.Module], str | tuple[int, ...], int, bool]] = {
    "digits, dense, each pixel": (dense, "digits", 1, False),
    "digits, dense, 28 pixels a step": (dense, "digits", 28, False),
    "digits, convolutional, each pixel": (convolutional, "digits", 1, False),
    "digits, convolutional, patches of 2": (convolutional, "digits", 2, True),
    "noise, dense, each pixel": (dense, (1, 28, 28), 1, False),
    "noise, convolutional, each pixel": (convolutional, (1, 28, 28), 1, False),
    "noise in color, strided, 16 values a step": (strided, (3, 32, 32), 16, False),
    "noise in color, strided, patches of 2": (strided, (3, 32, 32), 2, True),
}


def samples_of(kind: str | tuple[int, ...], number: int) -> torch.Tensor:
    """MNIST digits (as many of each), or uniform noise."""
    if isinstance(kind, str):
        test = sx.images.mnist("test")
        every = test.values[:: len(test) // number][:number]
        return torch.from_numpy(every[:, None].astype(np.float32) / 255)
    return torch.rand(number, *kind)


def measured(name: str, samples: int, rounds: int, peer: Any) -> list[str]:
    """One row of the table."""
    build, kind, extent, patches = TASKS[name]
    torch.manual_seed(0)
    net, x = build(), samples_of(kind, samples)
    shape = tuple(x.shape[1:])
    with torch.no_grad():
        predicted = net(x).argmax(1)
    relevance = sx.explain(net, x, method="gradient_times_input").relevance.values
    settings: dict[str, Any] = {"imputer": "constant", "order": "most"}
    if patches:
        regions = sx.images.patches(shape[1:], extent).values
        settings |= {"regions": regions, "steps": int(regions.max()) + 1}
        metric = peer.Selectivity(
            patch_size=extent, perturb_baseline=0.0, normalise=False, disable_warnings=True
        )
    else:
        settings["steps"] = int(np.prod(shape)) // extent
        metric = peer.PixelFlipping(
            features_in_step=extent, perturb_baseline=0.0, normalise=False, disable_warnings=True
        )
    array, labels = x.numpy(), predicted.numpy()

    def theirs() -> np.ndarray:
        return np.array(
            metric(net, array, labels, relevance, softmax=False, device="cpu", channel_first=True)
        )

    def ours() -> np.ndarray:
        found = sx.selectivity(net, x, relevance, labels.tolist(), **settings)
        return found.curve.values[:, 0, 1:]  # Quantus leaves the whole input out

    curve = ours()
    steps, run = curve.shape[1], float((np.diff(curve, axis=1) != 0).mean())
    size = Scorer(net, x).batch_size
    many = x.repeat(steps, 1, 1, 1)

    def forward() -> None:
        with torch.inference_mode():
            for part in many.split(size):
                net(part)

    def area(curve: np.ndarray) -> np.ndarray:
        return (curve[:, 1:] + curve[:, :-1]).mean(1) / 2

    contestants: dict[str, Callable[[], Any]] = {"theirs": theirs, "ours": ours, "forward": forward}
    results = {key: call() for key, call in contestants.items()}
    extent_of_scores = np.abs(results["theirs"]).max()
    off = float(np.abs(area(results["theirs"]) - area(results["ours"])).max() / extent_of_scores)
    times: dict[str, list[float]] = {key: [] for key in contestants}
    for _ in range(rounds):
        for key, call in contestants.items():
            start = time.perf_counter()
            call()
            times[key].append(time.perf_counter() - start)
    faster = statistics.median(a / b for a, b in zip(times["theirs"], times["ours"]))
    above = statistics.median(a / b for a, b in zip(times["ours"], times["forward"]))
    seconds = [f"{statistics.median(times[key]):.2f}" for key in ("theirs", "ours")]
    return [
        name,
        str(steps),
        f"{run:.0%}",
        *seconds,
        f"{faster:.1f}",
        f"{above:.1f}",
        f"{off:.0e}",
        "yes" if off < TOLERANCE else "NO",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="tasks with this in their name")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    peer = quantus()
    print(
        f"{arguments.samples} samples, {arguments.threads} thread(s), medians of {arguments.rounds} rounds,"
        f" torch {torch.__version__}"
    )
    head = [
        "task",
        "steps",
        "run",
        "Quantus, s",
        "ours, s",
        "times faster",
        "ours / forward",
        "area off by",
        "agrees",
    ]
    print("| " + " | ".join(head) + " |")
    print("|" + " --- |" * len(head))
    for name in TASKS:
        if arguments.only in name:
            row = measured(name, arguments.samples, arguments.rounds, peer)
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
