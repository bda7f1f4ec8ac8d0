"""`sciexplain plan MODEL INPUT`: what LRP will do to each operation, before anything runs."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from .inputs import is_epochs
from .options import (
    add_method,
    add_model_and_input,
    input_of,
    method_of,
    model_of,
    picks_of,
    scale_of,
    spec_of,
)

if TYPE_CHECKING:
    import numpy as np

_EXAMPLES = """examples:
  sciexplain plan model.pt2 images.nc
  sciexplain plan model.pt2 images.nc --method deep_taylor --input-rule 'ZBox(0, 1)' --csv > plan.csv
  sciexplain plan model.pt2 images.nc --html > plan.html
"""


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the command to what `add_subparsers()` returned."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "plan",
        parents=parents,
        help="print which rule each operation of a model will get; nothing is explained",
        description="Print which rule each operation between input and output will get, and why.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_model_and_input(parser)
    add_method(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON, a list with one object per operation")
    form.add_argument("--csv", action="store_true", help="print CSV")
    form.add_argument("--html", action="store_true", help="print a page that opens without a network")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the plan; returns the exit code."""
    method = method_of(arguments)
    inputs = input_of(arguments)
    spec = spec_of(arguments)
    model = model_of(arguments)
    from sciexplain.api import plan

    if is_epochs(arguments.input):
        inputs = _numbers(arguments, inputs, spec)
    table = plan(model, inputs, method, output=arguments.output_kind)
    if arguments.json:
        print(json.dumps(table.to_dict("records"), indent=2, ensure_ascii=False))
    elif arguments.csv:
        table.to_csv(sys.stdout, index=False)
    elif arguments.html:
        print(table.as_page())
    else:
        print(table)
    return 0


def _numbers(arguments: argparse.Namespace, epochs: Any, spec: Any) -> np.ndarray:
    """Epochs as the model gets them."""
    from sciexplain.domains.eeg.spec import pick_channels

    picked = pick_channels(epochs, picks_of(arguments))
    if spec is not None:
        spec.check(picked)
    scale = scale_of(arguments) or (1e6 if spec is None else spec.scale)
    values = picked.get_data(copy=False) * scale
    return values[:, None] if arguments.layout == "n1ct" else values
