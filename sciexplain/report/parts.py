"""Studies in parts: what each finds is kept on disk, shown on a page, and found again when a run resumes."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sciexplain.report.builder import Report
from sciexplain.report.errors import ReportError
from sciexplain.report.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 100
_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass
class Part:
    """What one part of a study found.

    Attributes
    ----------
    tables : dict of str to DataFrame
        By title; the index is named.
    figures : dict of str to Figure
        By title.
    notes : dict of str to object
        Single numbers (accuracies, minutes) or sentences; what JSON can hold.
    """

    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Kept:
    """What one part found, as it is on disk.

    Attributes
    ----------
    tables : dict of str to DataFrame
        As read from their CSV files: numbers to the last bit.
    pictures : dict of str to Path
        PNG files.
    notes : dict of str to object
    files : tuple of Path
        CSV and PNG files.
    reused : bool
        From an earlier run.
    """

    tables: dict[str, pd.DataFrame]
    pictures: dict[str, Path]
    notes: dict[str, Any]
    files: tuple[Path, ...]
    reused: bool

    def show(self) -> None:
        """Notes, tables and pictures below the cell of a notebook."""
        from IPython.display import Image, display

        for name, value in self.notes.items():
            print(f"{name}: {written(value)}")
        for title, table in self.tables.items():
            print("\n" + title)
            display(table)
        for picture in self.pictures.values():
            display(Image(filename=str(picture)))


class Study:
    """Parts by name, each computed once.

    A part that is done is not computed again while the form (short or long), the code of the study and of
    this package, and the installed packages are the same. A run that was stopped goes on with the part that
    it was in.

    Parameters
    ----------
    title, subtitle : str
        Of the page.
    parts : mapping of str to (str, callable)
        Name -> title, and a function of `short` that returns a `Part`.
    code : Path
        Folder of the study; its networks and its Python files but the notebook (named like the folder) decide
        whether a part is computed again.
    left_out : exception type
        Raised by a part whose data cannot be obtained: the page says why instead.
    digits : int
        Of the numbers in tables that are printed.
    """

    def __init__(
        self,
        title: str,
        subtitle: str,
        parts: Mapping[str, tuple[str, Callable[[bool], Part]]],
        code: Path,
        left_out: type[Exception],
        digits: int = 4,
    ) -> None:
        self.title, self.subtitle = title, subtitle
        self.parts, self.code, self.left_out, self.digits = dict(parts), code, left_out, digits

    def part(self, name: str, short: bool, output: Path) -> Kept:
        """One part, from the folder if it is there.

        Parameters
        ----------
        name : str
        short : bool
        output : Path
            Folder of the results; made if it is missing.

        Raises
        ------
        ReportError
            No such part, or tables that CSV cannot hold.
        """
        if name not in self.parts:
            raise ReportError(f"no part {name!r}; there are {', '.join(self.parts)}")
        key = self._key(short)
        found = _read(output / f"{name}.json", key)
        if found is not None:
            return found
        output.mkdir(parents=True, exist_ok=True)
        _write(output / f"{name}.json", key, self.parts[name][1](short))
        kept = _read(output / f"{name}.json", key)
        if kept is None:
            raise ReportError(
                f"the tables of {name!r} cannot be read from the CSV files they were written to"
            )
        return Kept(kept.tables, kept.pictures, kept.notes, kept.files, reused=False)

    def shown(self, name: str, short: bool, output: Path) -> Kept | None:
        """`part`, below the cell of a notebook; None, and the reason, where its data cannot be obtained."""
        try:
            kept = self.part(name, short, output)
        except self.left_out as reason:
            print(f"Left out: {reason}")
            return None
        kept.show()
        return kept

    def page(
        self, short: bool, output: Path, names: Iterable[str] | None = None, files: Iterable[Path] = ()
    ) -> Path:
        """Parts on one page, `report.html`; their tables are printed, as Markdown.

        Parameters
        ----------
        short : bool
        output : Path
        names : iterable of str, optional
            All by default.
        files : iterable of Path
            Listed on the page besides those of the parts.

        Returns
        -------
        Path
        """
        chosen = tuple(self.parts if names is None else names)
        report = Report(self.title, self.subtitle)
        listed: list[Path] = []
        for name in chosen:
            if name not in self.parts:
                raise ReportError(f"no part {name!r}; there are {', '.join(self.parts)}")
        for name in chosen:
            report.section(self.parts[name][0])
            try:
                kept = self.part(name, short, output)
            except self.left_out as reason:
                report.text(f"Left out: {reason}")
                continue
            self._add(report, name, kept)
            listed += kept.files
        report.section("Files").files([*listed, *files])
        return report.write(output / "report.html")

    def _add(self, report: Report, name: str, kept: Kept) -> None:
        if kept.notes:
            report.text("\n".join(f"- {what}: {written(value)}" for what, value in kept.notes.items()))
        for title, table in kept.tables.items():
            report.table(table.reset_index().round(4), title)
            print(f"\n### {name}: {title}\n\n{markdown(table, self.digits)}")
        for title, picture in kept.pictures.items():
            report.figure(picture, title)
        for what, value in kept.notes.items():
            print(f"{name}: {what}: {written(value)}")
        if kept.reused:
            print(f"{name}: from an earlier run")

    def _key(self, short: bool) -> str:
        """Changes with whatever may change a result."""
        # a package more may bring what was left out without it
        installed = sorted(f"{d.name}=={d.version}" for d in importlib.metadata.distributions())
        digest = hashlib.sha256(f"{short} {installed}".encode())
        own = [path for path in sorted(self.code.glob("*.py")) if path.stem != self.code.name]
        own += sorted(self.code.rglob("*.safetensors"))
        for path in [*own, *sorted(_PACKAGE.rglob("*.py"))]:
            digest.update(path.name.encode() + path.read_bytes())
        return digest.hexdigest()


def markdown(table: pd.DataFrame, digits: int = 4) -> str:
    """A table as Markdown, the index in the first columns.

    Parameters
    ----------
    table : DataFrame
    digits : int
        Significant ones of numbers that are not whole.
    """
    frame = table.reset_index()
    rows = [[written(value, digits) for value in row] for row in frame.itertuples(index=False)]
    lines = [list(map(str, frame.columns)), ["---"] * len(frame.columns), *rows]
    escaped = [[cell.replace("|", r"\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


def written(value: Any, digits: int = 4) -> str:
    """A number with so many significant digits; anything else as it is."""
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def _write(target: Path, key: str, part: Part) -> None:
    """Tables and pictures, then what says that they are all there."""
    import matplotlib.pyplot as plt

    target.unlink(missing_ok=True)
    for titles in (part.tables, part.figures):
        if len({_plain(title) for title in titles}) < len(titles):
            raise ReportError(f"titles have to differ as names of files do: {', '.join(titles)}")
    said: dict[str, Any] = {"key": key, "notes": part.notes, "tables": {}, "pictures": {}}
    for title, table in part.tables.items():
        path = target.with_name(f"{target.stem}-{_plain(title)}.csv")
        table.to_csv(path)
        said["tables"][title] = [path.name, table.index.nlevels]
    for title, figure in part.figures.items():
        path = target.with_name(f"{target.stem}-{_plain(title)}.png")
        figure.savefig(path, dpi=DPI)
        plt.close(figure)
        said["pictures"][title] = path.name
    write_whole(target, json.dumps(said, default=_number))


def _read(target: Path, key: str) -> Kept | None:
    """What was written with the same key; None where anything is missing."""
    try:
        said = json.loads(target.read_text(encoding="utf-8"))
        if said["key"] != key:
            return None
        tables = {
            # Python's own parser: of every version of pandas, it alone returns floats to the last bit
            title: pd.read_csv(target.with_name(name), index_col=list(range(levels)), engine="python")
            for title, (name, levels) in said["tables"].items()
        }
    except (OSError, ValueError, KeyError):
        return None
    pictures = {title: target.with_name(name) for title, name in said["pictures"].items()}
    if not all(path.is_file() for path in pictures.values()):
        return None
    files = [target.with_name(name) for name, _ in said["tables"].values()]
    return Kept(tables, pictures, said["notes"], (*files, *pictures.values()), reused=True)


def _number(value: Any) -> Any:
    """Numbers of numpy, as Python's own."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"notes hold numbers, text, lists and dicts, not {type(value).__name__}")


def _plain(title: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in title)
