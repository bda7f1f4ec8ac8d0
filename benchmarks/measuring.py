"""What is measured and how: time in turns, memory by allocation, the floor by counting products.

Time: every round calls each contestant once (short ones several times, as often for all), and a ratio is the
median over the rounds of the ratio within a round, so that a slow moment of the machine hits both sides.

Memory: torch's own allocations are summed over time (on a GPU by the caching allocator, on a CPU from the
profiler's memory events), not the size of the process: that depends on what malloc gives back, and in small
networks is mostly imported code. It counts from before a method prepares itself, so that modified weights
which a method keeps are included. What the matrix libraries take behind torch's back is not.
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from networks import Net
from peers import Contestant, Inputs, explain, gradient_times_input, nothing, prepare
from torch import nn
from torch.profiler import ProfilerActivity, profile

import sciexplain as sx
from sciexplain.lrp.plan import Plan, Planned
from sciexplain.lrp.rows import size
from sciexplain.lrp.rules import AlphaBeta, Gamma

SHORTEST = 0.05  # seconds of one turn: shorter calls are repeated
Rounds = dict[str, list[float]]  # seconds per call, of every round


def synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(call: Callable[[], Any], device: str, number: int = 1) -> float:
    """Wall time of one call."""
    synchronise(device)
    start = time.perf_counter()
    for _ in range(number):
        call()
    synchronise(device)
    return (time.perf_counter() - start) / number


def in_turns(contestants: Mapping[str, Contestant], repeats: int, device: str) -> Rounds:
    """Seconds per call of each contestant in each round; all must have run before."""
    times: Rounds = {name: [] for name in contestants}
    first = next(iter(contestants.values()))
    with first.around():
        once = seconds(first.run, device)
    number = min(50, max(1, round(SHORTEST / once)))
    for _ in range(repeats):
        for name, contestant in contestants.items():
            with contestant.around():
                times[name].append(seconds(contestant.run, device, number))
    return times


def ratio(times: Rounds, name: str, to: str) -> float:
    """Median over the rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(times[name], times[to]))


def forward_seconds(contestant: Contestant, repeats: int, device: str) -> float:
    """Median time of the forward pass, up to where relevance starts."""
    found = []

    def between() -> None:
        synchronise(device)
        found.append(time.perf_counter() - start)

    with contestant.around():
        for _ in range(max(repeats, 3)):
            synchronise(device)
            start = time.perf_counter()
            contestant.run(between)
    return statistics.median(found)


_PRODUCTS = ("conv", "mm", "matmul", "linear", "dot", "mv", "attention", "rnn", "lstm")


def backward_seconds(contestant: Contestant, repeats: int, device: str) -> dict[str, float]:
    """Time inside torch's matrix products and sums after the forward pass, medians.

    From torch's profiler, which slows short operations a little.
    """
    found: dict[str, list[float]] = {"products": [], "sums": []}
    with contestant.around():
        for _ in range(repeats):
            for kind, spent in _profiled(contestant, device).items():
                found[kind].append(spent)
    return {kind: statistics.median(spent) for kind, spent in found.items()}


def _profiled(contestant: Contestant, device: str) -> dict[str, float]:
    cuda = device == "cuda"

    def between() -> None:
        synchronise(device)
        with torch.profiler.record_function("between"):
            pass

    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if cuda else [])
    with profile(activities=activities) as recorded:
        contestant.run(between)
        synchronise(device)
    events = recorded.events() or []
    since = next(e for e in events if e.name == "between").time_range.end
    spent = {"products": 0.0, "sums": 0.0}
    for event in events:
        if event.time_range.start < since or not event.name.startswith("aten::"):
            continue
        name = event.name.removeprefix("aten::")
        kind = "sums" if name == "sum" else "products" if any(part in name for part in _PRODUCTS) else None
        if kind is not None:
            spent[kind] += 1e-6 * (event.self_device_time_total if cuda else event.self_cpu_time_total)
    return spent


def peak_memory(make: Callable[[], Contestant], device: str) -> int:
    """Bytes that a contestant holds and needs at most, beyond the model and its inputs."""
    if device == "cuda":
        gc.collect()
        before = torch.cuda.memory_allocated()
        contestant = make()
        with contestant.around():
            contestant.run()
            torch.cuda.reset_peak_memory_stats()
            contestant.run()
        return torch.cuda.max_memory_allocated() - before
    gc.collect()  # what others left must not be freed, and counted, in between
    last = []
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        contestant = make()
        with contestant.around():
            contestant.run()
            with torch.profiler.record_function("last run"):
                last.append(contestant.run())
    events = recorded.profiler.kineto_results.events()
    marks = [e for e in events if e.name() == "last run"]
    since, held, most = min(e.start_ns() for e in marks), 0, 0
    changes = sorted((e.start_ns(), i, e.nbytes()) for i, e in enumerate(events) if e.name() == "[memory]")
    for when, _, change in changes:
        held += change
        most = max(most, held) if when >= since else held
    return most


def weight_bytes(model: nn.Module, inputs: Inputs) -> int:
    return sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers(), *inputs))


# The floor


def floor(plan: Plan) -> float:
    """What the rules' products cost alone, in units of forward and backward pass of the plain network.

    Forward and backward to the input are two products per operation. Epsilon needs no more. A rule that
    weighs contributions of one sign needs the sum that it divides by, one product, or two where the input has
    both signs; as many go back. Rules for both signs (alpha-beta; gamma, unless the output is read through a
    ReLU) need that twice. The gates of recurrent layers are constants: they need no way back.
    """
    found = [(products(item), item) for item in plan.operations]
    counted = [(many, needed(item)) for many, item in found if many]
    total = sum(many for many, _ in counted)
    return sum(many * each for many, each in counted) / total if total else 1.0


def needed(item: Planned) -> float:
    """Products that a weighted operation needs under its rule, over the two of a gradient."""
    each = 1.0
    if isinstance(item.rule, (AlphaBeta, Gamma)):
        sides = 2 if item.input_sign != "nonnegative" else 1
        both = item.relu is None if isinstance(item.rule, Gamma) else item.rule.beta != 0
        each = (1 + 2 * sides * (2 if both else 1)) / 2
    gates = next((share for name, share in _GATES.items() if name in item.name), 0.0)
    return gates * 0.5 + (1 - gates) * each


_GATES = {"lstm": 3 / 4, "gru": 2 / 3}  # of the weights


def products(item: Planned) -> float:
    """Multiplications of a weighted operation for inputs of some size, 0 for others."""
    if item.rule is None:
        return 0.0
    if item.call is None:  # recurrent: every weight once per step
        weights = [_shape(n) for n in item.node.all_input_nodes[1:]]
        steps = _numel(_shape(item.node.all_input_nodes[0])[:-1])
        return steps * sum(_numel(w) for w in weights if len(w) == 2)
    out, weight = _numel(_shape(item.node)), _shape(item.call.weight)
    if "conv" in item.name or item.name == "aten.linear":
        return out * _numel(weight[1:])  # (output, input, ...)
    return (out * _numel(weight) * _numel(_shape(item.call.signal))) ** 0.5  # n k, k m, n m -> n k m


def _shape(node: Any) -> list[float]:
    value = node.meta["val"]
    sizes = [size(s) for s in (value[0] if isinstance(value, (tuple, list)) else value).shape]
    return [s if isinstance(s, int) else float(s.subs(dict.fromkeys(s.free_symbols, 16))) for s in sizes]


def _numel(shape: list[float]) -> float:
    found = 1.0
    for s in shape:
        found *= s
    return found


# Once per network


@dataclass(frozen=True)
class StartUp:
    """Seconds, medians; `other` and `again` are multiples of gradient x input at that batch size.

    Attributes
    ----------
    plan : float
        Capture and plan of a model never seen before.
    prepare : float
        Another composite for the same model: its capture is reused.
    other, again : float
        The first and a later batch of twice the size, with what was prepared for the usual one.
    """

    plan: float
    prepare: float
    other: float
    again: float


def start_up(net: Net, repeats: int, device: str) -> StartUp:
    found = []
    for _ in range(repeats):
        model, inputs = net.model(device), net.samples(device)
        larger = net.samples(device, 2 * net.batch)
        plan = seconds(lambda m=model, x=inputs: sx.LRP("epsilon").plan(m, list(x), {}), device)
        begin = time.perf_counter()
        prepared = prepare(model, inputs, "epsilon_plus")
        ready = time.perf_counter() - begin
        explain(prepared, inputs)
        gradient = gradient_times_input(model, larger)
        with gradient.around():
            gradient.run()
            plain = seconds(gradient.run, device)
        other, again = (seconds(lambda p=prepared, x=larger: explain(p, x), device) for _ in range(2))
        found.append((plan, ready, other / plain, again / plain))
    return StartUp(*(statistics.median(column) for column in zip(*found)))


def ten_targets(net: Net, composite: str, repeats: int, device: str) -> tuple[float, float]:
    """Milliseconds of one target, and ten targets in one run as a multiple of it."""
    model, inputs = net.model(device), net.samples(device)
    prepared = prepare(model, inputs, composite)

    def explaining(targets: int) -> Contestant:
        return Contestant(lambda between=nothing: explain(prepared, inputs, between, targets))

    contestants = {"one": explaining(1), "ten": explaining(10)}
    for contestant in contestants.values():
        contestant.run()
    times = in_turns(contestants, repeats, device)
    return 1e3 * statistics.median(times["one"]), ratio(times, "ten", "one")


_IMPORT = """
import time, json, torch
start = time.perf_counter()
import sciexplain as sx
imported = time.perf_counter() - start
for name in sx.__all__:
    getattr(sx, name)
print(json.dumps([imported, time.perf_counter() - start]))
"""


def import_seconds(repeats: int) -> tuple[float, float]:
    """`import sciexplain` after torch, and with every public name loaded; each in a fresh process."""
    found = []
    for _ in range(repeats):
        done = subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    bare, full = (statistics.median(column) for column in zip(*found))
    return bare, full
