"""Samples of a data set that show what a class or a hidden channel stands for."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..api import by_label, explain, output_labels
from ..inputs import InputError, Inputs, check_dtypes, labelled, model_device, model_dtype
from ..labelling import provenance
from ..lrp.targets import Targets, seed
from ..lrp.tracing import no_autocast
from ..methods import LRP, Method
from ..methods import method as find_method
from ..methods.base import Explained
from .best import Best, Kept
from .evidence import Evidence
from .streams import Pick, Stream, size_of, stream
from .units import Reader, check_reduction, pooled, unit_indices

KEEP = ("input", "relevance", "box")


def reference_samples(
    model: Any,
    data: Any,
    layer: str | None = None,
    channels: Any = None,
    by: Literal["activation", "relevance"] = "activation",
    *,
    n: int = 8,
    target: Any = "predicted",
    method: str | Method = "lrp",
    reduce: str | None = None,
    normalise: bool = False,
    largest: bool = True,
    keep: Sequence[str] = ("input",),
    channel_dim: int | None = None,
    pick: Pick | None = None,
    coords: Mapping[Hashable, Any] | None = None,
    output: str = "logit",
    output_name: str | int | None = None,
    batch_size: int = 64,
    progress: bool = False,
) -> xr.Dataset:
    """Find the samples that most activate a class or hidden channel, or for which it is most relevant.

    Activation shows what a unit responds to, relevance what the model uses it for: ActMax and RelMax of
    Achtibat et al. (2023). Data is streamed: besides a batch, only the best `n` per unit are held.

    Parameters
    ----------
    model : as for `explain`
    data : array, DataArray, Tensor, or tuple or dict of them; data set of samples; iterable of batches
        Lazy arrays are read batch by batch. A data set has a length and is indexed by integers, such as a
        list of samples; any other iterable, such as a DataLoader, gives batches, taken as they come.
    layer : str, optional
        Module path; None for the outputs, the classes.
    channels : int, label, or sequence of them, optional
        Channels of the layer, or outputs; all by default.
    by : "activation" or "relevance"
        Relevance of the unit in the explanation of `target`. Of an output that is the output itself where it
        is the target, else 0.
    n : int
        Samples per unit.
    target : as for `explain`, one for all, or one per sample
        Only where relevance is asked for.
    method : str or Method
        That of the relevance; one with relevance at layers, for hidden channels.
    reduce : "max", "sum", "mean" or "centre", optional
        How the values of a channel at all places become one; default "max" by activation, "sum" by relevance.
    normalise : bool
        Relevance as a share of all |relevance| of the layer, so that confident samples do not come first.
    largest : bool
        False for the smallest values: what speaks against.
    keep : sequence of "input", "relevance", "box"
        "input": the samples. "relevance": that of the input for this unit; by activation the explanation of
        the unit's value, by relevance that part of the target's explanation that passes through the unit
        (conditional relevance, LRP only). "box": the part of the input that the unit sees at its strongest
        place.
    channel_dim : int, optional
        Where the channels are in what the layer returns; found from its operations by default.
    pick : callable, optional
        From an item of a data set or iterable to the inputs in it; default the first of a tuple or list.
    coords : mapping, optional
        With an array for "output", targets and classes may be labels.
    output, output_name
        As for `explain`.
    batch_size : int
    progress : bool
        Show a bar.

    Returns
    -------
    Dataset
        `index` (unit, rank): number of the sample in the data, -1 where there are fewer than n; `score`
        (unit, rank), float64, best first, ties in the order of the data; `place` (unit, rank): the strongest
        place, counted through all dims of the layer beside sample and channel. As asked, `input` and
        `relevance` (unit, rank, *input dims), also as `input_NAME` where there are several, and `box` (unit,
        rank, axis, edge): start and stop along each axis of the input. Coordinates of a DataArray's samples
        come as (unit, rank).

    Raises
    ------
    ValueError
        Unknown settings, channels or labels; samples of different shapes are to be kept.
    InputError
        Data that cannot be read, a layer without channels.

    Examples
    --------
    >>> import torch, sciexplain as sx
    >>> net = torch.nn.Linear(2, 2, bias=False)
    >>> _ = net.weight.data.copy_(torch.eye(2))
    >>> data = torch.tensor([[1.0, 0.0], [3.0, 1.0], [2.0, 5.0]])
    >>> sx.reference_samples(net, data, n=2).index.values.tolist()
    [[1, 2], [2, 1]]
    """
    chosen = find_method(method)
    _check(by, n, keep, target, chosen, layer)
    reduce = reduce or ("max" if by == "activation" else "sum")
    check_reduction(reduce)
    labels = output_labels(coords)
    target = by_label(target, labels)
    source = stream(data, batch_size, pick)
    options: dict[str, Any] = {"output": output, "output_name": output_name}
    reader = Reader(model, layer, channel_dim, Explained(output_name, False, output == "as_is"))
    best: Best | None = None
    kept = Kept()
    for start, batch in _progress(source, progress):
        given = labelled(batch, None, None)
        tensors = _tensors(model, given)
        args, kwargs = given.assemble(tensors)
        own = target[start : start + given.size] if isinstance(target, list) else target
        with torch.inference_mode(False), torch.no_grad(), no_autocast():
            values = reader(args, kwargs)
        if by == "relevance":
            values = _relevance(reader, values, args, kwargs, own, chosen, options)
        if normalise:
            whole = values.abs().flatten(1).sum(1).reshape(-1, 1, 1)
            values = values / torch.where(whole == 0, 1, whole)
        if best is None:
            what = "outputs" if layer is None else f"channels of {layer!r}"
            units = unit_indices(channels, None if layer else labels, values.shape[1], what)
            best = Best(n, len(units), 1 if largest else -1)
        score, place = pooled(values[:, units], reduce, 1 if largest else -1)
        best.add(start, score.double().cpu().numpy(), place.cpu().numpy())
        if keep:
            kept.update(best, start, tensors, own)
    if best is None:
        raise InputError("The data holds no samples.")
    ds = _result(best, units, None if layer else labels, source)
    if keep:
        evidence = Evidence(reader, chosen, by, reduce, target, options)
        ds = ds.assign(evidence.variables(keep, kept, best, units, given))
    named = target if isinstance(target, str | int) else repr(target) if not callable(target) else "function"
    ds.attrs = {
        "by": by,
        "layer": layer or "output",
        "reduce": reduce,
        "largest": int(largest),
        "normalised": int(normalise),
        "samples": best.seen,
        **({"target": named} if by == "relevance" else {}),
        **({"method": chosen.to_json()} if by == "relevance" or "relevance" in keep else {}),
        **provenance(model),
    }
    return ds


def _check(by: str, n: int, keep: Sequence[str], target: Any, method: Method, layer: str | None) -> None:
    if by not in ("activation", "relevance"):
        raise ValueError(f"by={by!r}; possible are 'activation' and 'relevance'.")
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"n={n!r}; expected a positive integer.")
    if isinstance(keep, str) or not set(keep) <= set(KEEP):
        raise ValueError(f"keep={keep!r}; expected a list of some of {', '.join(map(repr, KEEP))}.")
    if isinstance(target, Targets):
        raise ValueError("reference_samples takes one target; call it for each.")
    through = by == "relevance" and layer is not None and "relevance" in keep
    if through and (not isinstance(method, LRP) or method.condition is not None):
        raise ValueError(
            f"{method} cannot send relevance through one channel; use sx.LRP(...) without a condition, or"
            " leave 'relevance' out of keep."
        )


def _tensors(model: Any, given: Inputs) -> list[Tensor]:
    """One batch on the model's device, in its precision."""
    if given.joint:
        raise InputError("Inputs of different first sizes have no common samples to choose from.")
    dtype = model_dtype(model)
    check_dtypes(given.items, dtype)
    device = model_device(model, given.items)
    return [item.batch(0, item.size, dtype, device) for item in given.items]


def _relevance(
    reader: Reader,
    values: Tensor,
    args: Any,
    kwargs: Any,
    target: Any,
    method: Method,
    options: dict[str, Any],
) -> Tensor:
    """Relevance (sample, unit, place) in the explanation of the target."""
    if reader.layer is None:
        outputs = values[:, :, 0]
        return (outputs * seed(outputs, target).message)[:, :, None]
    ds = explain(reader.model, kwargs or args, target, method, layers=(reader.layer,), **options)
    relevance = torch.from_numpy(ds[f"relevance_{reader.layer}"].values)
    return reader.by_channel(relevance)


def _result(best: Best, units: list[int], labels: list[Any] | None, source: Stream) -> xr.Dataset:
    """`index`, `score`, `place` (unit, rank), with the coordinates of the samples."""
    named = units if labels is None else [labels[u] for u in units]
    missing = best.index.T < 0
    coords: dict[Any, Any] = {"unit": named, "rank": np.arange(len(best.index))}
    for name, values in source.coords.items():
        if name not in coords and not missing.any():
            coords[name] = (("unit", "rank"), values[best.index.T])
    dims = ("unit", "rank")
    return xr.Dataset(
        {
            "index": (dims, best.index.T, {"long_name": "number of the sample in the data"}),
            "score": (dims, best.score.T, {"long_name": "value of the unit"}),
            "place": (dims, best.place.T, {"long_name": "strongest place in the layer, counted through"}),
        },
        coords=coords,
    )


def _progress(source: Stream, show: bool) -> Iterator[tuple[int, Any]]:
    if not show:
        yield from source
        return
    from tqdm.auto import tqdm

    with tqdm(total=source.total, desc="searching", unit="sample") as bar:
        for start, batch in source:
            yield start, batch
            bar.update(size_of(batch))
