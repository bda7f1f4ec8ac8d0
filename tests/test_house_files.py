"""Every tracked file is small, and names no machine."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 1024 * 1024  # bytes
LINES = {"sciexplain": 450, "tests": 500}  # one idea a file; tests hold tables of cases

# Written with brackets, so that this file does not find itself.
MACHINE = [
    ("a home folder", r"/(?:home|Users|root)/\w|[A-Z]:\\+Users\\"),
    ("a working folder", r"/work[/](main|shared)\b"),
    (
        "a package registry",
        r"pypi[.]org|python[h]osted|registry[.]npmjs|download[.]pytorch|deb[.]debian[.]org",
    ),
]


def tracked():
    """Every file under version control, as paths."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def complaints(name, content):
    """What is wrong with one file."""
    found = []
    if len(content) > LARGEST:
        found.append(f"{name}: {len(content):,} bytes, at most {LARGEST:,}; name its source in a manifest")
    for what, pattern in MACHINE:
        if match := re.search(pattern.encode(), content):
            line = content[: match.start()].count(b"\n") + 1
            found.append(f"{name}:{line}: {what}: {match[0].decode()}")
    limit = LINES.get(Path(name).parts[0], LINES["sciexplain"])
    if name.endswith(".py") and (lines := content.count(b"\n")) > limit:
        found.append(f"{name}: {lines} lines, at most {limit}; split it by ideas")
    return found


def test_tracked_files_are_small_and_name_no_machine():
    files = tracked()
    assert ROOT / "pyproject.toml" in files
    wrong = [
        text for path in files for text in complaints(path.relative_to(ROOT).as_posix(), path.read_bytes())
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("a.npy", bytes(LARGEST + 1), "bytes"),
        ("a.py", "x\n@home@ada@data", "a.py:2: a home folder"),
        ("a.toml", r"C:\User~s\ada", "home folder"),
        ("a.sh", "cd @work@main", "working folder"),
        ("a.md", "https:@@pyp~i.org@simple", "registry"),
        ("sciexplain/a.py", b"\n" * 451, "451 lines, at most 450"),
        ("tests/a.py", b"\n" * 501, "501 lines, at most 500"),
    ],
)
def test_each_complaint_can_be_made(name, content, word):
    if isinstance(content, str):  # disguised: these lines must not be found in this file
        content = content.replace("@", "/").replace("~", "").encode()
    (complaint,) = complaints(name, content)
    assert word in complaint


def test_an_ordinary_file_is_accepted():
    assert complaints("sciexplain/a.py", b"x = 'https://physionet.org/files'\n" * 400) == []
