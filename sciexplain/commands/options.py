"""Options that several commands share, and what they mean."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import methods
from .errors import CommandError
from .inputs import KNOWN, is_epochs, read_array, read_epochs

if TYPE_CHECKING:
    from sciexplain.domains.eeg.spec import InputSpec

_CONSTANTS = {"uV": 1e6, "mV": 1e3, "V": 1.0, "nV": 1e9}


def add_model_and_input(parser: argparse.ArgumentParser) -> None:
    """MODEL, INPUT and all that says how they are read."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="an exported program (.pt2), a checkpoint of sciexplain.models (.safetensors), or"
        " package.module:factory",
    )
    parser.add_argument("input", metavar="INPUT", type=Path, help=f"a file: {KNOWN}")
    group = parser.add_argument_group("the model")
    group.add_argument(
        "--state", metavar="FILE", type=Path, help="the factory's weights: safetensors, or a weights-only .pt"
    )
    group.add_argument(
        "--factory-args", metavar="JSON", type=_json_object, help="the factory's keyword arguments, as JSON"
    )
    group = parser.add_argument_group("the input")
    group.add_argument("--variable", metavar="NAME", help="which array of a file that holds several")
    group = parser.add_argument_group("epochs (-epo.fif)")
    group.add_argument(
        "--trained-on",
        metavar="FILE",
        type=Path,
        help="JSON of the sx.eeg.InputSpec in training",
    )
    group.add_argument(
        "--picks", metavar="A,B", type=names, help="channels in the model's order, or kinds; default eeg"
    )
    group.add_argument(
        "--unit",
        choices=tuple(_CONSTANTS),
        help="unit of the model's numbers; default uV or --trained-on's",
    )
    group.add_argument(
        "--layout",
        choices=("nct", "n1ct"),
        default="nct",
        help="the model takes (epoch, channel, time), or (epoch, 1, channel, time)",
    )


def add_method(parser: argparse.ArgumentParser) -> None:
    """How to explain."""
    group = parser.add_argument_group("the method")
    group.add_argument(
        "--method",
        metavar="NAME",
        default="epsilon_plus",
        help=f"LRP: {', '.join(methods.COMPOSITES)}; others: {', '.join(methods.OTHERS)}"
        " (default: %(default)s)",
    )
    group.add_argument(
        "--rule",
        metavar="WHERE=RULE",
        action="append",
        default=[],
        help="a rule for conv, linear, a module path or a glob of them, in place of the method's own, such"
        f" as 'conv=Gamma(0.25)'; repeatable. Rules: {', '.join(methods.RULES)}",
    )
    group.add_argument(
        "--input-rule", metavar="RULE", help="the rule where the input enters, such as 'ZBox(0, 1)'"
    )
    group.add_argument(
        "--output",
        dest="output_kind",
        choices=("logit", "as_is"),
        default="logit",
        help="leave a final softmax or sigmoid out, or keep it",
    )


def model_of(arguments: argparse.Namespace) -> Any:
    """The model that the arguments name."""
    from sciexplain.modelfiles import load_model

    return load_model(arguments.model, state=arguments.state, factory_args=arguments.factory_args)


def method_of(arguments: argparse.Namespace) -> Any:
    """The method that the arguments name."""
    return methods.parse_method(arguments.method, arguments.rule, arguments.input_rule)


def input_of(arguments: argparse.Namespace) -> Any:
    """The array or the epochs that the arguments name."""
    only_epochs = {
        "--trained-on": arguments.trained_on,
        "--picks": arguments.picks,
        "--unit": arguments.unit,
        "--layout": arguments.layout if arguments.layout != "nct" else None,
    }
    only_arrays = {"--variable": arguments.variable}
    epochs = is_epochs(arguments.input)
    wrong = [name for name, value in (only_arrays if epochs else only_epochs).items() if value is not None]
    if wrong:
        kind = "arrays" if epochs else "epochs (-epo.fif)"
        raise CommandError(f"{', '.join(wrong)}: only for {kind}; the input is {str(arguments.input)!r}.")
    return read_epochs(arguments.input) if epochs else read_array(arguments.input, arguments.variable)


def spec_of(arguments: argparse.Namespace) -> InputSpec | None:
    """What the model was trained on, if a file says so."""
    if arguments.trained_on is None:
        return None
    from sciexplain.domains.eeg.spec import EpochsError, InputSpec

    try:
        return InputSpec.from_json(arguments.trained_on.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError, EpochsError) as error:
        raise CommandError(
            f"{str(arguments.trained_on)!r} describes no training input: {error}."
            " Write it with InputSpec.from_epochs(epochs).to_json()."
        ) from error


def scale_of(arguments: argparse.Namespace) -> float | None:
    """Factor from volt to the model's numbers, if given."""
    return None if arguments.unit is None else _CONSTANTS[arguments.unit]


def picks_of(arguments: argparse.Namespace) -> Any:
    """Channel names or kinds."""
    return "eeg" if arguments.picks is None else list(arguments.picks)


def names(text: str) -> tuple[str, ...]:
    """The type of an option that takes names with commas between."""
    found = tuple(name.strip() for name in text.split(","))
    if not all(found):
        raise argparse.ArgumentTypeError(f"{text!r} has an empty name; expected names with commas between")
    if len(set(found)) != len(found):
        raise argparse.ArgumentTypeError(f"{text!r} names something twice")
    return found


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f'{text!r} is no JSON object; expected {{"name": value, ...}}')
    return value
