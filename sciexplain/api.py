"""`explain` and `plan`: from a model and inputs to a labelled dataset, whatever the method."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from .inputs import (
    InputError,
    Inputs,
    batches,
    check_dtypes,
    check_joint,
    labelled,
    model_device,
    model_dtype,
)
from .labelling import label, stacked, to_cpu
from .lrp.engine import Attribution
from .lrp.errors import ConservationWarning, TargetError
from .lrp.exported import batch_sizes, fixed
from .lrp.targets import Contrast, Seed, Targets, each_target, seed, seed_of_all
from .methods import Method, RuleMethod
from .methods import method as find_method
from .methods.base import Explained, Prepared

if TYPE_CHECKING:
    from .plans import PlanTable

# a warning beyond; float32 and others: 1e-3
_TOLERANCE = {torch.float64: 1e-8, torch.bfloat16: 0.1, torch.float16: 0.02}


def explain(
    model: Any,
    inputs: Any,
    target: Any = "predicted",
    method: str | Method = "lrp",
    *,
    dims: Sequence[Hashable] | None = None,
    coords: Mapping[Hashable, Any] | None = None,
    layers: Sequence[str] = (),
    output_relevance: Any = None,
    output: str = "logit",
    output_name: str | int | None = None,
    batch_size: int | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """Explain a model's outputs by its inputs.

    Parameters
    ----------
    model : torch.nn.Module, callable or torch.export.ExportedProgram
        In eval mode. It is left as it was.
    inputs : Tensor, array or DataArray (sample, ...), or a tuple or dict of them
        A tuple is positional, a dict by keyword; both may be nested and hold plain Python values. Dims and
        coordinates of a DataArray carry through. Arrays are converted to the model's precision. Integers
        carry relevance where they index embeddings, are pictures (uint8), or are all there is.
    target : "predicted", int, label, sequence of them per sample, Contrast, Targets, or callable
        Which output is explained; labels are those of the coordinate "output". A callable maps the outputs
        (sample, output), or several of them in the structure that the model returns, to one value per sample.
    method : str or Method
        The name of a method ("lrp", "sensitivity", "gradient_times_input", "simple_taylor", "deep_taylor",
        "integrated_gradients", "smooth_grad", ...) or of a composite, or a value such as
        `LRP(Composite({...}))`.
    dims : sequence of str, optional
        Names of the input's dimensions, samples first. Default "sample", "dim_1", ...
    coords : mapping, optional
        Coordinates by name; "output" labels the outputs and comes back as coordinate `output_label`.
    layers : sequence of str
        Module paths whose relevance is wanted too: `relevance_PATH` = `input_PATH` * `message_PATH`, of what
        the module returns (at its last call; after a batch norm and ReLU that are done in one step with it).
    output_relevance : array like the outputs, optional
        R at the output, in place of a target.
    output : "logit" or "as_is"
        A final softmax, log-softmax or sigmoid is left out, or kept.
    output_name : str or int, optional
        Key or position of the output to explain, where the model returns several.
    batch_size : int, optional
        Samples per pass; all at once by default. A program exported for one batch size runs at that size;
        a smaller last batch is filled up with repeats of its last row, which are cut off the result.
    progress : bool
        Show a bar.

    Returns
    -------
    Dataset
        `relevance`, `input`, `message` (input's dims), `score`, `target`, `conservation_error` (sample),
        `output` (sample, output), `absorbed` (sample, operation). score = sum of relevance + sum of
        absorbed, to `conservation_error` relative to max(|score|, sum |relevance|). With Targets, or a list
        of conditions, all but `input` and `output` have the leading dim `explained`. Where the rows of an
        input are no samples (atoms of several molecules), its relevance has a row dim and the coordinate
        `ROW_sample`.

    Raises
    ------
    InputError, TargetError, CaptureError, PlanError, UnsupportedOperationError
        Before anything is explained.

    Examples
    --------
    >>> import torch, sciexplain as sx
    >>> net = torch.nn.Linear(2, 1, bias=False)
    >>> _ = torch.nn.init.constant_(net.weight, 2.0)
    >>> ds = sx.explain(net, torch.tensor([[1.0, -3.0]]), method=sx.LRP("epsilon"), dims=("sample", "gene"))
    >>> ds.relevance.values.round(3).tolist(), ds.score.item()
    ([[2.0, -6.0]], -4.0)
    """
    chosen = find_method(method)
    if output not in ("logit", "as_is"):
        raise ValueError(
            f"output={output!r}; possible are 'logit' (a final softmax or sigmoid is left out) and 'as_is'."
        )
    if output_relevance is not None and not (isinstance(target, str) and target == "predicted"):
        raise TargetError(
            f"Give target={target!r} or output_relevance=, not both: each says what is explained."
        )
    given = labelled(inputs, dims, coords)
    items = given.items
    settled = chosen.settled(items)
    check_model(model)
    check_joint(given, batch_size)
    dtype, device = model_dtype(model), model_device(model, items)
    check_dtypes(items, dtype)
    n = given.size
    labels = output_labels(coords)
    asked, target = target, by_label(target, labels)
    target = _per_sample_targets(target, n)
    slices = list(batches(n, batch_size))
    sizes = batch_sizes(model)  # of an exported program: it may have been exported for some only
    slices = list(batches(n, sizes.at_most(slices[0][1])))
    for start, stop in slices if len(slices) > 1 else ():  # bad values anywhere are found before work starts
        for item in items:
            item.batch(start, stop, dtype, device)
    full = sizes.at_least(slices[0][1])
    first = _tensors(given, *slices[0], full, dtype, device)
    explained = Explained(output_name, callable(target), output == "as_is")

    def prepare(tensors: Sequence[Tensor]) -> Prepared:
        args, kwargs = given.assemble(tensors)
        return settled.prepare(model, args, kwargs, explained=explained, layers=tuple(layers))

    prepared = prepare(first)
    if isinstance(prepared.captured.batch, int) and not given.joint and prepared.captured.batch == full:
        sizes = fixed(prepared.captured.batch)
    parts: list[list[Attribution]] = []
    for start, stop in _progress(slices, progress, n):
        full = sizes.at_least(stop - start)  # the last batch of a model with a fixed size is filled up
        tensors = _tensors(given, start, stop, full, dtype, device) if start else first
        outright = None
        if output_relevance is not None:
            outright = _padded(_rows(output_relevance, start, stop, n, device), full)
        begin = _starter(_slice(target, start, stop, full), asked, outright)
        count = None if given.joint else stop - start
        bound = prepared if len(tensors[0]) == len(first[0]) else _other_size(prepared, prepare, tensors)
        bound.offset = start
        parts.append([to_cpu(part, count) for part in bound.run(tensors, begin)])
    names = (
        [item.name or inner for item, inner in zip(items, prepared.input_names)] if given.several else [None]
    )
    datasets = [
        label(items, names, [p[k] for p in parts], prepared.accounts, labels, chosen, model, prepared.kept)
        for k in range(len(parts[0]))
    ]
    ds = datasets[0]
    if isinstance(target, Targets) or prepared.conditions:
        ds = stacked(datasets, isinstance(target, Targets), prepared.conditions)
    _check(ds, chosen, first, dtype)
    return ds


def _other_size(
    prepared: Prepared, prepare: Callable[[Sequence[Tensor]], Prepared], tensors: Sequence[Tensor]
) -> Prepared:
    """The method bound to the model for a batch of another size, on which the model may take another way."""
    if len(tensors[0]) > 1 and prepared.captured.serves(tensors):
        return prepared
    other = prepare(tensors)
    if other.accounts != prepared.accounts:
        raise InputError(
            f"The model executes other operations on {len(tensors[0])} samples than on the batch before:"
            " choose a batch_size= for which all batches take the same way through it."
        )
    return other


def _tensors(given: Inputs, start: int, stop: int, full: int, dtype: Any, device: Any) -> list[Tensor]:
    """Samples [start, stop) of every input, filled up to `full`; inputs of different sizes as a whole."""
    if given.joint:
        return [item.batch(0, item.size, dtype, device) for item in given.items]
    return [_padded(item.batch(start, stop, dtype, device), full) for item in given.items]


def _starter(wanted: Any, asked: Any, outright: Tensor | None) -> Callable[[Any], Seed | list[Seed]]:
    """From the outputs of a batch to where relevance starts."""

    def begin(outputs: Any) -> Seed | list[Seed]:
        if not isinstance(outputs, Tensor):
            return seed_of_all(outputs, wanted)
        if isinstance(wanted, Targets):
            return [seed(outputs, k) for k in each_target(wanted, outputs)]
        begun = seed(outputs, wanted, outright)
        if isinstance(asked, Contrast) and outright is None:  # by the user's names, not by index
            begun = replace(begun, chosen=[f"{asked.a} - {asked.b}"] * len(begun.chosen))
        return begun

    return begin


def plan(
    model: Any,
    inputs: Any,
    method: str | Method = "lrp",
    *,
    output: str = "logit",
    output_name: str | int | None = None,
) -> PlanTable:
    """What `explain` will do to each operation between input and output; nothing is explained.

    Parameters
    ----------
    model, inputs, output, output_name
        As for `explain`.
    method : str, LRP or DeepTaylor
        "lrp", a composite's name, `LRP(...)` or `DeepTaylor(...)`.

    Returns
    -------
    PlanTable, a DataFrame with one row per operation
        operation, path, kind, line, input_shape, output_shape ("B" is the batch), input_sign, rule, why,
        constant (what depends on the sample and is held constant all the same), absorbs (what may take
        relevance for itself), merged, step (the row that performs the operation: its own, or the one it is
        merged into). It prints layer by layer, and shows itself as a page in a notebook.
    """
    chosen = find_method(method)
    if not isinstance(chosen, RuleMethod):
        raise ValueError(
            f"Only LRP and DeepTaylor have rules to plan; {chosen} takes every operation as it is."
        )
    given = labelled(inputs, None, None)
    check_model(model)
    dtype, device = model_dtype(model), model_device(model, given.items)
    check_dtypes(given.items, dtype)
    from .lrp.table import plan_facts, plan_rows
    from .plans.frame import COLUMNS, PlanTable

    args, kwargs = given.assemble([item.batch(0, item.size, dtype, device) for item in given.items])
    made = chosen.plan(model, args, kwargs, Explained(output_name, False, output == "as_is"))
    table = PlanTable(plan_rows(made), columns=list(COLUMNS))
    named = getattr(chosen, "composite", chosen.name)
    named = named if isinstance(named, str) else "of your own"
    table.attrs.update(plan_facts(made), composite=named)
    return table


def check_model(model: Any) -> None:
    """Refuse what is no model, and name the layers in training mode, before capture runs them."""
    if not isinstance(model, torch.nn.Module):
        if not (callable(model) or isinstance(model, torch.export.ExportedProgram)):
            raise TypeError(
                "The model is a torch.nn.Module, a function of tensors or a torch.export.ExportedProgram;"
                f" got {type(model).__name__}."
            )
        return
    kinds = (torch.nn.modules.batchnorm._BatchNorm, torch.nn.modules.dropout._DropoutNd)
    bad = [
        name or "(model)"
        for name, m in model.named_modules()
        if isinstance(m, kinds) and m.training and getattr(m, "p", 1) > 0
    ]
    if bad:
        shown = ", ".join(bad[:5]) + (", ..." if len(bad) > 5 else "")
        raise InputError(
            f"The model is in training mode at {shown}: call model.eval() first. Nothing was run."
        )


def output_labels(coords: Mapping[Hashable, Any] | None) -> list[Any] | None:
    """The labels of the outputs, from the coordinate "output"."""
    given = (coords or {}).get("output")
    if given is None:
        return None
    values = np.asarray(getattr(given, "values", given)).tolist()
    if len(set(values)) != len(values):
        raise TargetError(f"The output labels {values} are not unique.")
    return values


def by_label(target: Any, labels: list[Any] | None) -> Any:
    """Labels of the output coordinate as indices."""

    def index(value: Any) -> Any:
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, str) and value != "predicted":
            if labels is None:
                raise TargetError(
                    f'Target {value!r} is a label, but no labels were given: coords={{"output": [...]}}.'
                )
            if value not in labels:
                raise TargetError(f"Target {value!r} is no output; outputs are {labels}.")
            return labels.index(value)
        return value

    if isinstance(target, Contrast):
        return Contrast(index(target.a), index(target.b))
    if isinstance(target, Targets):
        return target if target.which == "all" else Targets([index(v) for v in target.which])
    if callable(target) or isinstance(target, (str, int)):
        return index(target)
    values = getattr(target, "values", target)
    values = values.tolist() if hasattr(values, "tolist") else values
    if isinstance(values, (list, tuple)):
        return [index(v) for v in values]
    return index(values)


def _per_sample_targets(target: Any, n: int) -> Any:
    if isinstance(target, list) and len(target) != n:
        raise TargetError(f"{len(target)} targets were given for {n} samples.")
    return target


def _slice(target: Any, start: int, stop: int, full: int) -> Any:
    if not isinstance(target, list):
        return target
    return target[start:stop] + target[stop - 1 : stop] * (full - (stop - start))


def _padded(x: Tensor, size: int) -> Tensor:
    """Repeat the last row until there are `size` rows."""
    missing = size - len(x)
    return x if missing <= 0 else torch.cat([x, x[-1:].expand(missing, *x.shape[1:])])


def _rows(relevance: Any, start: int, stop: int, n: int, device: torch.device) -> Tensor:
    values = getattr(relevance, "values", relevance) if isinstance(relevance, xr.DataArray) else relevance
    tensor = values if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))
    if tensor.dim() == 0 or tensor.shape[0] != n:
        raise TargetError(f"output_relevance has shape {tuple(tensor.shape)} for {n} samples.")
    return tensor[start:stop].to(device)


def _progress(slices: list[tuple[int, int]], show: bool, n: int) -> Any:
    if not show:
        return slices
    from tqdm.auto import tqdm

    return tqdm(slices, desc=f"explaining {n} samples", unit="batch")


def _check(ds: xr.Dataset, method: Method, tensors: Sequence[Tensor], dtype: torch.dtype | None) -> None:
    if not method.conserves:
        return
    worst = float(ds.conservation_error.max())
    kinds = [x.dtype for x in tensors if x.is_floating_point()] or [dtype or torch.get_default_dtype()]
    if not worst <= max(_TOLERANCE.get(kind, 1e-3) for kind in kinds):
        warnings.warn(
            f"The score and the sum of relevance and absorbed relevance differ by {worst:.1e} (relative);"
            " see ds.conservation_error. Try float64 inputs and model, or report this network.",
            ConservationWarning,
            stacklevel=3,
        )
