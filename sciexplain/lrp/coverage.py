"""What is covered, as Markdown: each operation and each rule, what it does and which paper it comes from.

    python -m sciexplain.lrp.coverage                                     # print the whole table
    python -m sciexplain.lrp.coverage --write README.md docs/coverage.md  # renew it between the marks

All of it is read off the table of operations and the rules' docstrings.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterable, Sequence
from dataclasses import is_dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from . import rules
from .composites import COMPOSITES
from .operations import TABLE, Operation

#: Where the papers are that entries and docstrings cite by author and year.
REFERENCES = {
    "Achtibat et al. 2023": "https://doi.org/10.1038/s42256-023-00711-8",
    "Achtibat et al. 2024": "https://proceedings.mlr.press/v235/achtibat24a.html",
    "Ali et al. 2022": "https://proceedings.mlr.press/v162/ali22a.html",
    "Arras et al. 2017": "https://doi.org/10.18653/v1/W17-5221",
    "Arras et al. 2019": "https://doi.org/10.1007/978-3-030-28954-6_11",
    "Bach et al. 2015": "https://doi.org/10.1371/journal.pone.0130140",
    "Guillemot et al. 2020": "https://doi.org/10.48550/arXiv.2002.11018",
    "Hui and Binder 2019": "https://doi.org/10.1007/978-3-030-20518-8_24",
    "Kohlbrenner et al. 2020": "https://doi.org/10.1109/IJCNN48605.2020.9206975",
    "Lapuschkin et al. 2019": "https://doi.org/10.1038/s41467-019-08987-4",
    "Montavon et al. 2017": "https://doi.org/10.1016/j.patcog.2016.11.008",
    "Montavon et al. 2018": "https://doi.org/10.1016/j.dsp.2017.10.011",
    "Montavon et al. 2019": "https://doi.org/10.1007/978-3-030-28954-6_10",
    "Schnake et al. 2022": "https://doi.org/10.1109/TPAMI.2021.3115452",
    "Shrikumar et al. 2016": "https://doi.org/10.48550/arXiv.1605.01713",
    "Vielhaben et al. 2024": "https://doi.org/10.1016/j.patcog.2024.110309",
}
_CITED = re.compile(r"([A-Z][\w-]+(?: et al\.| and [A-Z][\w-]+)) (\d{4}(?: and \d{4})*)")
_PAPER = re.compile(rf" ?\(({_CITED.pattern}[^()]*)\)")
_MARKED = re.compile(r"(<!-- coverage: (short|full) -->\n).*?(<!-- /coverage -->)", re.DOTALL)
_SHOWN = 8  # names in a row of the short table


def markdown(form: str = "full") -> str:
    """The tables of one form, ending with a line break.

    Parameters
    ----------
    form : {"full", "short"}
        "full": one row per entry of the table, then rules and composites. "short": one row per kind, then
        rules.
    """
    heads = ["kind", "operations", "what is done", "from"]
    if form == "short":
        return _table(heads, _by_kind()) + "\n" + _table(["rule", "what it does", "from"], _rules())
    return (
        _table(heads, _by_entry())
        + "\n## Rules\n\n"
        + _table(["rule", "what it does", "from"], _rules())
        + "\n## Composites\n\n"
        + _table(["name", "rules"], _composites())
    )


def updated(text: str) -> str:
    """The text with every table between `<!-- coverage: FORM -->` and `<!-- /coverage -->` renewed.

    Raises
    ------
    ValueError
        There are no such marks.

    Examples
    --------
    >>> page = updated("Covered:\\n<!-- coverage: short -->\\nold\\n<!-- /coverage -->\\n")
    >>> page.splitlines()[2]
    '| kind | operations | what is done | from |'
    """
    if not _MARKED.search(text):
        raise ValueError("Nothing to renew: no <!-- coverage: short --> (or full) with <!-- /coverage -->.")
    return _MARKED.sub(lambda found: f"{found[1]}{markdown(found[2])}{found[3]}", text)


def linked(paper: str) -> str:
    """Citations by author and year as Markdown links.

    Raises
    ------
    ValueError
        A paper that is not in `REFERENCES`.

    Examples
    --------
    >>> linked("Bach et al. 2015, eq. 58")
    '[Bach et al. 2015](https://doi.org/10.1371/journal.pone.0130140), eq. 58'
    """

    def links(found: re.Match[str]) -> str:
        made = []
        for i, year in enumerate(found[2].split(" and ")):
            key = f"{found[1]} {year}"
            if key not in REFERENCES:
                raise ValueError(f"{key} is cited but not in REFERENCES of {__name__}.")
            made.append(f"[{year if i else key}]({REFERENCES[key]})")
        return " and ".join(made)

    return _CITED.sub(links, paper)


def _entries() -> list[tuple[Operation, list[str]]]:
    """Entries that say the same are one row; kinds in the order of their first entry."""
    found: dict[tuple[str, str, str], tuple[Operation, list[str]]] = {}
    for target, entry in TABLE.items():
        key = (entry.kind, entry.how, entry.paper)
        found.setdefault(key, (entry, []))[1].append(_name(target))
    kinds = list(dict.fromkeys(kind for kind, _, _ in found))
    return [found[key] for key in sorted(found, key=lambda key: kinds.index(key[0]))]


def _name(target: Any) -> str:
    """`relu` for aten.relu, `max.dim` for one overload, `getitem` for a plain function."""
    if inspect.isroutine(target) and hasattr(target, "__name__"):
        return str(target.__name__)
    return str(target).removeprefix("aten.").removesuffix(".default")


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _by_entry() -> list[list[str]]:
    return [
        [entry.kind, _names(sorted(names, key=_public)), _plain(entry.how), linked(entry.paper)]
        for entry, names in _entries()
    ]


def _public(name: str) -> str:
    """Sorts `_to_copy` with `to`."""
    return name.lstrip("_")


def _by_kind() -> list[list[str]]:
    rows = []
    entries = _entries()
    for kind in dict.fromkeys(entry.kind for entry, _ in entries):
        own = [(entry, names) for entry, names in entries if entry.kind == kind]
        turns = zip_longest(*(names for _, names in own))  # the first of each entry, the second of each, ...
        names = [name for turn in turns for name in turn if name is not None]
        shown = [name for name in names if not name.startswith("_")][:_SHOWN]
        more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
        how = "<br>".join(dict.fromkeys(_plain(entry.how) for entry, _ in own))
        papers = "<br>".join(dict.fromkeys(linked(entry.paper) for entry, _ in own if entry.paper))
        rows.append([kind, _names(shown) + more, how, papers])
    return rows


def _rules() -> list[list[str]]:
    """From the first paragraphs of the docstrings, which name the paper in brackets."""
    rows = []
    for name in rules.__all__:
        rule = getattr(rules, name)
        if not (is_dataclass(rule) and hasattr(rule, "to_json")):
            continue  # the base classes, and what rules are made of
        first = " ".join((inspect.getdoc(rule) or "").split("\n\n")[0].split())
        paper = _PAPER.search(first)
        if paper is None:
            raise ValueError(f"The docstring of {name} cites no paper (Author et al. year) at its beginning.")
        rows.append([f"`{name}`", _plain(_PAPER.sub("", first).rstrip(".")), linked(paper[1])])
    return rows


def _composites() -> list[list[str]]:
    return [
        [f"`{name}`", ", ".join(f"{key} `{rule!r}`" for key, rule in composite)]
        for name, composite in COMPOSITES.items()
    ]


def _plain(text: str) -> str:
    """Text whose stars, underscores and bars mean themselves."""
    return re.sub(r"([*_|<\\])", r"\\\1", text)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables, or renew them in files; returns the exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments without the program's name; default those of the process.
    """
    parser = argparse.ArgumentParser("python -m sciexplain.lrp.coverage", description="What is covered.")
    parser.add_argument("--short", action="store_true", help="one row per kind rather than per entry")
    parser.add_argument(
        "--write", nargs="+", type=Path, metavar="FILE", default=[], help="renew the tables between the marks"
    )
    arguments = parser.parse_args(argv)
    for path in arguments.write:
        path.write_text(updated(path.read_text("utf-8")), "utf-8")
    if not arguments.write:
        print(markdown("short" if arguments.short else "full"), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
