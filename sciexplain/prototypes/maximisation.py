"""Activation maximisation: inputs made so that a class or a hidden channel answers as strongly as it can."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..api import by_label, output_labels
from ..inputs import Inputs, batches, check_dtypes, labelled, model_device, model_dtype
from ..labelling import provenance
from ..lrp.capture import flat_tensors
from ..lrp.targets import Contrast, Targets
from ..lrp.tracing import no_autocast
from ..methods.base import Explained
from ..relevance.provenance import plain
from .ascent import Ascent, Box, Found
from .objective import Decoder, Expert, Objective, Terms
from .transforms import Transformations
from .units import Reader, check_reduction

_TERMS = {
    "score": "value of the unit at the prototype",
    "penalty": "penalty |variable|^2, which is subtracted",
    "total_variation": "weighted total variation of the prototype, which is subtracted",
    "expert": "log p of the prototype, which is added",
}


def activation_maximisation(
    model: Any,
    target: Any,
    start: Any,
    *,
    layer: str | None = None,
    reduce: str = "mean",
    channel_dim: int | None = None,
    penalty: float = 0.0,
    total_variation: float = 0.0,
    expert: Expert | None = None,
    decoder: Decoder | None = None,
    domain: tuple[Any, Any] | None = None,
    jitter: int = 0,
    rotate: float = 0.0,
    scale: tuple[float, float] = (1.0, 1.0),
    space: Sequence[Hashable] | None = None,
    optimizer: Literal["adam", "lbfgs"] = "adam",
    steps: int = 200,
    step_size: float = 0.05,
    draws: int = 1,
    seed: int = 0,
    dims: Sequence[Hashable] | None = None,
    coords: Mapping[Hashable, Any] | None = None,
    output: str = "logit",
    output_name: str | int | None = None,
    batch_size: int | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """Make prototypes: inputs x that maximise f(x) - penalty |x|^2 - total_variation TV(x) + expert(x).

    With log p(class | x) for f (a network that ends in log-softmax, output="as_is") and an expert log p(x)
    the maximum is the most likely input of the class (Montavon et al. 2018, section 3; |x|^2: Simonyan et al.
    2014; code spaces: Nguyen et al. 2016). With a decoder g, x = g(z) and z is optimised; then the penalty is
    on z.

    Parameters
    ----------
    model : as for `explain`
    target : int, label, Contrast, callable, or sequence of the first three
        Classes, or channels of the layer: one prototype each. A callable maps (row, unit) to one value a row.
    start : array or DataArray (draw, ...), tuple or dict of them, or the shape of one input (tuple of int)
        Where to begin, for every target; codes z with a decoder. A shape: `draws` times normal noise of a
        tenth of the domain's width (else 0.1) around its middle (else 0). Integers stay as they are.
    layer : str, optional
        Module path; None for the outputs.
    reduce : "max", "sum", "mean" or "centre"
        How the values of a channel at all places become one.
    channel_dim : int, optional
        Where the channels are in what the layer returns; found from its operations by default.
    penalty, total_variation : float >= 0
        TV is the sum of |difference| between neighbours along the axes of `space`.
    expert : callable, optional
        x (row, ...) -> log p (row,), differentiable: `Gaussian`, `GaussianMixture`, `Denoiser`, or your own.
    decoder : callable, optional
        z -> x, differentiable, or the tuple or dict of inputs.
    domain : (low, high), optional
        Bounds of what is optimised, numbers or arrays like one input; kept in every step.
    jitter, rotate, scale
        Largest shift (elements) and rotation (degrees), (smallest, largest) magnification; drawn each step.
    space : sequence of dims or axes, optional
        Where an input has neighbours; default all beyond the second, as in (draw, color, row, column).
    optimizer : "adam" or "lbfgs"
        L-BFGS-B reaches an optimum to many digits, but needs an objective without random moves.
    steps : int
        At most, for "lbfgs".
    step_size : float
        Of "adam", in units of the input; it falls to 0 along half a cosine.
    draws, seed : int
        For a start that is a shape; the seed is also that of the random moves.
    dims : sequence of str, optional
        Names of the prototype's dims, the first of which is the draw.
    coords : mapping, optional
        With an array for "output", targets may be labels.
    output, output_name
        As for `explain`.
    batch_size : int, optional
        Prototypes per pass; all at once by default. The result does not depend on it.
    progress : bool
        Show a bar.

    Returns
    -------
    Dataset
        `prototype` (unit, draw, *input dims), also as `prototype_NAME` where there are several; `code` with a
        decoder; `score`, `penalty`, `total_variation`, `expert` (unit, draw), float64: the terms at the end,
        without random moves; `objective` (unit, draw, step): the value before each step and at the end, NaN
        where "lbfgs" needed fewer.

    Raises
    ------
    ValueError
        Unknown or impossible settings.
    InputError, CaptureError
        The model or what it is given.

    Examples
    --------
    >>> import torch, sciexplain as sx
    >>> net = torch.nn.Linear(2, 1, bias=False)
    >>> _ = net.weight.data.copy_(torch.tensor([[1.0, -3.0]]))
    >>> ds = sx.activation_maximisation(net, 0, (2,), penalty=0.5, optimizer="lbfgs")
    >>> ds.prototype.values.round(4).tolist()  # w x - |x|^2 / 2 is largest at w
    [[[1.0, -3.0]]]
    """
    moves = Transformations(jitter, rotate, (float(scale[0]), float(scale[1])))
    _check(penalty, total_variation, optimizer, steps, step_size, moves, expert)
    check_reduction(reduce)
    box = Box(domain)
    if isinstance(start, tuple) and start and all(isinstance(s, int) for s in start):
        start = box.noise(start, draws, seed, model_dtype(model))
    given = labelled(start, None if decoder else dims, None)
    if given.joint:
        raise ValueError("start holds inputs of different first sizes; expected the same number of draws.")
    dtype, device = model_dtype(model), model_device(model, given.items)
    check_dtypes(given.items, dtype)
    begin = [item.batch(0, item.size, dtype, device) for item in given.items]
    labels = output_labels(coords)
    units, names = _units(target, labels if layer is None else None)
    reader = Reader(model, layer, channel_dim, Explained(output_name, False, output == "as_is"))
    objective = Objective(reader, given, penalty, total_variation, expert, decoder, (), reduce)
    with torch.inference_mode(False), torch.no_grad():
        made = flat_tensors(*objective.inputs(begin))
    objective.space = _space(space, given, made, moves, bool(total_variation), decoder is not None)
    ascent = Ascent(objective, box, moves, optimizer, steps, step_size, seed)
    rows = [(unit, draw) for unit in units for draw in range(given.size)]
    parts: list[Found] = []
    for first, last in _progress(list(batches(len(rows), batch_size)), progress):
        variables = [torch.stack([x[draw] for _, draw in rows[first:last]]) for x in begin]
        with torch.inference_mode(False), no_autocast():
            parts.append(ascent([v.clone() for v in variables], [unit for unit, _ in rows[first:last]]))
    result = _result(parts, objective, given, (len(units), given.size), names, dims)
    result.attrs = {
        "layer": layer or "output",
        "reduce": reduce if layer else "none",
        "output_kind": output,
        "weights": plain({"penalty": penalty, "total_variation": total_variation}),
        "expert": "none" if expert is None else type(expert).__name__,
        "decoder": "none" if decoder is None else type(decoder).__name__,
        "transformations": plain({"jitter": jitter, "rotate": rotate, "scale": list(moves.scale)}),
        "optimizer": optimizer,
        "steps": steps,
        "step_size": step_size,
        "seed": seed,
        **provenance(model),
    }
    return result


def _check(
    penalty: float,
    total_variation: float,
    optimizer: str,
    steps: int,
    step_size: float,
    moves: Transformations,
    expert: Any,
) -> None:
    for name, value in (("penalty", penalty), ("total_variation", total_variation), ("step_size", step_size)):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name}={value!r}; expected a number, 0 or more.")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps={steps!r}; expected a positive integer.")
    if optimizer not in ("adam", "lbfgs"):
        raise ValueError(f"optimizer={optimizer!r}; possible are 'adam' and 'lbfgs'.")
    if optimizer == "lbfgs" and not moves.none:
        raise ValueError(
            "optimizer='lbfgs' needs the same objective in every step: use 'adam' with random moves."
        )
    if optimizer == "lbfgs" and getattr(expert, "gradient_only", False):
        raise ValueError(f"{type(expert).__name__} knows no log p, only its gradient: use optimizer='adam'.")


def _units(target: Any, labels: list[Any] | None) -> tuple[list[Any], list[Any]]:
    """What each prototype is for, and its name."""
    if isinstance(target, Targets):
        target = range(len(labels or ())) if target.which == "all" and labels else target.which
    several = not (isinstance(target, str | int | Contrast) or callable(target))
    asked = [v.item() if hasattr(v, "item") else v for v in target] if several else [target]
    if not asked or any(v in ("predicted", "all") for v in asked if isinstance(v, str)):
        raise ValueError(f"target={target!r}; expected classes or channels, a Contrast, or a callable.")
    if several and any(callable(v) for v in asked):
        raise ValueError("A callable target is given on its own, not in a list.")
    units = [by_label(v, labels) for v in asked]

    def named(value: Any, unit: Any) -> Any:
        if isinstance(value, Contrast):
            return f"{value.a} - {value.b}"
        if callable(value):
            return getattr(value, "__name__", type(value).__name__)
        return labels[unit] if labels is not None and 0 <= unit < len(labels) else value

    names = [named(v, u) for v, u in zip(asked, units)]
    return units, names if len({type(n) for n in names}) == 1 else [str(n) for n in names]


def _space(
    asked: Sequence[Hashable] | None,
    given: Inputs,
    made: list[Tensor],
    moves: Transformations,
    variation: bool,
    decoded: bool,
) -> tuple[int, ...]:
    """The axes along which inputs have neighbours, in the order given; empty where nobody needs them."""
    if moves.none and not variation:
        return ()
    dims: Sequence[Hashable] = range(max(x.dim() for x in made)) if decoded else given.items[0].dims
    known = asked if asked is not None else list(dims)[2:]
    found = [d if isinstance(d, int) else list(dims).index(d) if d in dims else None for d in known]
    if not found or any(a is None or not 1 <= a < len(dims) for a in found) or len(set(found)) < len(found):
        raise ValueError(
            f"space={asked!r} for the dims {tuple(dims)}; expected different dims or axes beside the first,"
            " along which elements have neighbours."
        )
    if moves.turns and len(found) != 2:
        raise ValueError(
            f"rotate and scale need two axes of space; there are {len(found)}. Name them: space=."
        )
    return tuple(int(a) for a in found if a is not None)


def _result(
    parts: list[Found],
    objective: Objective,
    given: Inputs,
    shape: tuple[int, int],
    names: list[Any],
    dims: Sequence[Hashable] | None,
) -> xr.Dataset:
    found = Found.joined(parts)
    lead = ("unit", "draw")
    variables: dict[str, Any] = {}

    def placed(x: Tensor, own: Sequence[Hashable], coords: Mapping[Any, Any] | None = None) -> xr.DataArray:
        values = x.detach().cpu().numpy().reshape(*shape, *x.shape[1:])
        return xr.DataArray(values, dims=(*lead, *own), coords=coords or {})

    if objective.decoder is None:
        own_names = [item.name or n for item, n in zip(given.items, objective.reader.input_names)]
        for item, name, x in zip(given.items, own_names, found.variables):
            first = item.dims[0]
            kept = {k: v for k, v in item.coords.items() if first not in getattr(v, "dims", (k,))}
            key = f"prototype_{name}" if given.several else "prototype"
            variables[key] = placed(x, item.dims[1:], kept)
    else:
        for k, x in enumerate(found.variables):
            key = "code" if len(found.variables) == 1 else f"code_{k}"
            variables[key] = placed(x, [f"{key}_{i}" for i in range(1, x.dim())])
        for name, x in zip(objective.reader.input_names, found.made):
            several = len(found.made) > 1
            key = f"prototype_{name}" if several else "prototype"
            prefix = f"{name}_" if several else ""
            own = list(dims[1:]) if dims and not several else [f"{prefix}dim_{i}" for i in range(1, x.dim())]
            variables[key] = placed(x, own)
    terms = Terms(*(torch.cat(v) for v in zip(*((t.score, t.penalty, t.total_variation, t.expert)
                                                for t in found.terms))))  # fmt: skip
    for key, meaning in _TERMS.items():
        variables[key] = placed(getattr(terms, key), ()).assign_attrs(long_name=meaning)
    trace = found.trace.reshape(*shape, -1)
    variables["objective"] = xr.DataArray(trace, dims=(*lead, "step"), attrs={"long_name": "score - penalty"
                                          " - total_variation + expert"})  # fmt: skip
    coords = {"unit": names, "draw": np.arange(shape[1]), "step": np.arange(trace.shape[-1])}
    return xr.Dataset(variables, coords=coords)


def _progress(slices: list[tuple[int, int]], show: bool) -> Any:
    if not show:
        return slices
    from tqdm.auto import tqdm

    return tqdm(slices, desc="maximising", unit="batch")
