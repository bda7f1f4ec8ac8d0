"""From a figure, a table or a file to the plain strings that the template sets."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciexplain.report import digits
from sciexplain.report.errors import ReportError

if TYPE_CHECKING:
    import pandas as pd

PNG_DPI = 160
CSS_DPI = 96
SVG_LIMIT = 300_000  # bytes; a vector drawing of a mesh can take many megabytes, a PNG of it never does


@dataclass(frozen=True)
class Image:
    """An embedded picture: `source` is a data URI, `width` in CSS pixels (None: the picture's own)."""

    source: str
    width: int | None


@dataclass(frozen=True)
class Cell:
    """One cell of a table: its text, and whether it is a number (set flush right)."""

    text: str
    number: bool


@dataclass(frozen=True)
class Grid:
    """A table as text. `rows` pairs the row's headings with its cells."""

    index_heads: tuple[str, ...]
    heads: tuple[Cell, ...]
    rows: tuple[tuple[tuple[str, ...], tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class FileEntry:
    """A file behind the report, as it was when it was listed."""

    path: Path
    size: str
    sha256: str
    what: str


def image(fig: Any, format: str) -> Image:
    """Draw a matplotlib figure to a data URI; a PNG file is taken as it is."""
    import matplotlib as mpl

    if isinstance(fig, str | Path):
        return _png(fig)
    if not hasattr(fig, "savefig"):
        fig = getattr(fig, "figure", fig)  # an Axes knows its figure
    if not hasattr(fig, "savefig"):
        raise ReportError(f"figure() takes a matplotlib Figure or Axes, not {type(fig).__name__}")
    if format not in ("auto", "svg", "png"):
        raise ReportError(f"format is {format!r}; possible are 'auto', 'svg' and 'png'")
    look = {"bbox_inches": "tight", "facecolor": "white"}
    if format != "png":
        buffer = io.BytesIO()
        with mpl.rc_context(
            {"svg.hashsalt": "sciexplain", "svg.fonttype": "path"}
        ):  # same figure, same bytes
            fig.savefig(buffer, format="svg", metadata={"Date": None}, **look)
        if format == "svg" or buffer.tell() <= SVG_LIMIT:
            return Image(_data_uri("image/svg+xml", buffer.getvalue()), None)
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=PNG_DPI, **look)
    content = buffer.getvalue()
    pixels = int.from_bytes(content[16:20], "big")  # the width in a PNG's first chunk
    return Image(_data_uri("image/png", content), round(pixels * CSS_DPI / PNG_DPI))


def _png(path: str | Path) -> Image:
    """The picture of a file, as wide as it was drawn."""
    content = Path(path).read_bytes() if Path(path).is_file() else b""
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        raise ReportError(f"{str(path)!r} is no PNG file")
    return Image(_data_uri("image/png", content), int.from_bytes(content[16:20], "big"))


def close(fig: Any) -> None:
    """Close a figure (or an Axes' figure) for good, so that a long run does not keep hundreds open."""
    import matplotlib.pyplot as plt

    if isinstance(fig, str | Path):
        return
    plt.close(fig if hasattr(fig, "savefig") else fig.figure)


def grid(data: Any, format: Mapping[Any, digits.Formatter] | digits.Formatter | None) -> Grid:
    """Write a table as text, one format per column."""
    frame = _frame(data)
    if format is None and _is_one_quantity(data):
        format = digits.column_format(frame.to_numpy().ravel().tolist())
    if isinstance(format, Mapping) and (unknown := [key for key in format if key not in frame.columns]):
        raise ReportError(f"format names {unknown}, the table has the columns {list(frame.columns)}")

    columns = []
    for position, column in enumerate(frame.columns):
        values = frame.iloc[:, position].tolist()
        chosen = format.get(column) if isinstance(format, Mapping) else format
        write = digits.column_format(values)
        columns.append(
            [
                Cell(
                    digits.apply(chosen, value) if chosen is not None else write(value),
                    digits.is_number(value),
                )
                for value in values
            ]
        )
    heads = tuple(
        Cell(_label(name), bool(cells) and all(cell.number for cell in cells))
        for name, cells in zip(frame.columns, columns, strict=True)
    )
    if _is_counter(frame):
        return Grid((), heads, tuple(((), cells) for cells in zip(*columns, strict=True)))
    levels = [frame.index.get_level_values(level) for level in range(frame.index.nlevels)]
    index_rows = zip(*([digits.plain(value) for value in level.tolist()] for level in levels), strict=True)
    index_heads = tuple(_label(name) for name in frame.index.names)
    if frame.columns.name is not None:  # what the columns are, in the corner
        index_heads = (
            *index_heads[:-1],
            f"{index_heads[-1]} / {_label(frame.columns.name)}".removeprefix(" / "),
        )
    return Grid(index_heads, heads, tuple(zip(index_rows, zip(*columns, strict=True), strict=True)))


def file_entry(path: Path, what: str) -> FileEntry:
    """Measure and hash one file."""
    if not path.is_file():
        state = "is a folder (pack it, or name its files)" if path.is_dir() else "does not exist"
        raise ReportError(f"files() lists files that have been written; {path} {state}")
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return FileEntry(path.resolve(), digits.size(path.stat().st_size), digest, what)


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _frame(data: Any) -> pd.DataFrame:
    import pandas as pd
    import xarray as xr

    if isinstance(data, xr.DataArray):
        if data.ndim not in (1, 2):
            raise ReportError(f"a table has 1 or 2 dimensions; the DataArray has {data.ndim}: {data.dims}")
        data = data.to_pandas() if data.ndim == 2 else data.rename(data.name or "value").to_pandas()
    elif isinstance(data, xr.Dataset):
        if len(data.dims) > 1:
            raise ReportError(f"a Dataset as a table has one dimension; this one has {tuple(data.dims)}")
        data = data.to_dataframe() if data.dims else pd.DataFrame({k: [v.item()] for k, v in data.items()})
    if isinstance(data, pd.Series):
        data = data.to_frame(data.name if data.name is not None else "value")
    if not isinstance(data, pd.DataFrame):
        raise ReportError(
            "table() takes a pandas DataFrame or Series or an xarray DataArray or Dataset, "
            f"not {type(data).__name__}"
        )
    if data.shape[1] == 0:
        raise ReportError("the table has no column")
    return data


def _is_one_quantity(data: Any) -> bool:
    """Whether all columns hold the same quantity, as a DataArray's do; then they share their decimals."""
    import xarray as xr

    return isinstance(data, xr.DataArray)


def _is_counter(frame: pd.DataFrame) -> bool:
    """Whether the index only counts the rows; then it is not worth a column."""
    import pandas as pd

    return isinstance(frame.index, pd.RangeIndex) and frame.index.name is None


def _label(name: Any) -> str:
    if isinstance(name, tuple):
        return " · ".join(str(part) for part in name if part != "")
    return "" if name is None else str(name)
