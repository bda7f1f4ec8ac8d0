"""The relevance dataset: every variable declared once; building, validating and describing follow from it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from .provenance import plain


class SchemaError(ValueError):
    """A dataset that is not a relevance dataset; the message lists every problem found."""


@dataclass(frozen=True)
class Variable:
    """What the schema says about one variable.

    `dims` are names; "sample" stands for the dataset's own sample dim, "..." for the input's dims. Where
    several targets were explained at once, a dim `explained` stands in front.
    `kinds` are NumPy dtype kinds. With `per_input`, it may come as `NAME_INPUT`, once per input or layer.
    """

    name: str
    dims: tuple[str, ...]
    kinds: str
    meaning: str
    required: bool = False
    per_input: bool = False


VARIABLES = (
    Variable("relevance", ("...",), "f", "relevance of each input value", required=True, per_input=True),
    Variable("input", ("...",), "fiub", "input values that were explained", per_input=True),
    Variable(
        "message", ("...",), "f", "backward message c; relevance = input * message, exactly", per_input=True
    ),
    Variable(
        "score",
        ("sample",),
        "f",
        "explained quantity: the target's output, or what replaced it",
        required=True,
    ),
    Variable(
        "target", ("sample",), "iubfUOST", "what was explained: a class, a label, a contrast", required=True
    ),
    # named like its dim, it is a coordinate to xarray: ds["output"] works, labels go to `output_label`
    Variable("output", ("sample", "output"), "f", "all outputs of the model"),
    Variable("absorbed", ("sample", "operation"), "f", "relevance that each operation's constants kept"),
    Variable(
        "conservation_error",
        ("sample",),
        "f",
        "score - sum of relevance - sum of absorbed, relative",
    ),
    Variable(
        "approximation_error",
        ("sample",),
        "f",
        "bound (quadrature) or standard error (sampling) of the relevance, summed over its values",
    ),
)

ATTRIBUTES = {
    "method": "method and its settings, as JSON or text",
    "composite": "rules by operation, as JSON",
    "output_kind": "whether a logit or the output as it is was explained",
    "sciexplain_version": "version of this library",
    "torch_version": "version of PyTorch",
    "created": "time of the explanation, ISO 8601, UTC",
    "model_digest": "SHA-256 over the model's parameters and buffers",
    "domain": "which adapter made the dataset",
}

EXPLAINED = "explained"  # leading dim where one run explained several targets

_BY_NAME = {variable.name: variable for variable in VARIABLES}


def relevance_dataset(
    relevance: xr.DataArray | Mapping[str, xr.DataArray],
    *,
    score: xr.DataArray,
    target: xr.DataArray,
    output: xr.DataArray | None = None,
    absorbed: xr.DataArray | None = None,
    conservation_error: xr.DataArray | None = None,
    approximation_error: xr.DataArray | None = None,
    input: xr.DataArray | Mapping[str, xr.DataArray] | None = None,
    message: xr.DataArray | Mapping[str, xr.DataArray] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Put the arrays of one explanation into a validated relevance dataset.

    Parameters
    ----------
    relevance, input, message : DataArray (sample, *input dims), or dict name -> DataArray
        A dict gives `relevance_NAME` and so on, one per input or layer.
    score, target, conservation_error, approximation_error : DataArray (sample,)
    output : DataArray (sample, output)
    absorbed : DataArray (sample, operation)
    attrs : mapping
        Anything that is not a string, a number or a flat list is written as JSON. The provenance among them
        (`ATTRIBUTES`) is also put on each relevance, so that `ds.relevance` keeps it.

    Raises
    ------
    SchemaError
        Coordinates differ between the arrays, or `validate` finds a problem; all of them are listed.

    Examples
    --------
    >>> r = xr.DataArray([[1.0, -2.0]], dims=("sample", "dim_1"))
    >>> one = xr.DataArray([-1.0], dims="sample")
    >>> ds = relevance_dataset(r, score=one, target=xr.DataArray([3], dims="sample"), attrs={"method": "lrp"})
    >>> list(ds), ds.relevance.attrs["method"]
    (['relevance', 'score', 'target'], 'lrp')
    """
    given = {
        "relevance": relevance,
        "input": input,
        "message": message,
        "score": score,
        "target": target,
        "output": output,
        "absorbed": absorbed,
        "conservation_error": conservation_error,
        "approximation_error": approximation_error,
    }
    attributes = {name: plain(value) for name, value in (attrs or {}).items()}
    provenance = {name: value for name, value in attributes.items() if name in ATTRIBUTES}
    parts, own_dim = [], {}
    for role, arrays in given.items():
        named = arrays.items() if isinstance(arrays, Mapping) else [(None, arrays)]
        for suffix, array in named:
            if array is None:
                continue
            described = array.copy(deep=False).rename(role if suffix is None else f"{role}_{suffix}")
            described.attrs = {"long_name": _BY_NAME[role].meaning, **array.attrs}
            if role == "relevance":
                described.attrs |= provenance
            if (
                described.name in described.dims
            ):  # xarray holds such a variable (`output`) as a coordinate only
                own_dim[role] = described.variable
                parts.append(array.isel({role: 0}, drop=True).coords.to_dataset())
                labels = {k: v for k, v in array.coords.items() if v.dims == (role,) and k != role}
                parts.append(xr.Dataset(coords=labels))
                continue
            parts.append(described.to_dataset(promote_attrs=False))
    try:
        ds = xr.merge(parts, join="exact", compat="no_conflicts", combine_attrs="override")
    except ValueError as error:  # AlignmentError and MergeError are both
        shapes = ", ".join(f"{name} {dict(part.sizes)}" for part in parts for name in part.data_vars)
        raise SchemaError(f"the arrays of one explanation do not fit together ({shapes}): {error}") from error
    ds = ds.assign_coords(own_dim)
    ds.attrs = attributes
    validate(ds)
    return ds


def validate(ds: xr.Dataset) -> None:
    """Check that `ds` is a relevance dataset; nothing is computed or loaded.

    Raises
    ------
    SchemaError
        Listing every problem: variables that are missing, dims and dtypes that differ from `VARIABLES`,
        a MultiIndex, attributes that no file format keeps.
    """
    if not isinstance(ds, xr.Dataset):
        raise SchemaError(f"expected an xarray.Dataset, got {type(ds).__name__}")
    problems = list(_problems(ds))
    if problems:
        head = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = "".join(f"\n  - {problem}" for problem in problems)
        raise SchemaError(f"not a relevance dataset, {head}:{lines}")


def relevance_names(ds: xr.Dataset) -> list[str]:
    """Names of the relevance variables: `relevance`, or one `relevance_NAME` per input or layer."""
    return [str(name) for name in ds.data_vars if _role(name) == "relevance"]


def one_relevance(ds: xr.Dataset) -> xr.DataArray:
    """The dataset's only relevance, its attributes completed by the dataset's.

    Raises
    ------
    SchemaError
        There is none, or several: then one has to be chosen by name.
    """
    names = relevance_names(ds)
    if len(names) != 1 and "relevance" not in names:
        found = f"has {names}; choose one, as in ds[{names[0]!r}]" if names else f"has only {list(ds)}"
        raise SchemaError(f"expected a dataset with one `relevance`; it {found}")
    relevance = ds["relevance" if "relevance" in names else names[0]].copy(deep=False)
    relevance.attrs = {**ds.attrs, **relevance.attrs}
    return relevance


def multi_index_dims(ds: xr.Dataset) -> list[Hashable]:
    """Dims whose labels are a MultiIndex."""
    multi = xr.indexes.PandasMultiIndex
    return [dim for dim in ds.dims if isinstance(ds.xindexes.get(dim), multi)]


def _role(name: Any) -> str | None:
    """Which declared variable `name` is: `relevance_left` is a relevance."""
    if name in _BY_NAME:
        return str(name)
    for variable in VARIABLES:
        if variable.per_input and str(name).startswith(variable.name + "_"):
            return variable.name
    return None


def _problems(ds: xr.Dataset) -> Iterator[str]:
    names = relevance_names(ds)
    for variable in VARIABLES:
        present = names if variable.name == "relevance" else [variable.name] if variable.name in ds else []
        if variable.required and not present:
            yield f"no variable `{variable.name}` ({variable.meaning}); there are {list(ds.data_vars)}"
    sample = ds["score"].dims[-1] if "score" in ds and ds["score"].ndim else None
    for name, array in [*ds.data_vars.items(), *((n, ds[n]) for n in ds.coords if n in _BY_NAME)]:
        role = _role(name)
        if "/" in str(name):
            yield f"`{name}` has a slash in its name, which netCDF reads as a group"
        if role is None:
            continue
        variable = _BY_NAME[role]
        if array.dtype.kind not in variable.kinds:
            yield f"`{name}` has dtype {array.dtype}, expected {_kinds_in_words(variable.kinds)}"
        if variable.dims == ("...",):
            yield from _input_dims_problems(ds, str(name), role, sample)
        else:
            expected = tuple(sample if dim == "sample" else dim for dim in variable.dims)
            if sample is not None and _dims(array) != expected:
                yield f"`{name}` has dims {array.dims}, expected {expected}"
    if "score" in ds and len(_dims(ds["score"])) != 1:
        yield f"`score` has dims {ds['score'].dims}, expected one sample dim"
    for dim in multi_index_dims(ds):
        yield f"coordinate `{dim}` is a MultiIndex, which no file keeps: ds.reset_index({dim!r})"
    for owner, attrs in (("dataset", ds.attrs), *((f"`{name}`", ds[name].attrs) for name in ds.variables)):
        for key, value in attrs.items():
            if not _is_plain(value):
                yield (
                    f"attribute {key!r} of {owner} is a {type(value).__name__}; "
                    "expected a string, a number or a flat list (the rest as JSON)"
                )


def _input_dims_problems(ds: xr.Dataset, name: str, role: str, sample: Any) -> Iterator[str]:
    """Relevance starts with the sample dim, or its ragged stand-in; input and message are like it."""
    array = ds[name]
    dims = _dims(array)
    if role == "relevance":
        ragged = dims and any(
            coordinate.dims == dims[:1] and coordinate.attrs.get("instance_dimension") == sample
            for coordinate in ds.coords.values()
        )
        if not dims:
            yield f"`{name}` is a scalar, expected the input's dims"
        elif sample is not None and dims[0] != sample and not ragged:
            yield (
                f"`{name}` has dims {array.dims}; the first must be the sample dim {sample!r} of `score`, "
                f"or carry a coordinate with the attribute instance_dimension={sample!r} (ragged samples)"
            )
        return
    owner = "relevance" + name[len(role) :]
    if owner not in ds:
        yield f"`{name}` belongs to `{owner}`, which is missing"
    elif _dims(ds[owner]) != dims:
        yield f"`{name}` has dims {array.dims}, expected those of `{owner}`: {ds[owner].dims}"
    if role == "message" and "input" + name[len(role) :] not in ds:
        yield f"`{name}` without `input{name[len(role) :]}`: relevance per frequency needs both"


def _dims(array: xr.DataArray) -> tuple[Hashable, ...]:
    """The dims without the leading one of several targets."""
    return array.dims[1:] if array.dims[:1] == (EXPLAINED,) else array.dims


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(isinstance(item, str | int | float | np.number) for item in value)
    if isinstance(value, np.ndarray):
        return value.ndim <= 1 and value.dtype.kind in "iufUO"
    return isinstance(value, str | int | float | np.number)


def _kinds_in_words(kinds: str) -> str:
    words = {"f": "float", "i": "integer", "u": "unsigned integer", "b": "bool", "U": "string", "O": "object"}
    return " or ".join(words[kind] for kind in kinds if kind in words)
