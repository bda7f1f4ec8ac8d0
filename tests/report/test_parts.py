"""Parts of a study: computed once, kept to the last bit, never half."""

import json

import numpy as np
import pandas as pd
import pytest

from sciexplain.report import Part, ReportError, Study
from sciexplain.report.parts import markdown


class NoData(Exception):
    pass


@pytest.fixture
def code(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "sums.py").write_text("x = 1\n")
    (folder / "mine.py").write_text("# %%\n")
    return folder


def drawn():
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(2, 1))
    ax.plot([0, 1])
    return figure


def study(code, runs, broken=()):
    def part(name):
        def run(short):
            runs.append((name, short))
            if name in broken:
                raise broken[name]
            index = pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["who", "n"])
            one = pd.DataFrame({"x": [1 / 3, np.nan], "y": ["u", "v"], "k": [3, 4]}, index=index)
            other = pd.DataFrame({"z": [0.1, 2e-17]}, index=["first", "second"])
            notes = {"share": np.float32(0.5), "count": np.int64(3), "why": "text"}
            return Part({"one": one, "other": other}, {"a picture": drawn()}, notes)

        return run

    parts = {name: (name.title(), part(name)) for name in ("first", "second")}
    return Study("Title", "subtitle", parts, code, left_out=NoData)


def test_what_is_read_is_what_was_found_and_is_computed_once(code, tmp_path):
    runs = []
    out = tmp_path / "out"
    new = study(code, runs).part("first", True, out)
    again = study(code, runs).part("first", True, out)
    assert runs == [("first", True)]
    assert (new.reused, again.reused) == (False, True)
    for kept in (new, again):
        assert kept.tables["one"].loc[("a", 1), "x"] == 1 / 3
        assert np.isnan(kept.tables["one"].loc[("b", 2), "x"])
        assert kept.tables["one"].index.names == ["who", "n"]
        assert kept.tables["one"]["y"].tolist() == ["u", "v"]
        assert kept.tables["other"]["z"].to_dict() == {"first": 0.1, "second": 2e-17}
        assert kept.tables["other"].index.name is None
        assert kept.notes == {"share": 0.5, "count": 3, "why": "text"}
        assert kept.pictures["a picture"].read_bytes()[1:4] == b"PNG"


@pytest.mark.parametrize(
    ("what", "again"),
    [("nothing", False), ("the notebook", False), ("the form", True), ("the code", True), ("a network", True),
     ("a package more", True), ("a table is gone", True), ("a picture is gone", True),
     ("half a manifest", True)],
)  # fmt: skip
def test_what_makes_a_part_run_again(code, tmp_path, monkeypatch, what, again):
    runs, out, short = [], tmp_path / "out", True
    kept = study(code, runs).part("first", True, out)
    if what == "the notebook":
        (code / "mine.py").write_text("# %% [markdown]\n")
    elif what == "the form":
        short = False
    elif what == "the code":
        (code / "sums.py").write_text("x = 2\n")
    elif what == "a network":
        (code / "net.safetensors").write_bytes(b"1")
    elif what == "a package more":
        monkeypatch.setattr("importlib.metadata.distributions", list)
    elif what == "a table is gone":
        kept.files[0].unlink()
    elif what == "a picture is gone":
        kept.pictures["a picture"].unlink()
    elif what == "half a manifest":
        manifest = out / "first.json"
        manifest.write_text(manifest.read_text()[:40])
    assert study(code, runs).part("first", short, out).reused is not again
    assert len(runs) == 1 + again


def test_a_run_that_was_stopped_goes_on(code, tmp_path):
    runs, out = [], tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        study(code, runs, {"second": KeyboardInterrupt()}).page(True, out)
    assert not (out / "report.html").exists()
    page = study(code, runs).page(True, out)
    assert runs == [("first", True), ("second", True), ("second", True)]
    assert page.read_text("utf-8").count("data:image/png") == 2


def test_half_a_part_is_never_taken_for_a_whole_one(code, tmp_path, monkeypatch):
    runs, out = [], tmp_path / "out"
    study(code, runs).part("first", True, out)
    (code / "sums.py").write_text("x = 3\n")
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *a, **k: (_ for _ in ()).throw(OSError()))
    with pytest.raises(OSError):
        study(code, runs).part("first", True, out)
    monkeypatch.undo()
    assert not (out / "first.json").exists()
    study(code, runs).part("first", True, out)
    assert len(runs) == 3


def test_what_cannot_be_had_is_said_and_tried_again(code, tmp_path, capsys):
    runs, out = [], tmp_path / "out"
    page = study(code, runs, {"first": NoData("no mirror here")}).page(True, out)
    assert "Left out: no mirror here" in page.read_text("utf-8")
    assert study(code, runs, {"first": NoData("still none")}).shown("first", True, out) is None
    assert "Left out: still none" in capsys.readouterr().out
    assert not study(code, runs).part("first", True, out).reused


def test_unknown_parts_are_named_before_work_starts(code, tmp_path):
    runs = []
    with pytest.raises(ReportError, match="no part 'third'; there are first, second"):
        study(code, runs).page(True, tmp_path / "out", ["first", "third"])
    with pytest.raises(ReportError, match="no part 'third'"):
        study(code, runs).part("third", True, tmp_path / "out")
    assert runs == []


def test_titles_that_would_share_a_file_are_refused(code, tmp_path):
    def clash(short):
        return Part({"a b": pd.DataFrame({"x": [1]}), "a-b": pd.DataFrame({"x": [2]})})

    both = Study("T", "s", {"clash": ("Clash", clash)}, code, left_out=NoData)
    with pytest.raises(ReportError, match="differ"):
        both.part("clash", True, tmp_path)


def test_notes_that_json_cannot_hold_are_refused(code, tmp_path):
    odd = Study("T", "s", {"odd": ("Odd", lambda short: Part(notes={"x": object()}))}, code, left_out=NoData)
    with pytest.raises(TypeError, match="not object"):
        odd.part("odd", True, tmp_path)
    assert list(tmp_path.glob("*.json")) == list(tmp_path.glob(".*partial")) == []


def test_tables_as_markdown():
    table = pd.DataFrame({"|x|": [1 / 3, 2.0], "n": [1, 2]}, index=pd.Index(["a", "b"], name="who"))
    assert markdown(table, 3).splitlines() == [
        r"| who | \|x\| | n |", "| --- | --- | --- |", "| a | 0.333 | 1 |", "| b | 2 | 2 |",
    ]  # fmt: skip


def test_the_manifest_says_what_belongs_to_a_part(code, tmp_path):
    study(code, []).part("first", True, tmp_path)
    said = json.loads((tmp_path / "first.json").read_text())
    assert said["tables"] == {"one": ["first-one.csv", 2], "other": ["first-other.csv", 1]}
    assert said["pictures"] == {"a picture": "first-a-picture.png"}
