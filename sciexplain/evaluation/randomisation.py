"""Does an explanation depend on what the model learned? Weights are drawn anew (Adebayo et al. 2018)."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from ..inputs import Inputs, model_device, model_dtype
from ..methods import Method
from .explaining import Explainer, Pool, bar_of, sample_coords
from .intervals import check_interval, mean_interval

ORDERS = ("cascading", "independent")
HOW = ("normal", "shuffle", "reset")
SIMILARITIES = ("rank", "rank_absolute", "cosine")


def weighted_layers(model: nn.Module, inputs: Any = None) -> list[str]:
    """Paths of the modules that hold parameters themselves, from the input to the output.

    Parameters
    ----------
    model : torch.nn.Module
        It is copied, the copy is run.
    inputs : as for `explain`, optional
        With them the order is that of the calls, without them that of registration. A module that is never
        called, because its weights are used by another, stands where that one was called.

    Returns
    -------
    list of str

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> weighted_layers(net, torch.zeros(1, 2))
    ['0', '2']
    """
    names = [name for name, m in model.named_modules() if next(m.parameters(recurse=False), None) is not None]
    if inputs is None:
        return names
    twin = copy.deepcopy(model)
    called: dict[str, int] = {}

    def note(name: str) -> Any:
        def hook(*_: Any) -> None:
            called.setdefault(name, len(called))

        return hook

    for name, module in twin.named_modules():
        module.register_forward_pre_hook(note(name))
    ask = Explainer(model)
    given = ask.read(inputs)
    dtype, device = model_dtype(model), model_device(model, given.items)
    args, kwargs = given.assemble([item.batch(0, 1, dtype, device) for item in given.items])
    with torch.no_grad():
        twin(*args, **kwargs)

    def first_call(name: str) -> int:
        while name not in called and name:
            name = name.rpartition(".")[0]
        return called.get(name, len(called))

    return sorted(names, key=first_call)


def randomise_layers(
    model: nn.Module, layers: Sequence[str] | None = None, *, how: str = "normal", seed: int = 0
) -> nn.Module:
    """A copy of a model in which the parameters of some layers are drawn anew; the model stays as it is.

    Parameters
    ----------
    model : torch.nn.Module
    layers : sequence of str, optional
        Module paths; parameters that a module holds itself, not those of modules inside it. Default: all.
    how : "normal", "shuffle" or "reset"
        Normal numbers with the mean and standard deviation of each parameter; its values in another order;
        or what the module's own `reset_parameters` draws. Buffers, such as the running means of a batch
        norm, stay; so does, except under "reset", a parameter whose values are all equal.
    seed : int
        A layer gets the same values whatever others are drawn.

    Returns
    -------
    torch.nn.Module

    Raises
    ------
    ValueError
        A path that is no module or holds no parameters, or "reset" where a module has no such method.

    Examples
    --------
    >>> net = nn.Linear(2, 2)
    >>> other = randomise_layers(net, how="shuffle")
    >>> sorted(other.weight.flatten().tolist()) == sorted(net.weight.flatten().tolist())
    True
    """
    _check_model(model)
    if how not in HOW:
        raise ValueError(f"how={how!r}; possible are {', '.join(map(repr, HOW))}.")
    chosen = weighted_layers(model) if layers is None else layers
    places = _places(model, chosen)
    twin = copy.deepcopy(model)
    _randomise(twin, list(chosen), places, how, seed)
    return twin


def sanity_check(
    model: nn.Module,
    inputs: Any,
    method: str | Method = "lrp",
    target: Any = "predicted",
    *,
    order: str = "cascading",
    layers: Sequence[str] | None = None,
    how: str = "normal",
    draws: int = 1,
    pool: Pool = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    dims: Sequence[Hashable] | None = None,
    coords: Mapping[Hashable, Any] | None = None,
    output: str = "logit",
    output_name: str | int | None = None,
    batch_size: int | None = 64,
    progress: bool = False,
) -> xr.Dataset:
    """How similar explanations stay while the model's layers are randomised (Adebayo et al. 2018).

    An explanation that stays the same when the weights are random says nothing about what was learned.

    Parameters
    ----------
    model : torch.nn.Module
        It stays as it is; copies are randomised.
    inputs, method, dims, coords, output, output_name
        As for `explain`.
    target : as for `explain`, one
        "predicted" is what the trained model predicts, also in the randomised ones.
    order : "cascading" or "independent"
        From the output on, one more layer after the other; or each layer alone.
    layers : sequence of str, optional
        Module paths, those nearest to the output first. Default: all modules that hold parameters.
    how : "normal", "shuffle" or "reset"
        As for `randomise_layers`.
    draws : int
        Random models per step to average over.
    pool : DataArray, sequence of DataArray or callable, optional
        What is compared, as for `continuity`.
    confidence, resamples, seed
        Of the intervals over samples; seed also draws the weights.
    batch_size : int or None
        Samples per pass.
    progress : bool
        Show a bar.

    Returns
    -------
    Dataset, float64
        `similarity` (measure, layer, sample): "rank", Spearman's correlation of the relevances;
        "rank_absolute", the same of |R|; "cosine". 1 for unchanged explanations, near 0 for unrelated ones;
        NaN where a relevance is the same everywhere. `mean`, `low`, `high`, `count` (measure, layer) over
        samples. `score` (layer, sample) of the randomised models, of the first draw; its change tells that
        the layer matters at all.

    Raises
    ------
    ValueError
        No torch.nn.Module, unknown layers, `how` or `order`.

    Examples
    --------
    >>> import torch, sciexplain as sx
    >>> net = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)).eval()
    >>> found = sx.sanity_check(net, torch.rand(3, 8), "gradient_times_input")
    >>> found.layer.values.tolist(), found.similarity.dims
    (['2', '0'], ('measure', 'layer', 'sample'))
    """
    check_interval(confidence, resamples)
    _check_model(model)
    if how not in HOW:
        raise ValueError(f"how={how!r}; possible are {', '.join(map(repr, HOW))}.")
    if order not in ORDERS:
        raise ValueError(f"order={order!r}; possible are {', '.join(map(repr, ORDERS))}.")
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
        raise ValueError(f"draws={draws!r}; expected a positive integer.")
    options: dict[str, Any] = {
        "dims": dims,
        "coords": coords,
        "output": output,
        "output_name": output_name,
        "batch_size": batch_size,
        "pool": pool,
    }
    ask = Explainer(model, method, **options)
    given: Inputs = ask.read(inputs)
    chosen = list(layers) if layers is not None else weighted_layers(model, given)[::-1]
    steps = [chosen[: k + 1] if order == "cascading" else [name] for k, name in enumerate(chosen)]
    wanted = ask.settled(given, target)
    # one copy for all, changed in place: what is recorded of it holds as long as its tensors are the same
    twin, places = copy.deepcopy(model), _places(model, chosen)
    other = Explainer(twin, method, **options)
    with bar_of(progress, given.size * (1 + draws * len(steps)), "samples") as bar:
        before = ask(given, wanted, bar=bar).vectors
        found = np.zeros((len(SIMILARITIES), len(steps), given.size))
        scores = np.zeros((len(steps), given.size))
        for k, names in enumerate(steps):
            for draw in range(draws):
                _restore(twin, model)
                _randomise(twin, names, places, how, seed + draw * 104729)
                after = other(given, wanted, bar=bar)
                found[:, k] += similarities(before, after.vectors) / draws
                if not draw:
                    scores[k] = after.score
    sample = given.items[0].dims[0]
    array = xr.DataArray(
        found,
        dims=("measure", "layer", sample),
        coords={"measure": list(SIMILARITIES), "layer": chosen, **sample_coords(given)},
    )
    ds = mean_interval(array, sample, confidence=confidence, resamples=resamples, seed=seed)
    ds["similarity"] = array
    ds["score"] = ("layer", sample), scores
    return ds.assign_attrs(
        measure="sanity_check",
        method=ask.method.to_json(),
        order=order,
        how=how,
        draws=draws,
        confidence=confidence,
        seed=seed,
    )


def similarities(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Rank correlation, rank correlation of absolute values and cosine of rows: (3, sample).

    Parameters
    ----------
    one, two : array (sample, feature)
    """
    from scipy.stats import rankdata

    def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        a, b = (rankdata(v, axis=1) for v in (a, b))
        return cosine(a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True))

    def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        size = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        return np.divide((a * b).sum(1), size, out=np.full(len(a), np.nan), where=size > 0)

    flat = ((one == one[:, :1]).all(1)) | ((two == two[:, :1]).all(1))
    found = np.stack([correlation(one, two), correlation(np.abs(one), np.abs(two)), cosine(one, two)])
    found[:, flat & (one.shape[1] > 1)] = np.nan
    return found


def _check_model(model: Any) -> None:
    if not isinstance(model, nn.Module) or next(model.parameters(), None) is None:
        raise ValueError(
            f"Only a torch.nn.Module with parameters can be randomised; got {type(model).__name__}."
        )


def _places(model: nn.Module, layers: Any) -> dict[str, int]:
    """Number of each layer among those that hold parameters; others are refused."""
    names = weighted_layers(model)
    if isinstance(layers, str) or not set(layers) <= set(names):
        raise ValueError(f"layers={layers!r}; expected a list of modules that hold parameters: {names}.")
    return {name: k for k, name in enumerate(names)}


def _randomise(twin: nn.Module, layers: Sequence[str], places: dict[str, int], how: str, seed: int) -> None:
    for name in layers:
        _draw(twin.get_submodule(name), how, seed + 7919 * places[name], name)


def _restore(twin: nn.Module, model: nn.Module) -> None:
    with torch.no_grad():
        for mine, theirs in zip(twin.parameters(), model.parameters()):
            mine.copy_(theirs)


def _draw(module: nn.Module, how: str, seed: int, name: str) -> None:
    """New values in place, with a random state of its own."""
    if how == "reset":
        reset = getattr(module, "reset_parameters", None)
        if reset is None:
            raise ValueError(
                f"{name!r} ({type(module).__name__}) has no reset_parameters; use how='normal' or 'shuffle'."
            )
        devices = {p.device for p in module.parameters() if p.device.type == "cuda"}
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            buffers = {key: b.clone() for key, b in module.named_buffers(recurse=False)}
            reset()
            with torch.no_grad():
                for key, b in module.named_buffers(recurse=False):
                    b.copy_(buffers[key])
        return
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters(recurse=False):
            p.copy_(_like(p, how, random).to(p))


def _like(p: Tensor, how: str, random: torch.Generator) -> Tensor:
    if how == "shuffle":
        return p.detach().cpu().flatten()[torch.randperm(p.numel(), generator=random)].reshape(p.shape)
    noise = torch.randn(p.shape, generator=random, dtype=torch.float64)
    values = p.detach().cpu().double()
    return values.mean() + noise * values.std(correction=0)
