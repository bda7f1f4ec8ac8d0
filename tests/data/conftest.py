"""A cache, a catalogue and a web server of the test's own; nothing here leaves this machine."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sciexplain.data import catalogue


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no mirror, whatever this machine has."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SCIEXPLAIN_CACHE", str(folder))
    monkeypatch.delenv("SCIEXPLAIN_DATA_MIRROR", raising=False)
    return folder


@pytest.fixture
def manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that takes the place of data_manifests."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    monkeypatch.setattr(catalogue, "_folder", lambda: folder)
    return folder


@pytest.fixture
def declare(manifests: Path) -> Callable[..., str]:
    """`declare({path: (content, [source, ...])})` writes the manifest of a set "toy"; sources are TOML."""

    def write(files: dict[str, tuple[bytes, list[str]]], name: str = "toy") -> str:
        lines = [
            f'name = "{name}"',
            'title = "A toy"',
            'licence = "CC0-1.0"',
            'citation = ["nobody"]',
            'sample = "a few bytes"',
            "simulated = false",
        ]
        for path, (content, sources) in files.items():
            lines += ["[[file]]", f'path = "{path}"', f'sha256 = "{sha256(content)}"']
            lines += [f"size = {len(content)}", f"sources = [{', '.join(sources)}]"]
        (manifests / f"{name}.toml").write_text("\n".join(lines))
        catalogue._read.cache_clear()
        return name

    return write


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "mirror"
    folder.mkdir()
    monkeypatch.setenv("SCIEXPLAIN_DATA_MIRROR", str(folder))
    return folder


@dataclass
class Server:
    """What a local web server offers, how badly it behaves, and what it was asked."""

    url: str = ""
    content: dict[str, bytes] = field(default_factory=dict)
    cut_after: list[int] = field(
        default_factory=list
    )  # the next answers stop after so many bytes of their body
    ranges: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # path, Range header
    wait: threading.Event | None = None  # set it to let answers begin


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.asked.append((self.path, wanted))
            if state.wait is not None:
                state.wait.wait(30)
            body = state.content.get(self.path)
            if body is None:
                self.send_error(404)
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.ranges else 0
            if start and start >= len(body):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            rest = body[start:]
            self.wfile.write(rest[: state.cut_after.pop(0)] if state.cut_after else rest)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        state.url = f"http://127.0.0.1:{web.server_address[1]}"
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield state
        web.shutdown()
        thread.join()
