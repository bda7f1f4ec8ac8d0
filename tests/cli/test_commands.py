"""The frame of the command line: help, plan, rules, case studies, exit codes, and a few real processes."""

import csv
import io
import json
import os
import signal
import subprocess
import sys

import pytest

import sciexplain as sx
from sciexplain.cli import main
from sciexplain.commands import methods
from sciexplain.commands.methods import RuleTextError, parse_method, parse_rule
from sciexplain.plans.columns import as_text


def test_help_loads_nothing_heavy():
    heavy = ["torch", "numpy", "xarray", "mne", "pandas", "matplotlib"]
    program = (
        "import sys; from sciexplain.cli import main; main(['explain', '--help']);"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "examples:" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", ["", "plan", "explain", "case-study", "data"])
def test_every_command_has_help(run, command):
    code, printed, _ = run(*[command] if command else [], "--help")
    assert code == 0
    assert printed.startswith(f"usage: sciexplain {command}".rstrip())
    assert max(len(line) for line in printed.splitlines()) <= 110


def test_version_and_usage(run):
    assert run("--version") == (0, f"sciexplain {sx.__version__}\n", "")
    for wrong in (
        [],
        ["explode"],
        ["explain", "a.pt2", "x.npy"],
        ["plan", "a.pt2", "x.npy", "--json", "--csv"],
    ):
        code, printed, err = run(*wrong)
        assert (code, printed) == (2, "")
        assert err.startswith("usage: sciexplain")
    for option, value in (
        ("--batch-size", "0"),
        ("--factory-args", "[1]"),
        ("--factory-args", "{"),
        ("--labels", "a,,b"),
        ("--dims", "a,a"),
    ):
        code, _, err = run("explain", "m:f", "x.npy", "-o", "r.nc", option, value)
        assert code == 2
        assert repr(value) in err


def test_names_in_the_help_are_those_of_the_library():
    from sciexplain.lrp.composites import COMPOSITES
    from sciexplain.lrp.rules import ProductRule, Rule
    from sciexplain.methods import METHODS

    assert set(methods.COMPOSITES) == set(COMPOSITES)
    assert {*methods.OTHERS, "lrp"} == set(METHODS)
    kinds = [getattr(sx.rules, name) for name in sx.rules.__all__]
    bases = (Rule, ProductRule)
    rules = {k.__name__ for k in kinds if isinstance(k, type) and issubclass(k, bases) and k not in bases}
    assert set(methods.RULES) == rules


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Zero()", sx.rules.Zero()),
        ("ZPlus", sx.rules.ZPlus()),
        (" Gamma( 0.25 )", sx.rules.Gamma(0.25)),
        ("AlphaBeta(alpha=3, beta=2, bias='absorb')", sx.rules.AlphaBeta(3, 2, "absorb")),
        ("ZBox(-1, 1.5)", sx.rules.ZBox(-1, 1.5)),
        ("Epsilon(1e-3)", sx.rules.Epsilon(1e-3)),
        ("Half()", sx.rules.Half()),
        ("SignalTakesAll('first')", sx.rules.SignalTakesAll("first")),
    ],
)
def test_rule_texts(text, rule):
    assert parse_rule(text) == rule


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Gama(0.25)", "names no rule 'Gama'"),
        ("Rule()", "names no rule"),
        ("ProductRule()", "names no rule"),
        ("Bias('absorb')", "names no rule"),
        ("Gamma(", "is no rule"),
        ("", "is no rule"),
        ("rules.Gamma(0.25)", "is no rule"),
        ("Gamma(0.25)(1)", "is no rule"),
        ("[Gamma(0.25)]", "is no rule"),
        ("Gamma(__import__('os').getpid())", "no number or text"),
        ("Gamma(**{'gamma': 1})", "no number or text"),
        ("Gamma(-1)", "gamma=-1"),
        ("Gamma(1, 2, 3)", "does not work"),
        ("AlphaBeta(2, 2)", "alpha - beta must be 1"),
    ],
)
def test_rule_texts_that_are_none(text, words):
    with pytest.raises(RuleTextError) as caught:
        parse_rule(text)
    assert repr(text) in str(caught.value)
    assert words in str(caught.value)
    assert "ZBox, WSquare" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rule", "conv=Gama(1)"], "names no rule 'Gama'"),
        (["--input-rule", "ZBox(0"], "is no rule"),
        (["--rule", "encoder.7=ZPlus()"], "encoder.7"),
        (["--rule", "Half()"], "'conv' needs a Rule, got Half()"),
        (["--input-rule", "Half()"], "input=Half() is no Rule"),
        (["--method", "sensitivity", "--rule", "ZPlus()"], "has no rules"),
        (["--method", "epsilon_pluss"], "Did you mean 'epsilon_plus'"),
    ],
)
def test_wrong_rules_are_problems_not_tracebacks(folder, run, options, words):
    for command in (["explain", "net.pt2", "x.npy", "-o", "r.nc"], ["plan", "net.pt2", "x.npy"]):
        code, printed, err = run(*command, *options)
        assert (code, printed) == (1, "")
        assert err.startswith("error: ")
        assert words in err
    assert not (folder / "r.nc").exists()


def test_rules_of_products_have_the_kind_of_product_as_key():
    method = parse_method("epsilon", ["attention=Half()"], None)
    assert method.rules == sx.Composite({**dict(sx.COMPOSITES["epsilon"]), "attention": sx.rules.Half()})


def test_plan_in_every_form(folder, run, net, x):
    table = sx.plan(net, x, "epsilon_gamma")
    code, printed, _ = run("plan", "net.pt2", "x.npy", "--method", "epsilon_gamma", "--json")
    rows = json.loads(printed)
    assert code == 0
    for column in ("operation", "path", "rule", "why", "input_shape"):
        assert [row[column] for row in rows] == table[column].tolist()
    _, printed, _ = run("plan", "net.pt2", "x.npy", "--method", "epsilon_gamma", "--csv")
    assert [row["rule"] for row in csv.DictReader(io.StringIO(printed))] == table["rule"].tolist()
    _, printed, _ = run("plan", "net.pt2", "x.npy", "--method", "epsilon_gamma")
    assert printed == f"{table}\n"
    assert printed.split()[:3] == ["module", "operation", "output"]
    assert "Gamma(gamma=0.25)" in printed
    _, printed, _ = run("plan", "net.pt2", "x.npy", "--method", "epsilon_gamma", "--html")
    assert printed == f"{table.as_page()}\n"
    assert printed.startswith("<!doctype html>")


def test_tables_fit_their_width():
    rows = [["aten.conv1d", "encoder.first.0", "the kind of the operation", ""], ["x", "", "short", ""]]
    text = as_text(["operation", "module", "why", "empty"], rows, 50)
    assert max(map(len, text.splitlines())) <= 50
    assert "empty" not in text
    assert "encoder.first.0" in text  # lines break between words where that is enough
    narrow = as_text(["operation", "module", "why", "empty"], rows, 30).splitlines()
    assert max(map(len, narrow)) <= 30
    joined = "".join("".join(line.split()) for line in narrow)
    assert as_text(["a"], ["across all columns", ["b"]], 3).splitlines()[2] == "across all columns"
    assert all(len(joined) >= len("".join(row).replace(" ", "")) for row in rows)
    assert max(map(len, as_text(["a"], [["b" * 200]], None).splitlines())) == 200


def study(folder, body, name="demo"):
    place = folder / "case_studies" / name
    place.mkdir(parents=True)
    (place / "helper_of_this_test.py").write_text("WORD = 'helped'\n")
    (place / "study.py").write_text(f'"""A study of nothing.\n\nMore."""\n{body}')


GOOD = """
from helper_of_this_test import WORD

def main(short, output):
    path = output / "result.txt"
    path.write_text(f"{WORD} {short}")
    return path
"""


def test_case_studies(folder, run):
    study(folder, GOOD)
    assert run("case-study", "list") == (0, "demo  A study of nothing.\n", "")
    path = list(sys.path)
    code, printed, _ = run("case-study", "run", "demo", "--short", "--output", "out")
    assert (code, printed) == (0, f"{folder / 'out' / 'result.txt'}\n")
    assert (folder / "out" / "result.txt").read_text() == "helped True"
    assert run("case-study", "run", "demo", "--folder", "case_studies")[0] == 0
    assert (folder / "reports" / "demo" / "result.txt").read_text() == "helped False"
    assert sys.path == path


@pytest.mark.parametrize(
    ("body", "name", "words"),
    [
        (GOOD, "domo", "no case study 'domo'; there are demo"),
        ("x = 1", "demo", "has no main(short, output)"),
        ("def main(short, output):\n    raise RuntimeError('broken')", "demo", "RuntimeError: broken"),
    ],
)
def test_case_studies_that_fail(folder, run, body, name, words):
    study(folder, body)
    code, _, err = run("case-study", "run", name)
    assert code == 1
    assert err.startswith("error: ")
    assert words in err


def test_an_installed_package_has_no_case_studies(folder, run, monkeypatch):
    monkeypatch.setattr("sciexplain.commands.case_study.__file__", str(folder / "lib" / "a" / "b.py"))
    code, _, err = run("case-study", "list")
    assert code == 1
    assert "come with the source" in err
    assert run("case-study", "list", "--folder", "gone")[0] == 1


def test_debug_shows_the_traceback(folder, run):
    for arguments in (["--debug", "plan", "gone.pt2", "x.npy"], ["plan", "gone.pt2", "x.npy", "--debug"]):
        code, _, err = run(*arguments)
        assert code == 1
        assert "Traceback" in err
        assert "FileNotFoundError: no model file 'gone.pt2'" in err


def test_data_is_mounted(run):
    code, printed, _ = run("data", "show", "motor_imagery_simulation", "--json")
    assert code == 0
    assert json.loads(printed)["simulated"] is True
    assert run("data", "show", "nothing")[0] == 2


def test_a_closed_pipe_is_no_problem(folder):
    command = [sys.executable, "-m", "sciexplain", "data", "list", "--json"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_real_process_explains_and_refuses(folder, net, x):
    command = [sys.executable, "-m", "sciexplain", "explain", "net.pt2", "x.npy", "-o", "r.nc"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert abs(sx.load("r.nc").relevance.values - sx.explain(net, x).relevance.values).max() < 1e-6
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == "error: 'r.nc' exists already; --force replaces it\n"


INTERRUPTED = """
import os, signal, sys
import sciexplain.relevance.storage as storage

def interrupt(*_):
    os.kill(os.getpid(), signal.SIGINT)

storage._replace = interrupt
from sciexplain.cli import main
sys.exit(main(["explain", "net.pt2", "x.npy", "-o", "r.nc"]))
"""


def test_ctrl_c_leaves_nothing_half_written(folder):
    assert signal.getsignal(signal.SIGINT) is not None
    before = sorted(p.name for p in folder.iterdir())
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "interrupted; nothing is left half-written\n"
    assert sorted(p.name for p in folder.iterdir()) == before


def test_main_returns_the_code():
    assert main(["data", "list"]) == 0
