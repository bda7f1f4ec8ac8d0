"""`sciexplain explain MODEL INPUT -o OUT`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Hashable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import CommandError
from .inputs import is_epochs
from .options import (
    add_method,
    add_model_and_input,
    input_of,
    method_of,
    model_of,
    names,
    picks_of,
    scale_of,
    spec_of,
)

if TYPE_CHECKING:
    import xarray as xr

_EXAMPLES = """examples:
  sciexplain explain model.pt2 images.nc -o relevance.nc --input-rule 'ZBox(0, 1)'
  sciexplain explain mynets:build trials.npy -o relevance.nc --state weights.safetensors \\
      --factory-args '{"n_chans": 22}' --dims epoch,channel,time --labels left,right --target left
  sciexplain explain shallow.safetensors s1-epo.fif -o s1.zarr --trained-on spec.json --target event
  sciexplain explain model.pt2 x.npy -o r.nc --rule 'conv=Gamma(0.25)' --rule 'head.*=Epsilon(1e-3)'
"""


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the command to what `add_subparsers()` returned."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "explain",
        parents=parents,
        help="explain a saved model's outputs by its inputs and write the relevance",
        description="Explain a saved model's outputs by its inputs and write the relevance,\n"
        "labelled, to netCDF or zarr. The file appears complete or not at all.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_model_and_input(parser)
    add_method(parser)
    group = parser.add_argument_group("what is explained")
    group.add_argument(
        "--target",
        metavar="WHAT",
        default="predicted",
        help="predicted, the index of an output, one of --labels, or for epochs event: each epoch's own class"
        " (default: %(default)s)",
    )
    group.add_argument("--labels", metavar="A,B", type=names, help="names of the outputs, in their order")
    group.add_argument(
        "--dims", metavar="A,B,C", type=names, help="names of an array's dimensions, samples first"
    )
    group.add_argument(
        "--layers", metavar="PATH", nargs="+", default=[], help="modules whose relevance is wanted too"
    )
    group = parser.add_argument_group("the run")
    group.add_argument(
        "-o", "--out", metavar="OUT", type=Path, required=True, help="the file to write, .nc or .zarr"
    )
    group.add_argument("--force", action="store_true", help="replace OUT if it exists")
    group.add_argument(
        "--batch-size",
        metavar="N",
        type=_positive,
        default=64,
        help="samples per pass (default: %(default)s)",
    )
    group.add_argument("--no-progress", action="store_true", help="no progress bar")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Explain and write; returns the exit code."""
    _check_output(arguments.out, arguments.force)
    if arguments.dims is not None and is_epochs(arguments.input):
        raise CommandError(f"--dims: only for arrays; the input is {str(arguments.input)!r}.")
    method = method_of(arguments)
    inputs = input_of(arguments)
    spec = spec_of(arguments)
    model = model_of(arguments)
    common = {
        "target": _target(arguments.target, arguments.labels),
        "method": method,
        "layers": tuple(arguments.layers),
        "output": arguments.output_kind,
        "batch_size": arguments.batch_size,
        "progress": not arguments.no_progress and sys.stderr.isatty(),
    }
    if is_epochs(arguments.input):
        from sciexplain.domains import eeg

        ds = eeg.explain(
            model,
            inputs,
            picks=picks_of(arguments),
            scale=scale_of(arguments),
            classes=arguments.labels,
            trained_on=spec,
            input_layout=arguments.layout,
            **common,
        )
    else:
        from sciexplain.api import explain

        coords: dict[Hashable, Any] | None = None
        if arguments.labels is not None:
            coords = {"output": list(arguments.labels)}
        ds = explain(model, inputs, dims=arguments.dims, coords=coords, **common)
    from sciexplain.relevance import save

    ds.attrs["model_source"], ds.attrs["input_source"] = Path(arguments.model).name, arguments.input.name
    _check_output(arguments.out, arguments.force)  # somebody else may have written it in the meantime
    save(ds, arguments.out)
    _summary(ds, arguments, method.conserves)
    return 0


def _check_output(out: Path, force: bool) -> None:
    """All that can be wrong with the place to write to, before any work."""
    if out.suffix not in (".nc", ".zarr"):
        raise CommandError(f"the output {str(out)!r} must end in .nc (netCDF) or .zarr.")
    if out.suffix == ".zarr" and find_spec("zarr") is None:
        raise ImportError(
            "a .zarr output needs zarr, which is not installed: pip install 'sciexplain[scale]'"
        )
    folder = out.parent
    if not folder.is_dir():
        raise FileNotFoundError(f"the folder {str(folder)!r} of the output does not exist")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"nothing can be written into the folder {str(folder)!r}")
    if not out.exists():
        return
    if not force:
        raise FileExistsError(f"{str(out)!r} exists already; --force replaces it")
    ours = out.is_file() if out.suffix == ".nc" else any((out / n).exists() for n in (".zgroup", "zarr.json"))
    if not ours:
        raise CommandError(f"{str(out)!r} exists and is no {out.suffix} file; it is not replaced.")


def _target(text: str, labels: tuple[str, ...] | None) -> str | int:
    """A label if it is one, else an index if it is a number."""
    if text not in (labels or ()) and text.lstrip("-").isdecimal():
        return int(text)
    return text


def _summary(ds: xr.Dataset, arguments: argparse.Namespace, conserves: bool) -> None:
    import numpy as np

    main = ds["relevance"] if "relevance" in ds else next(iter(ds.data_vars.values()))
    shape = ", ".join(f"{dim} {size}" for dim, size in main.sizes.items())
    values, counts = np.unique(ds["target"].values, return_counts=True)
    shown = [f"{value} ({count})" for value, count in zip(values.tolist(), counts.tolist())]
    more = f", and {len(shown) - 8} more" if len(shown) > 8 else ""
    print(f"explained  {shape}; method {arguments.method}")
    print(f"classes    {', '.join(shown[:8])}{more}")
    error = f"{float(ds['conservation_error'].max()):.1e}"
    if conserves:
        print(f"conserved  score = relevance + absorbed, to {error} relative in the worst sample")
    else:
        print(f"sum        differs from the score by {error} relative in the worst sample")
    print(f"written    {arguments.out}")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive whole number")
    return int(text)
