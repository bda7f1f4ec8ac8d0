"""Time and memory of LRP as multiples of gradient x input, beside zennit and captum where they run.

    python benchmarks/core.py [--repeats 7] [--threads 1 2] [--device cpu] [--only VGG11] [--quick]
    python benchmarks/core.py --write   # renew the tables of the README, between its <!-- speed --> marks

All contestants take turns in one run (see measuring.py). A peer whose relevance is not ours under the same
rules is marked "other result": it takes the plain gradient of operations that it has no hook for, doubles
what passes an addition, or applies a rule for non-negative inputs to signed ones.
"""

from __future__ import annotations

import argparse
import datetime
import os
import re
import shlex
import statistics
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from measuring import (
    Rounds,
    backward_seconds,
    floor,
    forward_seconds,
    import_seconds,
    in_turns,
    peak_memory,
    ratio,
    start_up,
    ten_targets,
    weight_bytes,
)
from networks import NETS, Net
from peers import COMPOSITES, PEERS, Contestant, agrees, gradient_times_input, ours

import sciexplain as sx

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = ("network", "composite", "gradient, ms", "sciexplain", "floor", "goal", "where the rest goes",
           "zennit", "captum", "memory", "beyond the model")  # fmt: skip
START_COLUMNS = ("network", "capture and plan, s", "goal", "another composite, s", "another batch size",
                 "later")  # fmt: skip
TARGET_COLUMNS = ("network", "composite", "one target, ms", "ten targets", "goal")
GRADIENT = "gradient x input"
_MARKED = re.compile(r"(<!-- speed -->\n).*?(<!-- /speed -->)", re.DOTALL)
MEMORY_GOAL, PLAN_GOAL, IMPORT_GOAL, TARGETS_GOAL = 1.25, 0.3, 1.0, 6
NEW_MODELS = 3  # of each network, for what is done once


@dataclass(frozen=True)
class Extent:
    """How much is measured."""

    repeats: int
    threads: tuple[int, ...]
    device: str
    only: str
    quick: bool

    @property
    def nets(self) -> dict[str, Net]:
        quick = ("4 conv", "DTNN")
        found = {n: net for n, net in NETS.items() if self.only in n}
        return {n: net for n, net in found.items() if n.startswith(quick)} if self.quick else found

    @property
    def composites(self) -> tuple[str, ...]:
        return COMPOSITES[:2] if self.quick else COMPOSITES


def compare(name: str, extent: Extent) -> list[list[str]]:
    """The rows of one network."""
    net, device = extent.nets[name], extent.device
    model, inputs = net.model(device), net.samples(device)
    contestants: dict[str, Contestant] = {GRADIENT: gradient_times_input(model, inputs)}
    with contestants[GRADIENT].around():
        contestants[GRADIENT].run()
    marks: dict[str, str] = {}
    for composite in extent.composites:
        mine = contestants[composite] = ours(model, inputs, composite)
        wanted = mine.run()
        for peer, maker in PEERS.items():
            key = f"{peer} {composite}"
            try:
                theirs = maker(model, inputs, composite)
                if theirs is None:
                    continue
                with theirs.around():
                    marks[key] = "" if agrees(wanted, theirs.run()) else " other result"
                contestants[key] = theirs
            except Exception as error:  # whatever stops a peer is told in the table
                marks[key] = f"fails: {type(error).__name__}"
    rounds: list[Rounds] = []
    for threads in extent.threads:
        torch.set_num_threads(threads)
        rounds.append(in_turns(contestants, extent.repeats, device))
    torch.set_num_threads(extent.threads[0])

    def cell(key: str) -> str:
        if key not in contestants:
            return marks.get(key, "")
        return " / ".join(f"{ratio(times, key, GRADIENT):.2f}" for times in rounds) + marks.get(key, "")

    plain = " / ".join(f"{1e3 * statistics.median(times[GRADIENT]):.3g}" for times in rounds)
    fixed = weight_bytes(model, inputs)
    least = peak_memory(lambda: gradient_times_input(model, inputs), device)
    rows = []
    for composite in extent.composites:
        most = peak_memory(lambda c=composite: ours(model, inputs, c), device)
        rows.append([
            name,
            composite,
            plain,
            cell(composite),
            f"{floor(sx.LRP(composite).plan(model, list(inputs), {})):.2f}",
            f"{net.goals[composite]:.2f}" if composite in net.goals else "",
            the_rest(contestants, composite, rounds[0], extent),
            cell(f"zennit {composite}"),
            cell(f"captum {composite}"),
            f"{(fixed + most) / (fixed + least):.2f}",
            f"{most / least:.2f}",
        ])  # fmt: skip
    return rows


def the_rest(contestants: dict[str, Contestant], composite: str, times: Rounds, extent: Extent) -> str:
    """Where the time beyond gradient x input goes, in its units; the parts sum to ratio - 1."""
    plain, mine, device = contestants[GRADIENT], contestants[composite], extent.device
    unit = statistics.median(times[GRADIENT])
    forward = [forward_seconds(c, extent.repeats, device) for c in (mine, plain)]
    back = [backward_seconds(c, extent.repeats, device) for c in (mine, plain)]
    parts = {"forward": (forward[0] - forward[1]) / unit}
    parts |= {kind: (back[0][kind] - back[1][kind]) / unit for kind in back[0]}
    parts["other"] = ratio(times, composite, GRADIENT) - 1 - sum(parts.values())
    return ", ".join(f"{part} {share:+.2f}" for part, share in parts.items())


def prepared(name: str, extent: Extent) -> list[list[str]]:
    """What a network costs once."""
    net = extent.nets[name]
    found = start_up(net, min(extent.repeats, NEW_MODELS), extent.device)
    goal = f"{PLAN_GOAL}" if net.study else ""
    figures = (found.prepare, found.other, found.again)
    return [[name, f"{found.plan:.2f}", goal, *(f"{figure:.2f}" for figure in figures)]]


def several(name: str, extent: Extent) -> list[list[str]]:
    """Ten targets against one."""
    rows = []
    for composite in extent.composites:
        one, ten = ten_targets(extent.nets[name], composite, extent.repeats, extent.device)
        rows.append([name, composite, f"{one:.3g}", f"{ten:.2f}", f"< {TARGETS_GOAL}"])
    return rows


def told(
    part: Callable[[str, Extent], list[list[str]]], name: str, extent: Extent, columns: int
) -> list[list[str]]:
    """The rows of one network; what stops it becomes a row, so that the other networks are still measured."""
    print(f"{part.__name__}: {name}", file=sys.stderr, flush=True)
    torch.set_num_threads(extent.threads[0])
    try:
        return part(name, extent)
    except Exception as error:
        traceback.print_exc()
        return [[name, f"fails: {type(error).__name__}", *[""] * (columns - 2)]]


def tables(extent: Extent) -> str:
    """The whole report as Markdown."""
    nets = extent.nets
    starts = [row for name in nets for row in told(prepared, name, extent, len(START_COLUMNS))]
    rows = [row for name in nets for row in told(compare, name, extent, len(COLUMNS))]
    many = [row for name, net in nets.items() if net.classes >= 10
            for row in told(several, name, extent, len(TARGET_COLUMNS))]  # fmt: skip
    bare, full = import_seconds(extent.repeats)
    return "\n".join([
        f"{setting(extent)}\n",
        f"{_RATIOS.format(threads=' / '.join(map(str, extent.threads)), first=extent.threads[0])}\n",
        table(COLUMNS, rows),
        f"{_STARTS}\n",
        table(START_COLUMNS, starts),
        "Ten targets in one run, as a multiple of one target.\n",
        table(TARGET_COLUMNS, many),
        f"`import sciexplain` takes {bare:.2f} s beyond torch, {full:.2f} s with every public name loaded"
        f" (goal {IMPORT_GOAL:g} s).\n",
    ])  # fmt: skip


_RATIOS = (
    "Times are multiples of gradient x input, with {threads} thread(s); all else is measured with {first}."
    " *Floor*: what the products of the rules cost alone. *Where the rest goes*: ratio - 1, as a longer"
    " forward pass, more products on the way back, sums per sample (what is absorbed) and all else"
    " (elementwise work, Python). *Memory*: peak of all tensors, the model's and prepared weights included,"
    f" over that of gradient x input (goal {MEMORY_GOAL}); then the same without the model's own weights and"
    " inputs. *Other result*: the peer ran, but its relevance differs from ours under the same rules."
)
_STARTS = (
    "A model not seen before is captured and planned; another composite reuses the capture. What is prepared"
    " takes batches of any size: the first and a later one of twice the size, over gradient x input at that"
    f" size (medians of at most {NEW_MODELS} new models)."
)


def setting(extent: Extent) -> str:
    """Command, machine and date in words."""
    command = shlex.join(["python", "benchmarks/core.py", *sys.argv[1:]])
    where = f"{os.cpu_count()} CPUs"
    if extent.device == "cuda":
        where = f"{torch.cuda.get_device_name()}, {where}"
    rounds = "one round" if extent.repeats == 1 else f"medians of {extent.repeats} rounds"
    return f"`{command}`, {datetime.date.today()}: {where}, torch {torch.__version__}, float32, {rounds}."


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "".join(f"| {' | '.join(line)} |\n" for line in [heads, ["---"] * len(heads), *rows])


def updated(text: str, report: str) -> str:
    """The text with what stands between the marks replaced.

    Raises
    ------
    ValueError
        There are no marks.
    """
    if not _MARKED.search(text):
        raise ValueError("Nothing to renew: no <!-- speed --> with <!-- /speed --> after it.")
    return _MARKED.sub(lambda found: found[1] + report + found[2], text)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--only", default="", help="networks with this in their name")
    parser.add_argument("--quick", action="store_true", help="one round of two networks and two composites")
    parser.add_argument("--write", type=Path, nargs="?", const=ROOT / "README.md", metavar="FILE")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    one = arguments.quick or arguments.device == "cuda"  # a GPU does not share its work among threads
    extent = Extent(
        1 if arguments.quick else arguments.repeats,
        tuple(arguments.threads[:1] if one else arguments.threads),
        arguments.device,
        arguments.only,
        arguments.quick,
    )
    if arguments.write is not None:
        updated(arguments.write.read_text("utf-8"), "")  # marks that are missing are told before the work
        report = tables(extent)
        text = arguments.write.read_text("utf-8")  # as it is now: the work takes a while
        arguments.write.write_text(updated(text, report), "utf-8")
    else:
        print(tables(extent))


if __name__ == "__main__":
    main()
