"""Several methods and several measures on the same inputs: one table."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from ..api import explain
from ..methods import Method
from ..methods import method as find_method
from .changes import continuity
from .context import context_ratio
from .explaining import Explainer
from .flipping import selectivity
from .inside import localisation
from .intervals import check_interval, mean_interval
from .randomisation import sanity_check


@dataclass
class _Task:
    """What every measure may need of one method."""

    model: Any
    inputs: Any
    method: Method
    target: Any
    relevance: xr.Dataset
    mask: Any
    options: dict[str, Any]  # of every measure that runs the model
    interval: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)

    def run(self, measure: Callable[..., xr.Dataset]) -> xr.Dataset:
        settings = {**self.options, **self.interval, **self.settings}
        return measure(self.model, self.inputs, self.method, self.target, **settings)


#: A column: its value, low and high end of its interval (NaN where it has none).
_Column = tuple[float, float, float]


def _over_samples(task: _Task, values: xr.DataArray) -> _Column:
    found = mean_interval(values, values.dims[0], **task.interval)
    return float(found["mean"]), float(found["low"]), float(found["high"])


def _row(found: xr.Dataset, **at: Any) -> _Column:
    part = found.sel(at)
    return float(part["mean"]), float(part["low"]), float(part["high"])


def _continuity(task: _Task) -> dict[str, _Column]:
    found = task.run(continuity)
    largest = float(found.maximum.sel(scale="normalised"))
    return {
        "continuity": _row(found, scale="normalised"),
        "continuity_maximum": (largest, np.nan, np.nan),
    }


def _selectivity(task: _Task) -> dict[str, _Column]:
    settings = {"order": "both", **task.interval, **task.settings}
    recomputed = settings.get("recompute", False)
    found = selectivity(
        task.model,
        task.inputs,
        task.method if recomputed else task.relevance,
        task.target,
        **task.options,
        **settings,
    )
    return {
        "selectivity": _over_samples(task, found.relevance_gain),
        "aopc": _over_samples(task, found.aopc.sel(order="most")),
    }


def _localisation(task: _Task) -> dict[str, _Column]:
    found = localisation(task.relevance, _mask(task), **{**task.interval, **task.settings})
    return {name: _row(found, measure=name) for name in ("mass", "rank", "pointing")}


def _context_ratio(task: _Task) -> dict[str, _Column]:
    found = context_ratio(task.relevance, _mask(task), **{**task.interval, **task.settings})
    return {"context_ratio": _row(found, variant="positive")}


def _sanity_check(task: _Task) -> dict[str, _Column]:
    found = task.run(sanity_check)
    return {"randomised": _row(found.isel(layer=-1), measure="rank_absolute")}


def _conservation(task: _Task) -> dict[str, _Column]:
    return {"conservation": _over_samples(task, task.relevance.conservation_error)}


def _time(task: _Task) -> dict[str, _Column]:
    """Seconds per sample; the model has been recorded before, the fastest of three runs counts."""
    runs = []
    for _ in range(task.settings.get("repeats", 3)):
        begun = time.perf_counter()
        explain(task.model, task.inputs, task.target, task.method, **task.options)
        runs.append(time.perf_counter() - begun)
    return {"time": (min(runs) / task.relevance.score.size, np.nan, np.nan)}


def _mask(task: _Task) -> Any:
    mask = task.settings.pop("mask", task.mask)
    if mask is None:
        raise ValueError("Localisation and context need mask=: true where the evidence is, or boxes.")
    return mask


_MEASURES: dict[str, Callable[[_Task], dict[str, _Column]]] = {
    "continuity": _continuity,
    "selectivity": _selectivity,
    "localisation": _localisation,
    "context_ratio": _context_ratio,
    "sanity_check": _sanity_check,
    "conservation": _conservation,
    "time": _time,
}

_MEANING = {
    "continuity": ("lower", "mean over samples of the largest |R - R'|_1 / |x - x'|_2, R normalised"),
    "continuity_maximum": ("lower", "the largest of all"),
    "selectivity": ("higher", "relevance gain: area under the score, least minus most relevant first"),
    "aopc": ("higher", "mean loss of score, most relevant first"),
    "mass": ("higher", "share of relevance inside the mask"),
    "rank": ("higher", "share of the most relevant elements inside the mask"),
    "pointing": ("higher", "how often the most relevant element is inside the mask"),
    "context_ratio": ("", "mean positive relevance outside the mask over that inside"),
    "randomised": ("lower", "rank correlation of |R| with that of the model with all layers randomised"),
    "conservation": ("lower", "|score - relevance - absorbed| relative to the larger of |score|, sum |R|"),
    "time": ("lower", "seconds per sample"),
}


def compare_methods(
    model: Any,
    inputs: Any,
    methods: Sequence[str | Method] | Mapping[str, str | Method],
    measures: Sequence[Any] | Mapping[str, Any] = ("continuity", "selectivity", "conservation", "time"),
    target: Any = "predicted",
    *,
    mask: Any = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    dims: Sequence[Hashable] | None = None,
    coords: Mapping[Hashable, Any] | None = None,
    output: str = "logit",
    output_name: str | int | None = None,
    batch_size: int = 64,
    progress: bool = False,
) -> xr.Dataset:
    """Measure the explanations of several methods; one row for each.

    Parameters
    ----------
    model, inputs, dims, coords, output, output_name
        As for `explain`.
    methods : sequence of str or Method, or mapping label -> str or Method
    measures : sequence of str or callable, or mapping
        "continuity", "selectivity", "localisation", "context_ratio", "sanity_check", "conservation", "time";
        in a mapping each with its settings, such as {"continuity": {"neighbours": 3}}. A callable (in a
        mapping: label -> callable) takes the relevance dataset of a method and returns a number, or one
        value per sample.
    target : as for `explain`, one
        "predicted" is settled once, on these inputs.
    mask : DataArray of bool, or boxes, optional
        For "localisation" and "context_ratio", as `localisation` takes it.
    confidence, resamples, seed
        Of the intervals over samples, and of what a measure draws.
    batch_size : int
        Samples per pass.
    progress : bool
        Show a bar over methods and measures.

    Returns
    -------
    Dataset, float64
        For each column a variable (method) and, where it is a mean over samples, its interval NAME_low,
        NAME_high. `attrs` of a variable say what it is and which direction is `better`. The columns of a
        measure: continuity (normalised; mean over samples of their largest ratio), continuity_maximum;
        selectivity (relevance gain), aopc; mass, rank, pointing; context_ratio; randomised (all layers,
        or those of its settings); conservation; time. `.to_dataframe()` is the table, and
        `.to_dataframe().loc["lrp"]` a row (xarray's `sel` has an argument `method` of its own: write
        `.sel({"method": "lrp"})`).

    Raises
    ------
    ValueError, TypeError
        Unknown measures or methods, labels that occur twice, a mask that is missing.

    Examples
    --------
    >>> import torch, sciexplain as sx
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).eval()
    >>> methods = ["sensitivity", "lrp"]
    >>> table = sx.compare_methods(net, torch.rand(6, 4), methods, ["continuity", "conservation"])
    >>> [name for name in table if not name.endswith(("_low", "_high"))]
    ['continuity', 'continuity_maximum', 'conservation']
    >>> bool(table.conservation.loc["lrp"] < 1e-5 < table.conservation.loc["sensitivity"])
    True
    """
    interval = {"confidence": confidence, "resamples": resamples, "seed": seed}
    check_interval(confidence, resamples)
    chosen = _labelled_methods(methods)
    asked = _asked(measures)
    common: dict[str, Any] = {"dims": dims, "coords": coords, "output": output, "output_name": output_name}
    ask = Explainer(model, batch_size=batch_size, **common)
    given = ask.read(inputs)
    wanted = ask.settled(given, target)
    options = common | {"batch_size": batch_size}
    rows: dict[str, dict[str, _Column]] = {}
    with _steps(progress, len(chosen) * len(asked)) as bar:
        for label, method in chosen.items():
            ds = explain(model, inputs, wanted, method, **options)
            rows[label] = {}
            for measure, settings in asked.values():
                task = _Task(model, inputs, method, wanted, ds, mask, options, interval, dict(settings))
                rows[label] |= measure(task)
                bar.update(1)
    table = xr.Dataset(coords={"method": list(rows)})
    for name in dict.fromkeys(n for row in rows.values() for n in row):
        columns = np.array([row[name] for row in rows.values()], dtype=np.float64)
        better, meaning = _MEANING.get(name, ("", "of your own"))
        table[name] = "method", columns[:, 0], {"long_name": meaning, "better": better}
        if not np.isnan(columns[:, 1:]).all():
            table[f"{name}_low"], table[f"{name}_high"] = (("method", columns[:, k]) for k in (1, 2))
    table.attrs = {
        "measure": "compare_methods",
        "methods": [m.to_json() for m in chosen.values()],
        "samples": given.size,
        "confidence": confidence,
        "seed": seed,
    }
    return table


def _labelled_methods(methods: Any) -> dict[str, Method]:
    if isinstance(methods, (str, Method)) or not len(methods):
        raise ValueError(f"methods={methods!r}; expected a list of methods, or a dict of them by label.")
    if isinstance(methods, Mapping):
        return {str(label): find_method(m) for label, m in methods.items()}
    found: dict[str, Method] = {}
    for m in methods:
        label = m if isinstance(m, str) else str(m)
        if label in found:
            raise ValueError(f"The method {label!r} occurs twice; a dict gives labels of your own.")
        found[label] = find_method(m)
    return found


def _asked(measures: Any) -> dict[str, tuple[Callable[[_Task], dict[str, _Column]], dict[str, Any]]]:
    """Measures by label, each with its settings."""
    if isinstance(measures, str):
        measures = [measures]
    pairs = measures.items() if isinstance(measures, Mapping) else [(m, {}) for m in measures]
    found: dict[str, Any] = {}
    for name, settings in pairs:
        if callable(name):
            name, settings = getattr(name, "__name__", type(name).__name__), name
        if name in found:
            raise ValueError(f"The measure {name!r} occurs twice; a dict gives labels of your own.")
        if callable(settings):
            found[name] = _own(name, settings), {}
        elif name not in _MEASURES:
            close = difflib.get_close_matches(str(name), list(_MEASURES), 1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"No measure is called {name!r}.{hint} Known: {', '.join(_MEASURES)}.")
        elif not isinstance(settings, Mapping):
            raise TypeError(f"The settings of {name!r} are a dict of arguments; got {settings!r}.")
        else:
            found[name] = _MEASURES[name], settings
    if not found:
        raise ValueError("No measures were given.")
    return found


def _own(name: str, function: Callable[[xr.Dataset], Any]) -> Callable[[_Task], dict[str, _Column]]:
    def measure(task: _Task) -> dict[str, _Column]:
        value = np.asarray(function(task.relevance), dtype=np.float64)
        if value.ndim == 0:
            return {name: (float(value), np.nan, np.nan)}
        if value.shape != task.relevance.score.shape:
            raise ValueError(
                f"The measure {name!r} returned the shape {value.shape}; expected a number, or"
                f" {task.relevance.score.shape}, one per sample."
            )
        return {name: _over_samples(task, task.relevance.score.copy(data=value))}

    return measure


def _steps(show: bool, total: int) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, desc="measuring", unit="measure", disable=not show)
