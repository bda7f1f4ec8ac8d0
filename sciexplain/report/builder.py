"""The report builder: fill it from top to bottom, then write one HTML file."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sciexplain.report import blocks, digits
from sciexplain.report.errors import ReportError
from sciexplain.report.files import write_whole
from sciexplain.report.markup import Paragraph, Span, paragraphs, spans
from sciexplain.report.provenance import provenance


@dataclass
class _Block:
    """One thing in a section: `kind` chooses the template's branch, `number` counts figures and tables."""

    kind: str
    content: Any
    caption: tuple[Span, ...] = ()
    number: int = 0
    alt: str = ""


@dataclass
class _Section:
    title: str
    anchor: str
    blocks: list[_Block] = field(default_factory=list)


class Report:
    """A page with text, figures, tables and files, complete in itself.

    Everything is embedded: the page loads nothing, from the disk or the network. Only the files it lists are
    links, relative to where it is written. What is added before the first section stands above the contents.

    Parameters
    ----------
    title : str
        The heading and the window's title.
    subtitle : str, default: ""
        A line under it.

    Examples
    --------
    >>> import pandas as pd, tempfile
    >>> report = Report("Left or right", "simulated, 9 subjects")
    >>> table = pd.DataFrame({"accuracy": [0.81, 0.78]}, index=["EEGNet", "CSP + LDA"])
    >>> report.section("Accuracy", "Chance is 0.5.").table(table, "Mean over subjects.")
    Report('Left or right': 1 section, 0 figures, 1 table, 0 files)
    >>> report.write(tempfile.mkdtemp() + "/report.html").name
    'report.html'
    """

    def __init__(self, title: str, subtitle: str = "") -> None:
        self.title = title
        self.subtitle = subtitle
        self._lead: list[_Block] = []
        self._sections: list[_Section] = []

    def section(self, title: str, text: str = "") -> Report:
        """Begin a section; what follows belongs to it.

        Parameters
        ----------
        title : str
            Its heading, listed in the table of contents.
        text : str, default: ""
            As for `text`.

        Returns
        -------
        Report
            This report, so that calls can be chained.
        """
        if not title.strip():
            raise ReportError("a section needs a title")
        taken = {section.anchor for section in self._sections}
        self._sections.append(_Section(title, _anchor(title, taken)))
        return self.text(text) if text else self

    def text(self, text: str) -> Report:
        """Add paragraphs.

        Parameters
        ----------
        text : str
            Blank lines part paragraphs; a paragraph whose lines all begin with ``- `` is a list;
            `` `words` `` are set as code and ``**words**`` bold. Anything else, HTML too, is shown as it is.

        Returns
        -------
        Report
        """
        parts: list[Paragraph] = paragraphs(text)
        return self._add(_Block("text", parts))

    def figure(self, fig: Any, caption: str, *, alt: str | None = None, format: str = "auto") -> Report:
        """Embed a matplotlib figure and close it.

        Parameters
        ----------
        fig : matplotlib.figure.Figure, matplotlib.axes.Axes, or path of a PNG file
            Drawn now; it is closed afterwards, so show or save it elsewhere before.
        caption : str
            What is shown and how to read it; numbered; code and bold as in `text`.
        alt : str, optional
            What the picture says, for those who cannot see it; the caption if left out.
        format : {"auto", "svg", "png"}
            "auto" is SVG unless that would be large (a mesh), then PNG.

        Returns
        -------
        Report

        Raises
        ------
        ReportError
            No matplotlib figure and no PNG file, or an unknown format.
        """
        embedded = blocks.image(fig, format)
        blocks.close(fig)
        words = spans(caption)
        spoken = alt or "".join(span.text for span in words)
        return self._add(_Block("figure", embedded, words, self._count("figure") + 1, spoken))

    def table(
        self,
        data: Any,
        caption: str,
        format: Mapping[Any, digits.Formatter] | digits.Formatter | None = None,
    ) -> Report:
        """Add a table.

        Parameters
        ----------
        data : pandas.DataFrame or Series, xarray.DataArray (1 or 2 dims) or Dataset (1 dim)
            The index gives the row headings, unless it only counts rows.
        caption : str
            What is shown, with units; numbered.
        format : str, callable or dict of column to either, optional
            A format specification such as ``.1%``, or a function of the value. Default: as many decimals as
            give the column's largest value three digits.

        Returns
        -------
        Report

        Raises
        ------
        ReportError
            Something that is no table, or a format for a column that is not there.
        """
        return self._add(_Block("table", blocks.grid(data, format), spans(caption), self._count("table") + 1))

    def files(self, paths: Iterable[str | Path] | Mapping[str | Path, str], caption: str = "") -> Report:
        """List files behind the report, with size and SHA-256, as links relative to the page.

        Parameters
        ----------
        paths : iterable of path, or dict of path to str
            Files that exist; a dict's values say what each holds.
        caption : str, default: ""
            A sentence above the list.

        Returns
        -------
        Report

        Raises
        ------
        ReportError
            A path that is not a file.
        """
        if isinstance(paths, str | Path):
            paths = [paths]
        described = paths if isinstance(paths, Mapping) else dict.fromkeys(paths, "")
        entries = [blocks.file_entry(Path(path), what) for path, what in described.items()]
        return self._add(_Block("files", entries, spans(caption)))

    def html(self, folder: str | Path = ".") -> str:
        """The page as a string.

        Parameters
        ----------
        folder : path, default: "."
            Where the page will lie; links to files are relative to it.

        Returns
        -------
        str
        """
        from jinja2 import Environment, PackageLoader, StrictUndefined

        environment = Environment(
            loader=PackageLoader("sciexplain.report", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        base = Path(folder).resolve()
        environment.filters["link"] = lambda path: quote(Path(os.path.relpath(path, base)).as_posix())
        return environment.get_template("report.html").render(
            title=self.title,
            subtitle=self.subtitle,
            lead=self._lead,
            sections=self._sections,
            provenance=provenance(),
        )

    def write(self, path: str | Path) -> Path:
        """Write the page; a reader never meets half of one.

        Parameters
        ----------
        path : path
            The HTML file; its folder is made if missing, an older page is replaced at once.

        Returns
        -------
        pathlib.Path
            Absolute.
        """
        target = Path(path).resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        return write_whole(target, self.html(target.parent))

    def __repr__(self) -> str:
        counts = [
            (len(self._sections), "section"),
            (self._count("figure"), "figure"),
            (self._count("table"), "table"),
            (sum(len(block.content) for block in self._blocks() if block.kind == "files"), "file"),
        ]
        listed = ", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts)
        return f"Report({self.title!r}: {listed})"

    def _blocks(self) -> list[_Block]:
        return [*self._lead, *(block for section in self._sections for block in section.blocks)]

    def _count(self, kind: str) -> int:
        return sum(block.kind == kind for block in self._blocks())

    def _add(self, block: _Block) -> Report:
        (self._sections[-1].blocks if self._sections else self._lead).append(block)
        return self


def _anchor(title: str, taken: set[str]) -> str:
    """A plain, unique name for a link within the page."""
    ascii_title = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    stem = re.sub(r"[^a-z0-9]+", "-", ascii_title.lower()).strip("-") or "section"
    names = (stem, *(f"{stem}-{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)
