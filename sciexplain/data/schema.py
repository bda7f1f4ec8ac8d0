"""Manifests as values: parse a TOML text, refuse what is malformed, name the field."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from .errors import ManifestError

__all__ = ["DataFile", "Manifest", "Mirror", "Package", "Source", "Url", "parse"]

URL_SCHEMES = ("http", "https", "ftp", "doi")
WHOLE_ARCHIVE = "."


@dataclass(frozen=True)
class Mirror:
    """A file below the folder that `SCIEXPLAIN_DATA_MIRROR` names."""

    path: str

    def __str__(self) -> str:
        return f"mirror {self.path}"


@dataclass(frozen=True)
class Package:
    """A file inside a published Python package; `file="."` is the wheel or sdist itself."""

    package: str
    version: str
    file: str
    sdist: bool = False

    def __str__(self) -> str:
        inside = "the archive itself" if self.file == WHOLE_ARCHIVE else self.file
        return f"package {self.package} {self.version}{' (sdist)' if self.sdist else ''}: {inside}"


@dataclass(frozen=True)
class Url:
    """A file on a web or ftp server, or in a repository with a DOI."""

    url: str

    def __str__(self) -> str:
        return f"url {self.url}"


Source = Mirror | Package | Url


@dataclass(frozen=True)
class DataFile:
    """One file of a data set: a relative `path` with forward slashes, `size` in bytes (None: not known)."""

    path: str
    sha256: str
    size: int | None
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Manifest:
    """What a data set is, whose it is, and where each of its files comes from.

    `sample` says what one sample is (channels, rate, unit). A `simulated` set may have no file at all; then
    `generator` names the module that makes it.
    """

    name: str
    title: str
    licence: str
    citation: tuple[str, ...]
    sample: str
    simulated: bool
    homepage: str | None = None
    notes: str | None = None
    generator: str | None = None
    files: tuple[DataFile, ...] = ()

    @cached_property
    def by_path(self) -> dict[str, DataFile]:
        """The files, by their path."""
        return {file.path: file for file in self.files}


class _Table:
    """A TOML table that remembers where it stands, so that every complaint can name file and field."""

    def __init__(self, values: Any, origin: str, where: str, known: tuple[str, ...]) -> None:
        self.origin, self.where = origin, where
        if not isinstance(values, dict):
            raise ManifestError(f"{origin}: {where or 'top level'}: expected a table, got {values!r}")
        self.values: dict[str, Any] = values
        for key in values:
            if key not in known:
                self.fail(key, f"is not a known field; possible: {', '.join(known)}")

    def fail(self, key: str, problem: str) -> None:
        raise ManifestError(f"{self.origin}: {self.where + '.' if self.where else ''}{key} {problem}")

    def get(self, key: str, kind: type, what: str, default: Any = ...) -> Any:
        if key not in self.values:
            if default is ...:
                self.fail(key, f"is missing; expected {what}")
            return default
        value = self.values[key]
        # bool is an int in Python, but `size = true` is a mistake
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.fail(key, f"must be {what}, got {value!r}")
        if kind is str and not value.strip():
            self.fail(key, f"must be {what}, got an empty text")
        return value

    def text(self, key: str, default: Any = ...) -> Any:
        return self.get(key, str, "a text", default)

    def path(self, key: str) -> str:
        value = self.text(key)
        problem = unsafe(value)
        if problem:
            self.fail(key, f"= {value!r} is not a safe path: {problem}")
        return value


def unsafe(path: str) -> str | None:
    """Why `path` may not be joined to a folder of ours, or None.

    >>> unsafe("S001/S001R03.edf")
    >>> unsafe("../x")
    "it leaves its folder by '..'"
    """
    if "\\" in path or ":" in path or any(ord(c) < 32 for c in path):
        return "backslash, colon and control characters are not portable"
    if path.startswith("/"):
        return "it is absolute"
    parts = path.split("/")
    if ".." in parts:
        return "it leaves its folder by '..'"
    if "" in parts or "." in parts:
        return "it has an empty part"
    return None


def _source(values: Any, origin: str, where: str) -> Source:
    kinds = ("mirror", "package", "url")
    found = [kind for kind in kinds if isinstance(values, dict) and kind in values]
    if len(found) != 1:
        got = ", ".join(values) if isinstance(values, dict) and values else repr(values)
        raise ManifestError(f"{origin}: {where} must have exactly one of {', '.join(kinds)}; got {got}")
    if found == ["mirror"]:
        return Mirror(_Table(values, origin, where, ("mirror",)).path("mirror"))
    if found == ["url"]:
        table = _Table(values, origin, where, ("url",))
        url = table.text("url")
        if urlsplit(url).scheme not in URL_SCHEMES:
            table.fail("url", f"= {url!r} must begin with one of {', '.join(s + ':' for s in URL_SCHEMES)}")
        return Url(url)
    table = _Table(values, origin, where, ("package", "version", "file", "sdist"))
    package, version = table.text("package"), table.text("version")
    # both end up on pip's command line
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", package):
        table.fail("package", f"= {package!r} is not the name of a Python package")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*", version):
        table.fail("version", f"= {version!r} is not one exact version")
    whole = values.get("file") == WHOLE_ARCHIVE
    file = WHOLE_ARCHIVE if whole else table.path("file")
    return Package(package, version, file, table.get("sdist", bool, "true or false", False))


def _sources(table: _Table, path: str | None = None) -> tuple[Source, ...]:
    """The sources of a table, with `{path}` filled in where a template is given."""
    raw = table.get("sources", list, "a list of sources")
    if not raw:
        table.fail("sources", "must not be empty")

    def fill(values: Any) -> Any:
        if path is None or not isinstance(values, dict):
            return values
        return {k: v.replace("{path}", path) if isinstance(v, str) else v for k, v in values.items()}

    return tuple(
        _source(fill(values), table.origin, f"{table.where}.sources[{i}]") for i, values in enumerate(raw)
    )


def _checksum(value: str) -> str | None:
    """What is wrong with a SHA-256 in text form, or None."""
    if len(value) != 64:
        return f"must have 64 hexadecimal digits, got {len(value)}: {value!r}"
    if not re.fullmatch("[0-9a-f]{64}", value):
        return f"must be lower-case hexadecimal, got {value!r}"
    return None


def _file(values: Any, origin: str, where: str) -> DataFile:
    table = _Table(values, origin, where, ("path", "sha256", "size", "sources"))
    sha256 = table.text("sha256")
    problem = _checksum(sha256)
    if problem:
        table.fail("sha256", problem)
    size = table.get("size", int, "a number of bytes", None)
    if size is not None and size < 0:
        table.fail("size", f"must be a number of bytes, got {size}")
    return DataFile(table.path("path"), sha256, size, _sources(table))


def _template(values: Any, origin: str, where: str, beside: Callable[[str], str]) -> list[DataFile]:
    """Many files of one pattern: `checksums` names a list beside the manifest, as `sha256sum` writes it."""
    table = _Table(values, origin, where, ("checksums", "sources"))
    listing = table.path("checksums")
    try:
        text = beside(listing)
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(
            f"{origin}: {where}.checksums = {listing!r} cannot be read beside the manifest: {error}"
        ) from error
    files = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        sha256, _, path = line.partition("  ")
        problem = _checksum(sha256) or (unsafe(path) if path else "has no path after two blanks")
        if problem:
            raise ManifestError(f"{listing}: line {number}: {problem}")
        files.append(DataFile(path, sha256, None, _sources(table, path)))
    return files


def parse(text: str, origin: str, beside: Callable[[str], str]) -> Manifest:
    """Read one manifest.

    Parameters
    ----------
    text : str
        TOML.
    origin : str
        The manifest's file name, `NAME.toml`; it begins every complaint.
    beside : callable
        Gives the text of a file beside the manifest (for `template.checksums`).

    Raises
    ------
    ManifestError
        Not TOML, or a field is missing, unknown, of the wrong kind, or unsafe.
    """
    try:
        values: Mapping[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ManifestError(f"{origin}: not a TOML file: {error}") from error
    table = _Table(
        dict(values),
        origin,
        "",
        (
            "name",
            "title",
            "licence",
            "citation",
            "sample",
            "simulated",
            "homepage",
            "notes",
            "generator",
            "file",
            "template",
        ),
    )
    name = table.text("name")
    if f"{name}.toml" != origin:
        table.fail("name", f"= {name!r} must be the file's name without .toml")
    citation = table.get("citation", list, "a list of texts")
    if not citation or not all(isinstance(entry, str) and entry.strip() for entry in citation):
        table.fail("citation", f"must be a list of texts (a DOI each, or a reference), got {citation!r}")
    simulated = table.get("simulated", bool, "true or false")
    generator = table.text("generator", None)

    files: list[DataFile] = []
    for i, entry in enumerate(table.get("file", list, "tables [[file]]", [])):
        files.append(_file(entry, origin, f"file[{i}]"))
    for i, entry in enumerate(table.get("template", list, "tables [[template]]", [])):
        files.extend(_template(entry, origin, f"template[{i}]", beside))
    seen: set[str] = set()
    for file in files:
        # one disk in three does not tell upper from lower case
        if file.path.lower() in seen:
            table.fail("file", f"lists the path {file.path!r} more than once")
        seen.add(file.path.lower())
    if generator and not simulated:
        table.fail("generator", "is given, so `simulated` must be true")
    if not files and not generator:
        table.fail("file", "is missing: a set without files must be simulated and name its generator")

    return Manifest(
        name=name,
        title=table.text("title"),
        licence=table.text("licence"),
        citation=tuple(citation),
        sample=table.text("sample"),
        simulated=simulated,
        homepage=table.text("homepage", None),
        notes=table.text("notes", None),
        generator=generator,
        files=tuple(files),
    )
