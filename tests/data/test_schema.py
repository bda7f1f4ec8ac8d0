"""Manifests are refused with the file and the field named."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sciexplain.data import ManifestError, Mirror, Package, Url
from sciexplain.data.schema import Manifest, parse, unsafe

HASH = "3d161f88e1c00632585287d2ce584c2bc0f08862438eb255ea8723e00fac693d"
HEAD = """
name = "toy"
title = "A toy"
licence = "CC0-1.0"
citation = ["nobody"]
sample = "a few bytes"
simulated = false
"""
FILE = f"""
[[file]]
path = "a/b.bin"
sha256 = "{HASH}"
size = 3
sources = [
    {{ mirror = "toy/b.bin" }},
    {{ package = "p", version = "1.0", file = "p/b.bin" }},
    {{ url = "https://x.org/b" }},
]
"""
TEMPLATE = """
[[template]]
checksums = "toy.sha256"
sources = [{ mirror = "toy/{path}" }, { url = "https://x.org/{path}" }]
"""


def read(text: str, listing: str | None = None) -> Manifest:
    def beside(name: str) -> str:
        if listing is None:
            raise FileNotFoundError(name)
        return listing

    return parse(text, "toy.toml", beside)


def test_a_good_manifest_becomes_a_value() -> None:
    m = read(HEAD + FILE)
    assert (m.name, m.licence, m.citation, m.simulated) == ("toy", "CC0-1.0", ("nobody",), False)
    (file,) = m.files
    assert (file.path, file.sha256, file.size) == ("a/b.bin", HASH, 3)
    assert file.sources == (Mirror("toy/b.bin"), Package("p", "1.0", "p/b.bin"), Url("https://x.org/b"))
    assert m.by_path == {"a/b.bin": file}
    assert m == read(HEAD + FILE)


def test_a_template_has_one_file_per_line_of_its_list() -> None:
    m = read(HEAD + FILE + TEMPLATE, f"{HASH}  S1/x.edf\n{HASH[::-1]}  S2/y.edf\n")
    assert [file.path for file in m.files] == ["a/b.bin", "S1/x.edf", "S2/y.edf"]
    assert m.files[2].sha256 == HASH[::-1]
    assert m.files[2].sources == (Mirror("toy/S2/y.edf"), Url("https://x.org/S2/y.edf"))


def test_the_archive_itself_may_be_the_file() -> None:
    text = HEAD + FILE.replace('file = "p/b.bin"', 'file = ".", sdist = true')
    assert read(text).files[0].sources[1] == Package("p", "1.0", ".", sdist=True)


def without(key: str) -> str:
    return re.sub(rf"^{key} = (\[$.*?^\]|[^\n]*)$", "", HEAD + FILE, count=1, flags=re.M | re.S)


@pytest.mark.parametrize("key", ["name", "title", "licence", "citation", "sample", "simulated"])
def test_a_missing_field_is_named(key: str) -> None:
    with pytest.raises(ManifestError, match=rf"^toy\.toml: {key} is missing; expected"):
        read(without(key))


@pytest.mark.parametrize("key", ["path", "sha256", "sources"])
def test_a_missing_field_of_a_file_is_named(key: str) -> None:
    with pytest.raises(ManifestError, match=rf"^toy\.toml: file\[0\]\.{key} is missing; expected"):
        read(without(key))


BAD = {
    "other name": ('name = "toy"', 'name = "tool"', r"toy\.toml: name = 'tool' must be the file's name"),
    "empty text": ('title = "A toy"', 'title = " "', r"title must be a text, got an empty text"),
    "wrong kind": ("simulated = false", 'simulated = "no"', r"simulated must be true or false, got 'no'"),
    "no citation": ('["nobody"]', "[]", r"citation must be a list of texts"),
    "citation of numbers": ('["nobody"]', "[2004]", r"citation must be a list of texts .*\[2004\]"),
    "typing error": ('licence = "', 'license = "', r"license is not a known field; possible: .*licence"),
    "short hash": (HASH, HASH[:-1], r"file\[0\]\.sha256 must have 64 hexadecimal digits, got 63"),
    "not a hash": (HASH, HASH[:-1] + "g", r"file\[0\]\.sha256 must be lower-case hexadecimal"),
    "upper case": (HASH, HASH.upper(), r"file\[0\]\.sha256 must be lower-case hexadecimal"),
    "size in text": ("size = 3", 'size = "3"', r"file\[0\]\.size must be a number of bytes, got '3'"),
    "size is true": ("size = 3", "size = true", r"file\[0\]\.size must be a number of bytes, got True"),
    "size below zero": ("size = 3", "size = -3", r"file\[0\]\.size must be a number of bytes, got -3"),
    "path leaves": ('"a/b.bin"', '"../x"', r"file\[0\]\.path = '\.\./x' is not a safe path: it leaves"),
    "path absolute": (
        '"a/b.bin"',
        '"/etc/x"',
        r"file\[0\]\.path = '/etc/x' is not a safe path: it is absolute",
    ),
    "mirror leaves": (
        '"toy/b.bin"',
        '"toy/../../x"',
        r"file\[0\]\.sources\[0\]\.mirror = .* is not a safe path: it leaves",
    ),
    "member leaves": ('"p/b.bin"', '"../b"', r"file\[0\]\.sources\[1\]\.file = .* is not a safe path"),
    "unknown source": (
        "mirror =",
        "torrent =",
        r"file\[0\]\.sources\[0\] must have exactly one of .*; got torrent",
    ),
    "two in one": (
        '{ mirror = "toy/b.bin" }',
        '{ mirror = "b", url = "https://x.org" }',
        r"sources\[0\] must have exactly one of mirror, package, url; got mirror, url",
    ),
    "source is text": (
        '{ mirror = "toy/b.bin" }',
        '"b.bin"',
        r"sources\[0\] must have exactly one .* 'b\.bin'",
    ),
    "no version": ('version = "1.0", ', "", r"sources\[1\]\.version is missing"),
    "a range": ('"1.0"', '">=1.0"', r"sources\[1\]\.version = '>=1\.0' is not one exact version"),
    "an option": ('package = "p"', 'package = "--pre"', r"sources\[1\]\.package = '--pre' is not the name"),
    "scheme": ("https://x.org/b", "file:///etc/x", r"sources\[2\]\.url = .* must begin with one of http:"),
    "not TOML": ("[[file]]", "[[file", r"^toy\.toml: not a TOML file: "),
    "generator of real data": (
        "simulated = false",
        'simulated = false\ngenerator = "m"',
        r"generator is given, so `simulated` must be true",
    ),
}


@pytest.mark.parametrize(("old", "new", "message"), BAD.values(), ids=BAD)
def test_a_bad_field_is_named(old: str, new: str, message: str) -> None:
    assert old in HEAD + FILE
    with pytest.raises(ManifestError, match=message) as caught:
        read((HEAD + FILE).replace(old, new))
    assert str(caught.value).startswith("toy.toml: ")


def test_no_sources_is_refused() -> None:
    text = re.sub(r"^sources = .*?^\]$", "sources = []", HEAD + FILE, flags=re.M | re.S)
    with pytest.raises(ManifestError, match=r"file\[0\]\.sources must not be empty"):
        read(text)


def test_paths_are_unique_whatever_their_case() -> None:
    with pytest.raises(ManifestError, match=r"lists the path 'A/b\.bin' more than once"):
        read(HEAD + FILE + FILE.replace("a/b.bin", "A/b.bin"))


def test_a_set_without_files_must_be_simulated() -> None:
    with pytest.raises(ManifestError, match="must be simulated and name its generator"):
        read(HEAD)
    made = read(HEAD.replace("false", "true") + 'generator = "some.module"')
    assert made.files == ()
    assert made.generator == "some.module"


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        (None, r"^toy\.toml: template\[0\]\.checksums = 'toy\.sha256' cannot be read beside the manifest"),
        (f"{HASH}  ok.edf\n{HASH[1:]}  x.edf\n", r"^toy\.sha256: line 2: must have 64"),
        (f"{HASH}  ../x.edf\n", r"^toy\.sha256: line 1: it leaves its folder"),
        (f"{HASH}\n", r"^toy\.sha256: line 1: has no path"),
        (f"{HASH}  x.edf\n{HASH}  x.edf\n", r"lists the path 'x\.edf' more than once"),
    ],
)
def test_a_bad_list_of_checksums_is_refused(listing: str | None, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read(HEAD + TEMPLATE, listing)


@pytest.mark.parametrize("path", ["..", "a/..", "a//b", "a/./b", ".", "a/", "a\\b", "C:/x", "a\nb", "/a"])
def test_unsafe_paths(path: str) -> None:
    assert unsafe(path)


@given(st.lists(st.text("ab./\\:~ -", max_size=6), min_size=1, max_size=4).map("/".join))
def test_what_is_safe_stays_in_its_folder(path: str) -> None:
    import ntpath
    import posixpath

    if path and unsafe(path) is None:
        for flavour in (posixpath, ntpath):
            joined = flavour.normpath(flavour.join("folder", path))
            assert joined.startswith("folder")
            assert joined != "folder"
