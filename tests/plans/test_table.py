"""The plan stays a DataFrame, prints as text that fits, and shows itself as a safe and legible page."""

import pickle
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from sciexplain.plans import PlanTable
from sciexplain.plans.frame import COLUMNS
from sciexplain.plans.page import _COLOURS, _OTHER
from tests.plans.rows import ATTRS, ROWS, row


def table(rows=ROWS):
    made = PlanTable([{name: r[name] for name in COLUMNS} for r in rows], columns=list(COLUMNS))
    made.attrs.update(ATTRS)
    return made


TEXT = """\
module    operation           output   what is done               constant                       may absorb
--------  ------------------  -------  -------------------------  -----------------------------  -------------
blocks.0
  conv    conv1d              (B,3)    ZPlus(), kind conv                                        bias; epsilon
  before    + batch_norm               merged, comes before
  after     + batch_norm               merged
  .       mul                 (B,3)    SignalTakesAll()           gate: sigmoid (blocks.0.gate)
(model)
  .       transpose, reshape  (B,9)    values move
  head    linear              (B,3)    Zero(), no entry matches                                  bias

7 operations, 2 merged into others, each has a rule; B is the batch."""


def squeezed(text):
    """Lines with runs of blanks as one: the widths of the columns are not what is compared."""
    return [re.sub(r"(?<=\S) {2,}", "  ", re.sub("-{2,}", "--", line)) for line in text.splitlines()]


def test_the_text():
    assert squeezed(str(table()))[: len(TEXT.splitlines())] == squeezed(TEXT)
    assert repr(table()) == str(table())


@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_text_fits_and_loses_nothing(width):
    text, whole = (table().as_text(w).split("\n\n")[0] for w in (width, None))
    assert max(map(len, text.splitlines())) <= width < max(map(len, whole.splitlines()))
    if width >= 80:  # narrower, words are broken
        assert set(re.findall(r"\w+", whole)) == set(re.findall(r"\w+", text))
    assert sorted(re.sub(r"[\s-]", "", whole)) == sorted(re.sub(r"[\s-]", "", text))


def test_one_layer_needs_no_heading():
    text = table([row(0, "aten.linear", "head", "linear", "Zero()")]).as_text()
    assert text.splitlines()[2].startswith("head")
    assert "(model)" not in text


def test_rows_are_chosen_as_of_a_data_frame():
    plan = table()
    heads = plan[plan.kind == "linear"]
    assert type(heads) is PlanTable
    assert heads.attrs == plan.attrs
    assert "head" in str(heads)
    assert "conv1d" not in str(heads)
    assert "may absorb" in str(heads)


def test_columns_are_chosen_as_of_a_data_frame():
    plan = table()
    for chosen in (plan[["path", "rule"]], plan.groupby("kind").size().to_frame("n")):
        assert repr(chosen) == repr(pd.DataFrame(chosen))
        assert chosen._repr_html_() == pd.DataFrame(chosen)._repr_html_()
    with pytest.raises(ValueError, match=r"lacks the columns operation, kind"):
        plan[["path", "rule"]].as_text()


def test_other_formats_are_those_of_pandas():
    plan, plain = table(), pd.DataFrame(table())
    assert plan.to_csv() == plain.to_csv()
    assert plan.to_dict("records") == plain.to_dict("records")
    pd.testing.assert_frame_equal(pd.DataFrame(pickle.loads(pickle.dumps(plan))), plain)
    assert str(pickle.loads(pickle.dumps(plan))) == str(plan)


def test_a_plan_without_operations():
    plan = table([])
    assert str(plan).startswith("0 operations")
    assert "0 operations" in plan._repr_html_()


class Page(HTMLParser):
    """Checks nesting; collects tags, attributes and text."""

    VOID = ("meta", "col")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.values, self.words, self.cells = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.values += [value or "" for _, value in attrs]
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)
        if self.open and set(self.open) & {"td", "th"}:
            self.cells[-1][-1] += data


@pytest.mark.parametrize("page", [PlanTable._repr_html_, PlanTable.as_page])
def test_the_page_says_what_the_text_says(page):
    found = Page(page(table()))
    rows = [[" ".join(cell.split()) for cell in line] for line in found.cells if line[0] != "module"]
    assert rows == [
        ["conv", "conv1d", "conv", "(B, 3)", "ZPlus() kind conv", "", "bias; epsilon"],
        ["before", "+ batch_norm", "norm", "", "merged, comes before", "", ""],
        ["after", "+ batch_norm", "norm", "", "merged", "", ""],
        [".", "mul", "gate", "(B, 3)", "SignalTakesAll()", "gate: sigmoid (blocks.0.gate)", ""],
        [".", "transpose, reshape", "move", "(B, 9)", "values move", "", ""],
        ["head", "linear", "linear", "(B, 3)", "Zero() no entry matches", "", "bias"],
    ]
    words = " ".join(found.words)
    for sentence in table().summary():
        assert sentence in words
    assert "blocks.0" in words


@pytest.mark.parametrize("page", [PlanTable._repr_html_, PlanTable.as_page])
def test_the_page_is_complete_in_itself_and_escaped(page):
    evil = "</td><script>alert('x')</script>\"&"
    rows = [{**r, "path": evil, "rule": evil, "constant": evil, "line": evil, "kind": evil} for r in ROWS]
    text = page(table(rows))
    found = Page(text)
    assert "script" not in found.tags
    assert evil in "".join(found.words)
    assert evil in found.values  # the title of a cell
    assert not set(found.tags) & {"link", "img", "iframe", "object"}
    assert not re.search(r"https?:|url\(|@import|src=", page(table()))


def test_large_plans_are_folded():
    few, many = (table([row(i, "relu", f"layer{i % 2}.0") for i in range(n)]) for n in (80, 81))
    assert Page(few._repr_html_()).tags.count("details") == 2 * 40
    assert "<details open>" in few._repr_html_()
    assert "<details open>" not in many._repr_html_()
    assert "<details>" in many._repr_html_()


def luminance(colour):
    """WCAG 2, relative luminance of #rrggbb."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colour", [*_COLOURS.values(), _OTHER])
def test_white_letters_are_legible_on_every_kind(colour):
    assert 1.05 / (luminance(colour) + 0.05) >= 4.5


def test_the_page_sets_no_colour_of_text_or_paper_but_the_labels_own():
    style = re.search(r"<style>(.*?)</style>", table()._repr_html_(), re.DOTALL)[1]
    coloured = [line for line in style.splitlines() if re.search(r"(?<![-\w])color:", line)]
    assert len(coloured) == 1  # white on the label's own background, so that both themes do
    assert coloured[0].startswith(".sx-plan .sx-kind")
    assert re.findall(r"background[^;]*", style) == ["background: none"]
