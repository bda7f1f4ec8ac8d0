"""The speed benchmark says what it is asked to say. No figure of time is tested."""

import importlib
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import sciexplain as sx

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
NUMBER = r"\d+(\.\d+)?(e[+-]\d+)?"


@pytest.fixture(scope="module")
def bench():
    """The benchmark's modules, imported as the script does it."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield {name: importlib.import_module(name) for name in ("core", "measuring", "networks", "peers")}
    finally:
        sys.path.remove(str(FOLDER))
        for name in ("core", "measuring", "networks", "peers"):
            sys.modules.pop(name, None)


def tables(report):
    """Every Markdown table of a report: the heads, and rows as dicts."""
    found = []
    for block in re.findall(r"(?:^\|.*\|\n)+", report, re.MULTILINE):
        heads, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in block.splitlines())
        assert all(len(row) == len(heads) for row in rows)
        found.append((heads, [dict(zip(heads, row)) for row in rows]))
    return found


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What the quick form writes between the marks of a page."""
    page = tmp_path_factory.mktemp("page") / "page.md"
    page.write_text("before\n<!-- speed -->\nold\n<!-- /speed -->\nafter\n")
    command = [sys.executable, "core.py", "--quick", "--only", "4 conv", "--write", str(page)]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    text = page.read_text()
    assert text.startswith("before\n<!-- speed -->\n`python benchmarks/core.py --quick")
    assert text.endswith("<!-- /speed -->\nafter\n")
    assert "\nold\n" not in text
    return text


def test_the_report_names_command_machine_and_versions(report):
    head = report.splitlines()[2]
    assert f"torch {torch.__version__}" in head
    assert re.search(r"\d{4}-\d\d-\d\d: \d+ CPUs", head)


def test_the_ratios_have_all_columns(report, bench):
    heads, rows = tables(report)[0]
    assert heads == list(bench["core"].COLUMNS)
    assert [row["composite"] for row in rows] == ["epsilon", "epsilon_plus"]
    for row in rows:
        for column in ("gradient, ms", "sciexplain", "floor", "memory", "beyond the model"):
            assert re.fullmatch(NUMBER, row[column]), (column, row[column])
        parts = re.findall(r"(\w+) ([+-]\d+\.\d\d)", row["where the rest goes"])
        assert [name for name, _ in parts] == ["forward", "products", "sums", "other"]
        assert sum(float(value) for _, value in parts) == pytest.approx(
            float(row["sciexplain"]) - 1, abs=0.03
        )
    assert [row["goal"] for row in rows] == ["1.15", ""]


def test_start_up_targets_and_import_are_told(report, bench):
    (starts, start_rows), (many, many_rows) = tables(report)[1:]
    assert starts == list(bench["core"].START_COLUMNS)
    assert many == list(bench["core"].TARGET_COLUMNS)
    assert all(re.fullmatch(NUMBER, start_rows[0][column]) for column in starts[1:])
    assert all(re.fullmatch(NUMBER, row["ten targets"]) for row in many_rows)
    assert re.search(rf"`import sciexplain` takes {NUMBER} s beyond torch", report)


def test_a_page_without_marks_is_refused(bench):
    with pytest.raises(ValueError, match="<!-- speed -->"):
        bench["core"].updated("no marks here", "report")


def test_every_network_that_the_readme_promises_is_there(bench):
    nets = bench["networks"].NETS
    promised = ("VGG11", "ResNet18", "4 conv", "Shallow", "EEGNet", "DTNN", "transformer", "LSTM")
    assert [name.startswith(p) for name, p in zip(nets, promised)] == [True] * len(nets)
    for name, net in nets.items():
        if "224" not in name:
            assert net.model("cpu")(*net.samples("cpu", 2)).shape == (2, net.classes)


def test_gradient_times_input_of_an_embedding_is_that_of_its_rows(bench):
    net = replace(bench["networks"].NETS["DTNN, 64 molecules"], batch=2)
    model, (charges, distances) = net.model("cpu"), net.samples("cpu")
    found = bench["peers"].gradient_times_input(model, (charges, distances)).run()
    rows, leaf = model.embedding(charges).requires_grad_(), distances.clone().requires_grad_()
    model.embedding.forward = lambda _: rows
    by_row, by_distance = torch.autograd.grad(model(charges, leaf).sum(), [rows, leaf])
    torch.testing.assert_close(found[0], (by_row * rows).sum(-1).detach())
    torch.testing.assert_close(found[1], (by_distance * leaf).detach())


# The floor of a network in which every cost is a small number: 4 x 4 pictures, 1 x 1 convolutions.
#   first  1 -> 2 channels: 16 x 2 = 32 products, its input is signed, its output goes through a ReLU
#   second 2 -> 3 channels: 16 x 6 = 96 products, its input is not negative, its output goes through nothing
#   dense  48 -> 2: 96 products, its input is signed
SHARES = (32, 96, 96)
FLOORS = {
    "epsilon": (1, 1, 1),
    "epsilon_plus": (2.5, 1.5, 1),
    "epsilon_gamma": (2.5, 2.5, 1),
    "alpha2_beta1": (4.5, 2.5, 4.5),
}


@pytest.mark.parametrize("composite", FLOORS)
def test_the_floor_counts_the_products_of_each_rule(bench, composite):
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 3, 1), nn.Flatten(), nn.Linear(48, 2))
    plan = sx.LRP(composite).plan(net.eval(), [torch.randn(3, 1, 4, 4)], {})
    want = sum(s * f for s, f in zip(SHARES, FLOORS[composite])) / sum(SHARES)
    assert bench["measuring"].floor(plan) == pytest.approx(want)


def test_a_ratio_is_taken_within_each_round(bench):
    times = {"ours": [2.0, 30.0, 5.0], "plain": [1.0, 10.0, 4.0]}
    assert bench["measuring"].ratio(times, "ours", "plain") == 2.0  # of the medians it would be 1.25


def test_peak_memory_is_what_a_contestant_holds_and_needs(bench):
    megabyte = 2**18  # float32

    def make():
        held = torch.ones(3 * megabyte)

        def run():
            first = held[: 2 * megabyte] + 1
            del first
            return held[:megabyte] + 1

        return bench["peers"].Contestant(run)

    found = bench["measuring"].peak_memory(make, "cpu") / 2**20
    assert found == pytest.approx(3 + 2, abs=0.1)


def test_another_result_is_told_from_rounding_and_another_score(bench):
    agrees = bench["peers"].agrees
    mine = [torch.randn(4, 10, generator=torch.Generator().manual_seed(0)), None]
    assert agrees(mine, [3.0 * mine[0] * (1 + 1e-6), torch.ones(4, 2)])
    other = mine[0].clone()
    other[2, :3] *= 1.5
    assert not agrees(mine, [other, None])


def test_a_network_that_fails_is_told_and_the_others_are_measured(bench, capsys):
    def part(name, extent):
        raise NotImplementedError(name)

    core = bench["core"]
    extent = core.Extent(repeats=1, threads=(torch.get_num_threads(),), device="cpu", only="", quick=True)
    assert core.told(part, "VGG11", extent, 4) == [["VGG11", "fails: NotImplementedError", "", ""]]
    assert "NotImplementedError: VGG11" in capsys.readouterr().err
