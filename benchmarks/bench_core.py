"""Time of LRP as a multiple of gradient x input, beside zennit and captum where they run.

All contestants take turns in one run; the table holds medians. The floor, what the products of a rule cost
at least, stands beside each ratio of ours. A peer whose relevance differs from ours under the same rules is
marked "other result": it took the plain gradient of an operation that it has no hook for.

    python benchmarks/bench_core.py [--repeats 7] [--threads 1 2] [--only vgg11]

The peers are no dependency: `pip install --no-deps zennit captum` brings them (zennit asks for torchvision,
which need not be there).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import types
import warnings
from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor, nn

import sciexplain as sx
from sciexplain.lrp.targets import seed
from sciexplain.models import EEGNet, ShallowConvNet

COMPOSITES = ("epsilon", "epsilon_plus", "epsilon_gamma", "alpha2_beta1")
# non-negative to signed inputs of the operations, as the graph knows them
FLOORS = {"epsilon": "1.0", "epsilon_plus": "1.5-2.5", "epsilon_gamma": "1.5-4.5", "alpha2_beta1": "2.5-4.5"}


def vgg11() -> nn.Module:
    """VGG11 with random weights (Simonyan and Zisserman 2015, column A)."""
    layers: list[nn.Module] = []
    width = 3
    for size in (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0):
        if size:
            layers += [nn.Conv2d(width, size, 3, padding=1), nn.ReLU(inplace=True)]
            width = size
        else:
            layers.append(nn.MaxPool2d(2))
    head = [nn.Flatten(), nn.Linear(512 * 49, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU()]
    return nn.Sequential(*layers, *head, nn.Linear(4096, 1000))


def four_convolutions() -> nn.Module:
    """A small net for 32 x 32 pictures."""

    def block(a: int, b: int) -> list[nn.Module]:
        return [
            nn.Conv2d(a, b, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(b, b, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]

    return nn.Sequential(*block(3, 32), *block(32, 64), nn.Flatten(), nn.Linear(64 * 64, 10))


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "vgg11 224 px": (vgg11, (1, 3, 224, 224)),
    "4 convolutions 32 px": (four_convolutions, (16, 3, 32, 32)),
    "ShallowConvNet 22 x 1000": (lambda: ShallowConvNet(22, 2, 1000), (16, 22, 1000)),
    "EEGNet 22 x 1000": (lambda: EEGNet(22, 2, 1000), (16, 22, 1000)),
}


def ours(model: nn.Module, x: Tensor, composite: str) -> Callable[[], Tensor]:
    prepared = sx.LRP(composite).prepare(model, [x], {}, keep_final=False, layers=())
    return lambda: prepared.run([x], lambda outputs: seed(outputs, "predicted")).relevance[0]  # type: ignore


def gradient_times_input(model: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    def run() -> Tensor:
        leaf = x.clone().requires_grad_()
        outputs = model(leaf)
        best = outputs.gather(1, outputs.argmax(1, keepdim=True)).sum()
        return leaf.detach() * torch.autograd.grad(best, leaf)[0]

    return run


def zennit(model: nn.Module, x: Tensor, composite: str) -> Callable[[], Tensor] | None:
    """zennit's hooks with the same rules for convolutions and linear layers."""
    stub = types.ModuleType("torchvision")  # zennit imports it, uses it for nothing that is needed here
    for name in ("models", "models.vgg", "models.resnet"):
        sys.modules[f"torchvision.{name}"] = module = types.ModuleType(name)
        for cls in ("BasicBlock", "Bottleneck", "ResNet", "VGG"):
            setattr(module, cls, type(cls, (), {}))
        setattr(stub, name.split(".")[-1], module)
    stub.models = sys.modules["torchvision.models"]  # type: ignore[attr-defined]
    for name in ("vgg", "resnet"):
        setattr(sys.modules["torchvision.models"], name, sys.modules[f"torchvision.models.{name}"])
    sys.modules.setdefault("torchvision", stub)
    try:
        from zennit.attribution import Gradient
        from zennit.composites import LayerMapComposite
        from zennit.rules import AlphaBeta, Epsilon, Gamma, ZPlus
        from zennit.types import Convolution, Linear
    except ImportError:
        return None
    epsilon = Epsilon(1e-6, zero_params=None)
    conv, linear = {
        "epsilon": (epsilon, epsilon),
        "epsilon_plus": (ZPlus(zero_params="bias"), epsilon),
        "epsilon_gamma": (Gamma(0.25), epsilon),
        "alpha2_beta1": (AlphaBeta(2, 1, zero_params="bias"), AlphaBeta(2, 1, zero_params="bias")),
    }[composite]
    rules = LayerMapComposite([(Convolution, conv), (Linear, linear)])

    def run() -> Tensor:
        def start(outputs: Tensor) -> Tensor:
            chosen = torch.nn.functional.one_hot(outputs.argmax(1), outputs.shape[1])
            return chosen * outputs

        with Gradient(model, rules) as attributor:
            return attributor(x.clone(), start)[1]

    return run


def captum(model: nn.Module, x: Tensor, composite: str) -> Callable[[], Tensor] | None:
    """captum's LRP has no composite by name; its epsilon rule is the one to compare."""
    if composite != "epsilon":
        return None
    try:
        from captum.attr import LRP
    except ImportError:
        return None

    def run() -> Tensor:
        return LRP(model).attribute(x.clone(), target=model(x).argmax(1))

    return run


def agrees(ours: Tensor, theirs: Tensor) -> bool:
    """Same relevance up to rounding and one factor per sample (another convention for the score)."""
    a, b = ours.flatten(1).double(), theirs.detach().flatten(1).double()
    cosine = torch.nn.functional.cosine_similarity(a, b)
    return bool((cosine > 0.9999).all())


def measure(calls: dict[str, Callable[[], Tensor]], repeats: int) -> dict[str, float]:
    """Median seconds of each call, taking turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def compare(name: str, repeats: int) -> pd.DataFrame:
    make, shape = NETS[name]
    torch.manual_seed(0)
    model = make().eval().requires_grad_(False)
    x = torch.randn(shape)
    calls: dict[str, Callable[[], Tensor]] = {"gradient x input": gradient_times_input(model, x)}
    marks: dict[str, str] = {}
    for composite in COMPOSITES:
        mine = ours(model, x, composite)
        calls[f"sciexplain {composite}"] = mine
        for peer, maker in (("zennit", zennit), ("captum", captum)):
            key = f"{peer} {composite}"
            try:
                call = maker(model, x, composite)
                if call is None:
                    continue
                marks[key] = "" if agrees(mine(), call()) else "other result"
                calls[key] = call
            except Exception as error:
                marks[key] = f"fails: {type(error).__name__}"
    medians = measure(calls, repeats)
    base = medians["gradient x input"]
    rows = []
    for key in dict.fromkeys([*calls, *marks]):
        ratio = medians[key] / base if key in medians else float("nan")
        floor = FLOORS.get(key.split(" ")[-1], "") if key.startswith("sciexplain") else ""
        rows.append(
            (
                name,
                key,
                round(medians.get(key, float("nan")) * 1e3, 1),
                round(ratio, 2),
                floor,
                marks.get(key, ""),
            )
        )
    return pd.DataFrame(rows, columns=["network", "method", "ms", "x gradient", "floor", "remark"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        tables = [compare(name, arguments.repeats) for name in NETS if arguments.only in name]
        print(f"\n{threads} thread(s), torch {torch.__version__}, medians of {arguments.repeats}")
        print(pd.concat(tables).to_string(index=False))


if __name__ == "__main__":
    main()
