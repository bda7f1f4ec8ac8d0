"""The tables of what is covered are those of the code; entries and rules name papers that can be found."""

import re
from pathlib import Path

import pytest

from sciexplain.lrp import coverage, rules
from sciexplain.lrp.operations import TABLE, name_of

ROOT = Path(__file__).resolve().parents[1]
COMMAND = "python -m sciexplain.lrp.coverage --write README.md docs/coverage.md"


def cells(markdown):
    """The rows of all tables, heads and rulers left out."""
    rows = [line[2:-2].split(" | ") for line in markdown.splitlines() if line.startswith("| ")]
    return [row for row in rows if row[0] not in ("kind", "rule", "name", "---")]


@pytest.mark.parametrize("file", ["README.md", "docs/coverage.md"])
def test_the_tables_are_those_of_the_code(file):
    text = (ROOT / file).read_text("utf-8")
    assert text == coverage.updated(text), f"{file} is out of date; run {COMMAND}"


def test_every_operation_is_listed_once_with_its_kind():
    listed = {}
    for kind, names, *_ in (row for row in cells(coverage.markdown()) if len(row) == 4):
        for name in re.findall(r"`([^`]+)`", names):
            assert name not in listed
            listed[name] = kind
    assert len(listed) == len(TABLE)
    for target, entry in TABLE.items():
        short = name_of(target).removeprefix("aten.")
        own = [name for name in listed if name == short or name.startswith(f"{short}.")]
        assert entry.kind in {listed[name] for name in own}
    assert listed["conv2d"] == "weighted"
    assert listed["max.dim"] == "homogeneous"
    assert listed["max.other"] == "affine"


def test_every_entry_that_shares_relevance_names_a_paper():
    silent = {name_of(target) for target, entry in TABLE.items() if not entry.paper}
    assert silent == {name_of(target) for target, entry in TABLE.items() if entry.kind == "identity"}


def test_every_rule_is_listed_with_a_paper():
    short = coverage.markdown("short")
    for name in ("Zero", "Epsilon", "Gamma", "AlphaBeta", "ZPlus", "ZBox", "WSquare", "Flat"):
        assert name in rules.__all__
        (line,) = [line for line in short.splitlines() if line.startswith(f"| `{name}` |")]
        assert re.search(r"\[[A-Z][^\]]* \d{4}\]\(https://", line)
    assert "`Part`" not in short
    assert "`Rule`" not in short


def test_the_short_table_has_one_row_per_kind():
    kinds = [row[0] for row in cells(coverage.markdown("short")) if len(row) == 4]
    assert sorted(kinds) == sorted({entry.kind for entry in TABLE.values()})
    assert len(coverage.markdown("short").splitlines()) <= 40


def test_links():
    url = coverage.REFERENCES
    assert coverage.linked("as in Arras et al. 2017 and 2019; Hui and Binder 2019, section 3") == (
        f"as in [Arras et al. 2017]({url['Arras et al. 2017']}) and [2019]({url['Arras et al. 2019']});"
        f" [Hui and Binder 2019]({url['Hui and Binder 2019']}), section 3"
    )
    with pytest.raises(ValueError, match=r"Nobody et al\. 1901 is cited but not in REFERENCES"):
        coverage.linked("Nobody et al. 1901")


def test_the_links_of_cited_papers_agree_with_the_citation_file():
    cited = (ROOT / "CITATION.cff").read_text("utf-8")
    ours = {url.removeprefix("https://doi.org/") for url in coverage.REFERENCES.values()}
    for doi in re.findall(r"doi: (\S+)\n    notes: .*(?:rule|composites)", cited):
        assert doi in ours


def test_files_are_renewed_between_the_marks_only(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- coverage: short -->\nold\n<!-- /coverage -->\nafter\n")
    assert coverage.main(["--write", str(page)]) == 0
    short = coverage.markdown("short")
    assert page.read_text() == f"before\n<!-- coverage: short -->\n{short}<!-- /coverage -->\nafter\n"
    assert coverage.main(["--short"]) == 0
    assert capsys.readouterr().out == short
    assert coverage.main([]) == 0
    assert capsys.readouterr().out == coverage.markdown()
    page.write_text("no marks")
    with pytest.raises(ValueError, match="Nothing to renew"):
        coverage.main(["--write", str(page)])
