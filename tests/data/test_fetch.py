"""Sources in their order, the checksum above all, and nothing half-written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sciexplain.data import (
    ChecksumError,
    DataError,
    SourcesError,
    UnknownDataError,
    available,
    fetch,
    manifest,
    store,
    verify,
)

from .conftest import Server

Declare = Callable[..., str]
CONTENT = bytes(range(256)) * 40


def everything_below(folder: Path) -> list[Path]:
    """All files but locks and records of verification."""
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and not {".locks", ".verified"} & set(path.relative_to(folder).parts)
    ]


def toy(declare: Declare, *sources: str, content: bytes = CONTENT) -> str:
    return declare({"a/x.bin": (content, list(sources))})


def test_the_mirror_is_read_in_place(declare: Declare, mirror: Path, cache: Path) -> None:
    (mirror / "x").write_bytes(CONTENT)
    name = toy(declare, '{ mirror = "x" }')
    assert fetch(name) == {"a/x.bin": mirror / "x"}
    assert everything_below(cache) == []


def test_the_mirror_is_hashed_once_and_again_when_it_changes(
    declare: Declare, mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []
    sha256_of = store.sha256_of

    def watched(path: Path) -> str:
        hashed.append(path)
        return sha256_of(path)

    monkeypatch.setattr(store, "sha256_of", watched)
    (mirror / "x").write_bytes(CONTENT)
    name = toy(declare, '{ mirror = "x" }')
    fetch(name)
    fetch(name)
    assert len(hashed) == 1
    state = (mirror / "x").stat()
    (mirror / "x").write_bytes(CONTENT[::-1])  # the same size
    os.utime(mirror / "x", ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    with pytest.raises(ChecksumError):
        fetch(name)
    assert len(hashed) > 1


def test_other_bytes_in_the_mirror_are_an_error_not_a_reason_to_go_on(
    declare: Declare, mirror: Path, server: Server, cache: Path
) -> None:
    server.content["/x"] = CONTENT
    (mirror / "x").write_bytes(CONTENT[:-1] + b"?")
    name = toy(declare, '{ mirror = "x" }', f'{{ url = "{server.url}/x" }}')
    with pytest.raises(ChecksumError) as caught:
        fetch(name)
    message = str(caught.value)
    assert message.startswith("toy: a/x.bin from mirror x is not the file that the manifest promises")
    assert manifest(name).files[0].sha256 in message
    assert store.sha256_of(mirror / "x") in message
    assert str(mirror / "x") in message
    assert server.asked == []
    assert everything_below(cache) == []


def test_the_next_source_is_tried_when_one_has_nothing(
    declare: Declare, mirror: Path, server: Server, cache: Path
) -> None:
    server.content["/x"] = CONTENT
    name = toy(
        declare, '{ mirror = "x" }', f'{{ url = "{server.url}/gone" }}', f'{{ url = "{server.url}/x" }}'
    )
    assert fetch(name, progress=False) == {"a/x.bin": cache / "toy" / "a" / "x.bin"}
    assert (cache / "toy" / "a" / "x.bin").read_bytes() == CONTENT
    assert [path for path, _ in server.asked] == ["/gone", "/x"]


def test_the_order_is_the_manifests(declare: Declare, mirror: Path, server: Server, cache: Path) -> None:
    server.content["/x"] = CONTENT
    (mirror / "x").write_bytes(CONTENT)
    name = toy(declare, f'{{ url = "{server.url}/x" }}', '{ mirror = "x" }')
    assert fetch(name, progress=False)["a/x.bin"] == cache / "toy" / "a" / "x.bin"


def test_what_is_cached_needs_no_source(declare: Declare, server: Server) -> None:
    server.content["/x"] = CONTENT
    name = toy(declare, f'{{ url = "{server.url}/x" }}')
    first = fetch(name, progress=False)
    assert fetch(name, offline=True) == first
    assert len(server.asked) == 1


def test_a_damaged_cached_file_is_brought_again(declare: Declare, server: Server) -> None:
    server.content["/x"] = CONTENT
    name = toy(declare, f'{{ url = "{server.url}/x" }}')
    place = fetch(name, progress=False)["a/x.bin"]
    place.write_bytes(CONTENT[:100])
    with pytest.raises(SourcesError, match=r"cache .*x\.bin\n +damaged: not the bytes"):
        fetch(name, offline=True)
    assert fetch(name, progress=False)["a/x.bin"].read_bytes() == CONTENT


def test_no_source_lists_each_with_its_reason_and_what_to_do(
    declare: Declare, server: Server, cache: Path
) -> None:
    server.content["/x"] = CONTENT
    name = toy(declare, '{ mirror = "m/x" }', f'{{ url = "{server.url}/gone" }}')
    with pytest.raises(SourcesError) as caught:
        fetch(name, progress=False)
    message = str(caught.value)
    assert message.startswith("toy: a/x.bin could not be obtained. Tried:\n  mirror m/x\n")
    assert "SCIEXPLAIN_DATA_MIRROR is not set" in message
    assert f"  url {server.url}/gone\n      the server answered 404" in message
    assert "set SCIEXPLAIN_DATA_MIRROR to a folder that has m/x" in message
    assert (
        f"put the file (SHA-256 {manifest(name).files[0].sha256}) at {cache / 'toy' / 'a' / 'x.bin'}"
        in message
    )
    assert everything_below(cache) == []


def test_a_mirror_that_is_not_there_is_named(
    declare: Declare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCIEXPLAIN_DATA_MIRROR", str(tmp_path / "nowhere"))
    with pytest.raises(SourcesError, match=r"SCIEXPLAIN_DATA_MIRROR=.*nowhere is not a folder"):
        fetch(toy(declare, '{ mirror = "x" }'))


def test_a_file_missing_in_the_mirror_is_named(declare: Declare, mirror: Path) -> None:
    with pytest.raises(SourcesError, match=rf"not in {mirror}"):
        fetch(toy(declare, '{ mirror = "x" }'))


def test_offline_asks_nobody(declare: Declare, server: Server) -> None:
    server.content["/x"] = CONTENT
    with pytest.raises(SourcesError, match=r"url .*\n +not tried \(offline\)"):
        fetch(toy(declare, f'{{ url = "{server.url}/x" }}'), offline=True)
    assert server.asked == []


def test_a_file_put_in_the_cache_by_hand_is_used_if_it_is_the_right_one(
    declare: Declare, cache: Path
) -> None:
    name = toy(declare, '{ mirror = "x" }')
    place = cache / "toy" / "a" / "x.bin"
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    assert fetch(name) == {"a/x.bin": place}


def test_only_what_is_asked_for_is_fetched_in_that_order(declare: Declare, mirror: Path) -> None:
    for letter in "abc":
        (mirror / letter).write_bytes(letter.encode())
    name = declare({letter: (letter.encode(), [f'{{ mirror = "{letter}" }}']) for letter in "abc"})
    (mirror / "b").unlink()
    assert list(fetch(name, ["c", "a"])) == ["c", "a"]
    assert list(fetch(name, "c")) == ["c"]
    with pytest.raises(UnknownDataError, match="no file 'd'"):
        fetch(name, ["a", "d"])


def test_available_and_verify_say_what_is_here(declare: Declare, mirror: Path, server: Server) -> None:
    names = ["ok", "missing", "corrupt", "same_size"]
    name = declare({n: (CONTENT, [f'{{ mirror = "{n}" }}', f'{{ url = "{server.url}/x" }}']) for n in names})
    (mirror / "ok").write_bytes(CONTENT)
    (mirror / "corrupt").write_bytes(CONTENT[1:])
    (mirror / "same_size").write_bytes(CONTENT[::-1])
    assert [available(name, n) for n in names] == [True, False, False, False]
    assert not available(name)
    checks = verify(name)
    assert {n: check.status for n, check in checks.items()} == {
        "ok": "ok",
        "missing": "missing",
        "corrupt": "corrupt",
        "same_size": "corrupt",
    }
    assert checks["ok"].location == mirror / "ok"
    assert checks["missing"].location is None
    assert checks["corrupt"].location == mirror / "corrupt"
    assert server.asked == []


def test_verify_reads_again_what_was_remembered(declare: Declare, mirror: Path) -> None:
    (mirror / "x").write_bytes(CONTENT)
    name = toy(declare, '{ mirror = "x" }')
    fetch(name)
    state = (mirror / "x").stat()
    (mirror / "x").write_bytes(CONTENT[::-1])
    os.utime(mirror / "x", ns=(state.st_atime_ns, state.st_mtime_ns))  # as if nothing had happened
    assert verify(name, remembered=True)["a/x.bin"].status == "ok"
    assert verify(name)["a/x.bin"].status == "corrupt"


def test_a_simulated_set_has_nothing_to_fetch() -> None:
    assert fetch("motor_imagery_simulation") == {}
    assert available("motor_imagery_simulation")
    assert verify("motor_imagery_simulation") == {}


def test_a_cache_that_cannot_be_made_names_the_variable(
    declare: Declare, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content["/x"] = CONTENT
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("SCIEXPLAIN_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match=r"cache folder .* cannot be made .*Set SCIEXPLAIN_CACHE"):
        fetch(toy(declare, f'{{ url = "{server.url}/x" }}'))


def test_a_mirror_works_without_a_cache(
    declare: Declare, mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("SCIEXPLAIN_CACHE", str(tmp_path / "file" / "cache"))
    (mirror / "x").write_bytes(CONTENT)
    assert fetch(toy(declare, '{ mirror = "x" }')) == {"a/x.bin": mirror / "x"}


def test_the_default_cache_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    import pooch

    monkeypatch.delenv("SCIEXPLAIN_CACHE")
    assert store.cache_folder() == Path(pooch.os_cache("sciexplain"))


@pytest.mark.mirror
def test_the_real_mirror_has_the_recordings_of_s001(monkeypatch: pytest.MonkeyPatch) -> None:
    if REAL_MIRROR is None:
        pytest.skip("SCIEXPLAIN_DATA_MIRROR is not set")
    monkeypatch.setenv("SCIEXPLAIN_DATA_MIRROR", REAL_MIRROR)
    paths = [f"S001/S001R{run:02d}.edf" for run in range(3, 15)]
    assert list(fetch("eegmmidb", paths, offline=True)) == paths
    assert {check.status for check in verify("eegmmidb", paths).values()} == {"ok"}


REAL_MIRROR = os.environ.get("SCIEXPLAIN_DATA_MIRROR")
