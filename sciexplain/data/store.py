"""The cache folder: where files live, what was verified, who is writing."""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from .errors import DataError
from .schema import DataFile, Manifest

__all__ = [
    "cache_folder",
    "cached_path",
    "lock",
    "mirror_folder",
    "sha256_of",
    "temporary_beside",
    "verified",
]

CACHE_VARIABLE = "SCIEXPLAIN_CACHE"
MIRROR_VARIABLE = "SCIEXPLAIN_DATA_MIRROR"


def cache_folder() -> Path:
    """`SCIEXPLAIN_CACHE`, or the user's cache folder of this operating system."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    import pooch

    return Path(pooch.os_cache("sciexplain"))


def mirror_folder() -> Path | None:
    """`SCIEXPLAIN_DATA_MIRROR`, or None where it is not set."""
    chosen = os.environ.get(MIRROR_VARIABLE)
    return Path(chosen).expanduser().absolute() if chosen else None


def cached_path(m: Manifest, file: DataFile) -> Path:
    """Where a file of a data set lives in the cache, there or not."""
    return cache_folder() / m.name / file.path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _marker(path: Path, sha256: str) -> Path:
    """The record that `path`, as it is now, had this checksum.

    Size and modification time are part of the record's name, so a file that changes has no record any more.
    """
    state = path.stat()
    key = f"{path}\n{state.st_size}\n{state.st_mtime_ns}\n{sha256}"
    return cache_folder() / ".verified" / hashlib.sha256(key.encode()).hexdigest()


def verified(path: Path, file: DataFile) -> bool:
    """Whether the bytes at `path` are those of `file`; hashed once, then remembered."""
    if file.size is not None and path.stat().st_size != file.size:
        return False
    marker = _marker(path, file.sha256)
    if marker.exists():
        return True
    if sha256_of(path) != file.sha256:
        return False
    # a cache that cannot be written only costs hashing again
    with contextlib.suppress(OSError):
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
    return True


def make_folder(folder: Path) -> None:
    """Create a folder of the cache, or say which variable moves the cache elsewhere."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"The cache folder {folder} cannot be made ({error.strerror or error}). "
            f"Set {CACHE_VARIABLE} to a folder that you may write."
        ) from error


@contextlib.contextmanager
def temporary_beside(target: Path) -> Iterator[Path]:
    """A new file beside `target`, gone afterwards unless it was renamed."""
    make_folder(target.parent)
    # not mkstemp: its files are private, and caches are shared
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}.tmp"
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def lock(target: Path) -> Iterator[None]:
    """Only one process at a time obtains `target`; the others wait, then find it there."""
    from filelock import FileLock

    folder = cache_folder() / ".locks"
    make_folder(folder)
    with FileLock(folder / f"{hashlib.sha256(str(target).encode()).hexdigest()}.lock"):
        yield
