"""Where the manifests are, and which there are."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from .errors import DataError, UnknownDataError
from .schema import DataFile, Manifest, parse

__all__ = ["list_datasets", "manifest", "select"]


def _folder() -> Path:
    """The manifests: inside the installed package, or at the root of a checkout."""
    packaged = Path(str(files("sciexplain.data") / "manifests"))
    if packaged.is_dir():
        return packaged
    checkout = Path(__file__).resolve().parents[2] / "data_manifests"
    if checkout.is_dir():
        return checkout
    raise DataError(
        "No manifests found: neither sciexplain/data/manifests in the installed package nor data_manifests "
        "in a checkout. Reinstall sciexplain."
    )


def list_datasets() -> list[str]:
    """Names of the data sets that have a manifest, sorted.

    >>> "eegmmidb" in list_datasets()
    True
    """
    return sorted(entry.name[:-5] for entry in _folder().iterdir() if entry.name.endswith(".toml"))


def manifest(name: str) -> Manifest:
    """The manifest of one data set.

    Raises
    ------
    UnknownDataError
        No such data set; close names are offered.
    ManifestError
        The manifest is malformed.

    Examples
    --------
    >>> manifest("eegmmidb").licence
    'ODC-By-1.0'
    """
    known = list_datasets()
    if name not in known:
        hint = _did_you_mean(name, known)
        raise UnknownDataError(f"No data set {name!r}.{hint} Known: {', '.join(known)}.")
    return _read(_folder(), name)


@lru_cache(maxsize=64)
def _read(folder: Path, name: str) -> Manifest:
    origin = f"{name}.toml"
    return parse(
        (folder / origin).read_text(encoding="utf-8"),
        origin,
        lambda beside: (folder / beside).read_text(encoding="utf-8"),
    )


def select(m: Manifest, paths: str | Iterable[str] | None) -> tuple[DataFile, ...]:
    """The files of a manifest that `paths` names, in the order named, each once.

    A path is one of the manifest's, or a pattern with `*`, `?`, `[...]` (`*` crosses slashes). None selects
    all.

    Parameters
    ----------
    m : Manifest
    paths : str, several, or None

    Raises
    ------
    UnknownDataError
        A path or pattern that matches no file.

    Examples
    --------
    >>> [file.path for file in select(manifest("eegmmidb"), "S002/*R0[34].edf")]
    ['S002/S002R03.edf', 'S002/S002R04.edf']
    """
    if paths is None:
        return m.files
    chosen: dict[str, DataFile] = {}
    for path in [paths] if isinstance(paths, str) else paths:
        if path in m.by_path:
            chosen[path] = m.by_path[path]
            continue
        matches = [file for file in m.files if fnmatch.fnmatchcase(file.path, path)]
        if not matches:
            what = (
                f"It has {len(m.files)} files: {_shorten([file.path for file in m.files])}."
                if m.files
                else f"It has no files: it is simulated by {m.generator}."
            )
            raise UnknownDataError(
                f"The data set {m.name!r} has no file {path!r}.{_did_you_mean(path, list(m.by_path))} {what}"
            )
        chosen.update((file.path, file) for file in matches)
    return tuple(chosen.values())


def _did_you_mean(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.7)
    return f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""


def _shorten(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:3])}, ..., {names[-1]}"
