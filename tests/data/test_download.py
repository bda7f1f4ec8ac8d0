"""URLs: whole or not at all, resumed where cut, safe when several ask at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sciexplain.data import ChecksumError, SourcesError, fetch, sources

from .conftest import Server, sha256
from .test_fetch import everything_below

CONTENT = os.urandom(300_000)
HALF = len(CONTENT) // 2


@pytest.fixture
def name(declare: Callable[..., str], server: Server) -> str:
    server.content["/x"] = CONTENT
    return declare({"x.bin": (CONTENT, [f'{{ url = "{server.url}/x" }}'])})


def partial(cache: Path, content: bytes = CONTENT) -> Path:
    return cache / "toy" / f".x.bin.{sha256(content)[:16]}.part"


def offset(wanted: str | None) -> int:
    assert wanted is not None
    return int(wanted.removeprefix("bytes=").removesuffix("-"))


def test_a_cut_connection_goes_on_where_it_stopped(name: str, server: Server, cache: Path) -> None:
    server.cut_after = [HALF]
    assert fetch(name, progress=False)["x.bin"].read_bytes() == CONTENT
    assert [path for path, _ in server.asked] == ["/x", "/x"]
    assert server.asked[0][1] is None
    assert HALF - sources.CHUNK < offset(server.asked[1][1]) <= HALF
    assert everything_below(cache) == [cache / "toy" / "x.bin"]


def test_what_came_before_a_failure_is_kept_for_the_next_call(name: str, server: Server, cache: Path) -> None:
    server.cut_after = [HALF, 0]
    with pytest.raises(SourcesError, match=r"ConnectionError|ChunkedEncodingError"):
        fetch(name, progress=False)
    kept = partial(cache).read_bytes()
    assert HALF - sources.CHUNK < len(kept) <= HALF
    assert CONTENT.startswith(kept)
    assert not (cache / "toy" / "x.bin").exists()
    server.asked.clear()
    assert fetch(name, progress=False)["x.bin"].read_bytes() == CONTENT
    assert server.asked == [("/x", f"bytes={len(kept)}-")]


def test_a_server_without_ranges_sends_all_again(name: str, server: Server, cache: Path) -> None:
    server.ranges = False
    partial(cache).parent.mkdir(parents=True)
    partial(cache).write_bytes(CONTENT[:HALF])
    assert fetch(name, progress=False)["x.bin"].read_bytes() == CONTENT
    assert server.asked == [("/x", f"bytes={HALF}-")]


def test_a_server_without_ranges_that_always_cuts_is_given_up(name: str, server: Server) -> None:
    server.ranges = False
    server.cut_after = [HALF] * 9
    with pytest.raises(SourcesError):
        fetch(name, progress=False)
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    "old", [b"?" * HALF, CONTENT + b"?", CONTENT[:-1] + b"?"], ids=["other", "longer", "same length"]
)
def test_a_wrong_beginning_is_thrown_away(name: str, server: Server, cache: Path, old: bytes) -> None:
    partial(cache).parent.mkdir(parents=True)
    partial(cache).write_bytes(old)
    assert fetch(name, progress=False)["x.bin"].read_bytes() == CONTENT
    assert server.asked == [("/x", f"bytes={len(old)}-"), ("/x", None)]
    assert everything_below(cache) == [cache / "toy" / "x.bin"]


def test_a_complete_beginning_only_needs_its_checksum(name: str, server: Server, cache: Path) -> None:
    partial(cache).parent.mkdir(parents=True)
    partial(cache).write_bytes(CONTENT)
    assert fetch(name, progress=False)["x.bin"].read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_other_bytes_are_an_error_and_nothing_is_kept(name: str, server: Server, cache: Path) -> None:
    server.content["/x"] = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(ChecksumError, match=r"toy: x\.bin from url http://127.*\n +SHA-256 expected"):
        fetch(name, progress=False)
    assert everything_below(cache) == []
    server.content["/x"] = CONTENT
    assert fetch(name, progress=False)["x.bin"].read_bytes() == CONTENT


def test_an_empty_file_is_a_file(declare: Callable[..., str], server: Server) -> None:
    server.content["/x"] = b""
    name = declare({"x.bin": (b"", [f'{{ url = "{server.url}/x" }}'])})
    assert fetch(name, progress=False)["x.bin"].read_bytes() == b""


def test_nobody_listening_is_a_reason(declare: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    name = declare({"x.bin": (CONTENT, ['{ url = "http://127.0.0.1:9/x" }'])})
    with pytest.raises(SourcesError, match=r"ConnectionError: .*[Rr]efused"):
        fetch(name, progress=False)


def test_a_range_that_was_not_asked_for_is_refused(
    name: str, server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import requests

    partial(cache).parent.mkdir(parents=True)
    partial(cache).write_bytes(CONTENT[:HALF])
    get = requests.get

    def elsewhere(url: str, headers: dict[str, str], **kwargs: Any) -> Any:
        return get(url, headers={**headers, "Range": "bytes=7-"}, **kwargs)

    monkeypatch.setattr(requests, "get", elsewhere)
    with pytest.raises(SourcesError, match=f"sent bytes from 7 when asked for {HALF}"):
        fetch(name, progress=False)
    assert everything_below(cache) == []


def test_progress_counts_bytes(name: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.cut_after = [HALF]
    bars = []
    bar = sources._bar

    def watched(*args: Any) -> Any:
        bars.append(bar(*args))
        return bars[-1]

    monkeypatch.setattr(sources, "_bar", watched)
    fetch(name, progress=True)
    assert [(b.desc, b.n, b.total) for b in bars] == [("x.bin", len(CONTENT), len(CONTENT))]


def test_no_progress_is_silent(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    fetch(name, progress=False)
    assert capfd.readouterr() == ("", "")


def test_ftp_and_doi_go_through_pooch(
    declare: Callable[..., str], monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    import pooch

    asked = []

    def ftp(url: str, output: str, manager: object) -> None:
        asked.append(url)
        Path(output).write_bytes(CONTENT[:HALF])
        raise OSError("no such host")

    def doi(url: str, output: str, manager: object) -> None:
        asked.append(url)
        Path(output).write_bytes(CONTENT)

    monkeypatch.setattr(pooch, "FTPDownloader", lambda progressbar: ftp)
    monkeypatch.setattr(pooch, "DOIDownloader", lambda progressbar: doi)
    name = declare({"x.bin": (CONTENT, ['{ url = "ftp://example.org/x" }', '{ url = "doi:10.5/1/x" }'])})
    assert fetch(name, progress=False)["x.bin"].read_bytes() == CONTENT
    assert asked == ["ftp://example.org/x", "doi:10.5/1/x"]
    assert everything_below(cache) == [cache / "toy" / "x.bin"]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_two_processes_bring_a_file_once(name: str, server: Server, manifests: Path, cache: Path) -> None:
    server.wait = threading.Event()
    code = (
        "import sys, pathlib\n"
        "from sciexplain.data import catalogue, fetch, store\n"
        "lock = store.lock\n"
        "store.lock = lambda target: print('locking', flush=True) or lock(target)\n"
        f"catalogue._folder = lambda: pathlib.Path({str(manifests)!r})\n"
        f"print(fetch({name!r}, progress=False)['x.bin'])\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "locking\n"
        # one is held in its download while the other stands before the lock
        wait_until(lambda: len(server.asked) > 0)
        time.sleep(0.3)  # time to ask as well, if nothing stopped it
        server.wait.set()
        for process in processes:
            out, err = process.communicate(timeout=60)
            assert (out.strip(), err, process.returncode) == (str(cache / "toy" / "x.bin"), "", 0)
    finally:
        server.wait.set()
        for process in processes:
            process.kill()
            process.communicate()
    assert server.asked == [("/x", None)]
    assert (cache / "toy" / "x.bin").read_bytes() == CONTENT
