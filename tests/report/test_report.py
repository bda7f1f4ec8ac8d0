"""The page as a reader gets it: complete in itself, escaped, numbered, written whole."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import sciexplain.report.blocks
from sciexplain.report import Report, ReportError
from sciexplain.report.provenance import command, provenance


class Page(HTMLParser):
    """What a page loads, links to, and shows."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self, html):
        super().__init__()
        self.html, self.loads, self.links, self.anchors, self.tags, self.open = html, [], [], [], [], []
        self.images, self.table, self.words = [], [], []
        self.feed(html)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.loads += [attrs[name] for name in ("src", "srcset", "poster", "data") if name in attrs]
        self.loads += [attrs["href"]] if tag == "link" else []
        if tag == "a":
            self.links.append(attrs["href"])
        if tag == "img":
            self.images.append(attrs)
        if "id" in attrs:
            self.anchors.append(attrs["id"])
        if tag == "tr":
            self.table.append([])
        if tag in ("td", "th"):
            self.table[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.table[-1][-1] += data

    @property
    def text(self):
        return " ".join("".join(self.words).split())


def outside(page):
    """Every address that a browser would fetch to show the page."""
    fetched = [address for address in page.loads if not address.startswith("data:")]
    fetched += re.findall(r"url\(([^)]*)\)|@import\s+(\S+)", page.html)
    fetched += [link for link in page.links if re.match(r"[a-z]+:|//", link)]
    return fetched + [tag for tag in page.tags if tag in ("script", "iframe", "object", "embed", "base")]


@pytest.fixture
def line():
    fig, ax = plt.subplots()
    ax.plot([0, 1], [1, 0])
    yield fig
    plt.close(fig)


@pytest.fixture
def full(tmp_path, line):
    data = tmp_path / "data" / "left & right 1.nc"
    data.parent.mkdir()
    data.write_bytes(b"relevance" * 200)
    report = Report("Left or right", "simulated").text("Before it all.")
    report.section("Accuracy", "One.\n\n- a `b`\n- **c**").figure(line, "A line.")
    report.section("Accuracy").table(pd.DataFrame({"x": [1.5]}), "A table.")
    report.section("Files").files({data: "what it holds"}, "Behind it.")
    return report


def test_the_page_loads_nothing_and_is_well_formed(full, tmp_path):
    page = Page(full.write(tmp_path / "report.html").read_text("utf-8"))
    assert outside(page) == []
    assert len(page.loads) == 1
    # Not even by accident later: the browser itself is told to fetch nothing.
    assert "default-src 'none'" in page.html


@pytest.mark.parametrize(
    "bad",
    [
        '<img src="https://example.org/a.png">',
        '<link href="style.css">',
        "<style>p{background:url(a.png)}</style>",
        "<script></script>",
    ],
)
def test_the_check_for_outside_addresses_can_fail(bad):
    assert outside(Page(bad))


def test_links_are_relative_and_lead_somewhere(full, tmp_path):
    target = full.write(tmp_path / "pages" / "report.html")
    page = Page(target.read_text("utf-8"))
    inner = [link[1:] for link in page.links if link.startswith("#")]
    assert inner == ["accuracy", "accuracy-2", "files"]
    assert page.anchors == inner
    (file,) = (link for link in page.links if not link.startswith("#"))
    assert file == "../data/left%20%26%20right%201.nc"
    linked = (target.parent / unquote(file)).resolve()
    assert hashlib.sha256(linked.read_bytes()).hexdigest() in page.text
    assert "1.8 kB" in page.text
    assert "what it holds" in page.text


def test_text_is_escaped_and_marked_up():
    hostile = "<script>alert(1)</script>"
    report = Report(hostile, hostile).section(hostile, f"{hostile} `{hostile}` **bold**").text("- one\n- two")
    report.table(pd.DataFrame({hostile: [hostile]}, index=[hostile]), f"{hostile} `code`")
    page = Page(report.html())
    assert "script" not in page.tags
    # Window title, heading, subtitle, section, twice in the text; head, row, cell and caption of the table.
    assert page.text.count(hostile) == 10
    assert page.tags.count("li") == 2
    assert page.tags.count("strong") == 1
    assert page.tags.count("code") == 2


def test_a_figure_is_embedded_as_svg_and_closed(line):
    page = Page(Report("r").figure(line, "A `line`.").html())
    (image,) = page.images
    kind, content = image["src"].split(",", 1)
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(content).lstrip().startswith(b"<?xml")
    assert image["alt"] == "A line."
    assert not plt.fignum_exists(line.number)
    assert "Figure 1. A line." in page.text


def test_the_same_figure_gives_the_same_bytes():
    pages = []
    for _ in range(2):
        fig, ax = plt.subplots()
        ax.plot([0, 1], clip_on=True)
        pages.append(Page(Report("r").figure(fig, "c").html()).images[0]["src"])
    assert pages[0] == pages[1]


def test_a_large_drawing_becomes_a_png_of_the_same_width():
    def mesh():
        _, ax = plt.subplots(figsize=(5, 3))
        ax.pcolormesh(np.arange(90 * 90.0).reshape(90, 90))
        return ax  # an Axes stands for its figure

    (auto,) = Page(Report("r").figure(mesh(), "c", alt="a mesh").html()).images
    (vector,) = Page(Report("r").figure(mesh(), "c", format="svg").html()).images
    assert auto["src"].startswith("data:image/png;base64,iVBOR")
    assert auto["alt"] == "a mesh"
    svg = base64.b64decode(vector["src"].split(",")[1])
    assert len(svg) > sciexplain.report.blocks.SVG_LIMIT
    width_pt = float(re.search(rb'<svg[^>]* width="([\d.]+)pt"', svg)[1])
    assert int(auto["width"]) == pytest.approx(width_pt * 96 / 72, abs=2)


def test_a_png_file_is_embedded_byte_for_byte(line, tmp_path):
    line.savefig(tmp_path / "line.png", dpi=100)
    (image,) = Page(Report("r").figure(tmp_path / "line.png", "c").html()).images
    assert base64.b64decode(image["src"].split(",")[1]) == (tmp_path / "line.png").read_bytes()
    assert int(image["width"]) == round(line.get_figwidth() * 100)


def test_what_is_no_figure_is_refused(line, tmp_path):
    (tmp_path / "no.png").write_text("no picture")
    for path in (tmp_path / "no.png", tmp_path / "missing.png"):
        with pytest.raises(ReportError, match="is no PNG file"):
            Report("r").figure(path, "c")
    with pytest.raises(ReportError, match="Figure or Axes, not int"):
        Report("r").figure(3, "c")
    with pytest.raises(ReportError, match="'jpg'; possible are 'auto', 'svg' and 'png'"):
        Report("r").figure(line, "c", format="jpg")


def test_tables_of_each_kind():
    frame = pd.DataFrame(
        {"accuracy": [0.8123, 0.75], "n": [720, 45]}, index=pd.Index(["net", "LDA"], name="decoder")
    )
    counted = frame.reset_index()
    series = frame["accuracy"].rename_axis(None)
    pooled = xr.DataArray(
        [[1.0, -0.05], [0.0, 2.0]], {"region": ["left", "rest"], "band": ["mu", "rest"]}, ("region", "band")
    )

    def rows(data, format=None):
        return Page(Report("r").table(data, "c", format).html()).table

    assert rows(frame) == [["decoder", "accuracy", "n"], ["net", "0.812", "720"], ["LDA", "0.750", "45"]]
    assert rows(counted) == rows(frame)
    assert rows(frame, {"accuracy": ".1%"})[1] == ["net", "81.2%", "720"]
    assert rows(series) == [["", "accuracy"], ["net", "0.812"], ["LDA", "0.750"]]
    assert rows(pooled) == [
        ["region / band", "mu", "rest"],
        ["left", "1.00", "-0.05"],
        ["rest", "0.00", "2.00"],
    ]
    assert rows(pooled.sel(band="mu", drop=True)) == [["region", "value"], ["left", "1"], ["rest", "0"]]
    assert rows(pooled.to_dataset("band"))[1] == ["left", "1", "-0.05"]
    assert rows(frame.groupby(["decoder", "n"]).mean())[1] == ["LDA", "45", "0.750"]
    assert rows(frame.T.stack().to_frame("v"))[0] == ["", "decoder", "v"]
    assert rows(pd.concat({"test": frame}, axis=1))[0] == ["decoder", "test · accuracy", "test · n"]


def test_what_is_no_table_is_refused():
    report = Report("r")
    with pytest.raises(ReportError, match="not list"):
        report.table([[1]], "c")
    with pytest.raises(ReportError, match=r"1 or 2 dimensions; the DataArray has 3: \('a', 'b', 'c'\)"):
        report.table(xr.DataArray(np.zeros((1, 1, 1)), dims=("a", "b", "c")), "c")
    with pytest.raises(
        ReportError, match=r"format names \['acuracy'\], the table has the columns \['accuracy'\]"
    ):
        report.table(pd.DataFrame({"accuracy": [1.0]}), "c", {"acuracy": ".2f"})
    with pytest.raises(ReportError, match="no column"):
        report.table(pd.DataFrame(index=[1, 2]), "c")


def test_files_must_exist(tmp_path):
    with pytest.raises(ReportError, match=r"missing\.nc does not exist"):
        Report("r").files([tmp_path / "missing.nc"])
    with pytest.raises(ReportError, match="is a folder"):
        Report("r").files(tmp_path)


def test_a_failed_write_leaves_the_old_page_and_no_crumbs(full, tmp_path, monkeypatch):
    target = full.write(tmp_path / "pages" / "report.html")
    before = target.read_bytes()

    def fail(self, other):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        full.section("More").write(target)
    assert target.read_bytes() == before
    assert list(target.parent.iterdir()) == [target]


def test_the_foot_tells_where_the_page_came_from(monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: Path("/people/ada"))
    monkeypatch.setattr(
        "sys.orig_argv", ["/people/ada/.venv/bin/python", "-m", "sciexplain.demo", "/people/ada/my run"]
    )
    assert command() == "python -m sciexplain.demo '~/my run'"
    found = provenance(packages=("numpy", "no-such-package"))
    assert np.__version__ in found["Versions"]
    assert "no-such-package" not in found["Versions"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", found["Created"])
    text = Page(Report("r").html()).text
    assert all(name in text for name in found)


def test_repr_counts(full):
    assert repr(full) == "Report('Left or right': 3 sections, 1 figure, 1 table, 1 file)"


def test_an_untitled_section_is_refused():
    with pytest.raises(ReportError, match="needs a title"):
        Report("r").section("  ")
