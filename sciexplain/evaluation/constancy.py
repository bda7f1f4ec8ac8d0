"""Is relevance a product of activation and a constant? Deep Taylor decomposition assumes so at each layer."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..api import explain
from ..inputs import Inputs, check_dtypes, labelled, model_device, model_dtype
from ..lrp.targets import Targets
from ..methods import Method
from ..methods import method as find_method

_MEANING = {
    "activation_change": "sum |c (a' - a)| / sum |a c|: change of relevance if only the activations changed",
    "message_change": "sum |a (c' - c)| / sum |a c|: change of relevance if only the messages changed",
    "relevance_change": "sum |R' - R| / sum |R|",
    "ratio": "message_change / activation_change; 0 where c is constant",
}


def product_structure(
    model: Any,
    inputs: Any,
    layers: Sequence[str],
    target: Any = "predicted",
    method: str | Method = "lrp",
    *,
    towards: Any = None,
    steps: Sequence[float] = (0.01, 0.03, 0.1, 0.3),
    draws: int = 4,
    seed: int = 0,
    coords: Mapping[Hashable, Any] | None = None,
    output: str = "logit",
    output_name: str | int | None = None,
    batch_size: int | None = None,
) -> xr.Dataset:
    """Measure how constant c is in R = a c, layer by layer, while the input changes.

    LRP's relevance at a neuron is its activation a times a message c. Deep Taylor decomposition takes c for
    a constant near the input (Montavon et al. 2017; Montavon et al. 2018, section 5), so that relevance
    changes as activations do. Each input x is moved to x' and both changes are put on one scale, that of
    relevance: dR = c da + a dc + da dc. Inactive neurons (a = 0) say nothing about c and have no weight.

    Parameters
    ----------
    model, inputs, output, output_name, batch_size
        As for `explain`.
    layers : sequence of str
        Module paths.
    target : as for `explain`, one
        "predicted" is the prediction at x, also at x'.
    method : str or Method
        One that gives messages at layers: LRP, or gradient x input.
    towards : like inputs, optional
        x' = x + step (towards - x): the way to other, real inputs. Default: x' = x + step rms(x) noise,
        normal noise, rms over each sample. Integer inputs stay.
    steps : sequence of float > 0
    draws : int
        Directions of noise to average over; one where `towards` is given.
    seed : int
    coords : mapping, optional
        As for `explain`; with an array for "output", targets may be labels.

    Returns
    -------
    Dataset
        `activation_change`, `message_change`, `relevance_change` (layer, sample, step), float64, means over
        the draws, and `ratio` of the second to the first: 0 for a constant c (LRP-0 in a network without
        biases, inside a linear region), 1 where messages change as much as activations. NaN where no
        relevance reaches the layer; the ratio also where its activations did not change.

    Raises
    ------
    ValueError
        Several targets, no layers, steps that are not positive, a layer without messages or without samples
        in its first dimension.

    Examples
    --------
    >>> import torch, sciexplain as sx
    >>> class Square(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x.square()
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 1, bias=False), Square())
    >>> found = sx.product_structure(net, torch.tensor([[1.0, 2.0]]), ["0"], 0, steps=[0.1])
    >>> found.ratio.values.round(3).tolist()  # R = h^2: c = h changes as a = h does
    [[[1.0]]]
    """
    chosen = find_method(method)
    if isinstance(target, Targets):
        raise ValueError("product_structure takes one target; call it for each.")
    if isinstance(layers, str) or not layers:
        raise ValueError(f"layers={layers!r}; expected a list of module paths, at least one.")
    if not steps or not all(0 < s < float("inf") for s in steps):
        raise ValueError(f"steps={steps!r}; expected positive numbers.")
    given = labelled(inputs, None, coords)
    dtype, device = model_dtype(model), model_device(model, given.items)
    check_dtypes(given.items, dtype)
    start = [item.batch(0, item.size, dtype, device) for item in given.items]
    way = _ways(given, start, towards, draws, seed, dtype, device)
    options: dict[str, Any] = {
        "output": output,
        "output_name": output_name,
        "batch_size": batch_size,
        "layers": tuple(layers),
    }
    labels: dict[Hashable, Any] = {"output": coords["output"]} if coords and "output" in coords else {}
    at = explain(model, inputs, target, chosen, coords=coords, **options)
    if isinstance(target, str) and target == "predicted":
        target = at.target.values.tolist()
    a, c = _products(at, layers)
    shape = (len(layers), at.sizes[at.score.dims[0]], len(steps))
    sums = {name: np.zeros(shape) for name in ("activation_change", "message_change", "relevance_change")}
    for direction in way:
        for k, step in enumerate(steps):
            moved = [x + step * d if d is not None else x for x, d in zip(start, direction)]
            near = explain(model, _like(inputs, given, moved), target, chosen, coords=labels, **options)
            for i, (one, two) in enumerate(zip(zip(a, c), zip(*_products(near, layers)))):
                for name, value in _changes(*one, *two).items():
                    sums[name][i, :, k] += value
    means = {name: value / len(way) for name, value in sums.items()}
    with np.errstate(divide="ignore", invalid="ignore"):
        means["ratio"] = means["message_change"] / means["activation_change"]
    means["ratio"][means["activation_change"] == 0] = np.nan
    dims = ("layer", at.score.dims[0], "step")
    return xr.Dataset(
        {name: (dims, value, {"long_name": _MEANING[name]}) for name, value in means.items()},
        coords={**at.score.coords, "layer": list(layers), "step": np.asarray(steps, dtype=float)},
        attrs={**at.attrs, "towards": "noise" if towards is None else "given", "seed": seed},
    )


def _ways(
    given: Inputs, start: list[Tensor], towards: Any, draws: int, seed: int, dtype: Any, device: Any
) -> list[list[Tensor | None]]:
    """Directions in which the inputs move; None for those that stay."""
    moves = [x.is_floating_point() for x in start]
    if not any(moves):
        raise ValueError("No input is made of real numbers: there is nothing to move.")
    if towards is not None:
        ends = labelled(towards, None, None).items
        shapes = [tuple(i.values.shape) for i in ends], [tuple(i.values.shape) for i in given.items]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"towards has the shapes {shapes[0]}, the inputs {shapes[1]}; they must be equal."
            )
        found = [e.batch(0, e.size, dtype, device) for e in ends]
        return [[e - x if m else None for e, x, m in zip(found, start, moves)]]
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
        raise ValueError(f"draws={draws!r}; expected a positive integer.")
    random = torch.Generator().manual_seed(seed)
    return [[_noise(x, random) if m else None for x, m in zip(start, moves)] for _ in range(draws)]


def _noise(x: Tensor, random: torch.Generator) -> Tensor:
    size = x.double().square().reshape(len(x), -1).mean(1).sqrt().reshape(-1, *[1] * (x.dim() - 1))
    noise = torch.randn(x.shape, generator=random, dtype=torch.float64)
    return (noise.to(x.device) * size).to(x.dtype)


def _like(inputs: Any, given: Inputs, tensors: list[Tensor]) -> Any:
    """The tensors in the structure of the inputs."""
    args, kwargs = given.assemble(tensors)
    if isinstance(inputs, Mapping):
        return kwargs
    return args if isinstance(inputs, tuple) else args[0]


def _products(ds: xr.Dataset, layers: Sequence[str]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """a and c of each layer, (sample, ...) in float64."""
    a, c = [], []
    for path in layers:
        if f"message_{path}" not in ds:
            raise ValueError(
                f"{ds.attrs['method']} gives no messages at {path!r}: R is no product a c there."
            )
        if ds[f"message_{path}"].dims[0] != ds.score.dims[0]:
            raise ValueError(
                f"The first dimension of {path!r}, of shape {ds[f'message_{path}'].shape}, does not number"
                f" the {ds.score.size} samples."
            )
        a.append(ds[f"input_{path}"].values.astype(np.float64).reshape(ds.score.size, -1))
        c.append(ds[f"message_{path}"].values.astype(np.float64).reshape(ds.score.size, -1))
    return a, c


def _changes(a: np.ndarray, c: np.ndarray, a2: np.ndarray, c2: np.ndarray) -> dict[str, np.ndarray]:
    whole = np.abs(a * c).sum(1)
    whole = np.where(whole == 0, np.nan, whole)
    return {
        "activation_change": np.abs(c * (a2 - a)).sum(1) / whole,
        "message_change": np.abs(a * (c2 - c)).sum(1) / whole,
        "relevance_change": np.abs(a2 * c2 - a * c).sum(1) / whole,
    }
