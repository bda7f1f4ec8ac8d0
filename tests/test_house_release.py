"""What the front page promises is there: versions agree, the commands exist, the README's example runs."""

import re
import tomllib
from pathlib import Path

import pytest

import sciexplain

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def read(name):
    return (ROOT / name).read_text("utf-8")


def blocks(markdown, language):
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", markdown, re.MULTILINE | re.DOTALL)


def names_in(requirements):
    return {re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in requirements}


def test_versions_agree():
    cited = re.search(r"^version: (\S+)$", read("CITATION.cff"), re.MULTILINE)[1]
    assert PROJECT["version"] == sciexplain.__version__ == cited


def test_every_direct_dependency_is_pinned():
    lines = [line for line in read("constraints.txt").splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-.]+==[\w.]+", line) for line in lines)  # no hash, host or local version
    extras = PROJECT["optional-dependencies"]
    pinned = [*extras["dev"], *extras["eeg"], *extras["scale"], *extras["images"]]
    wanted = names_in([*PROJECT["dependencies"], *pinned])
    assert wanted - {"sciexplain"} <= names_in(lines)
    assert "torch==2.13.0" in lines


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md"])
def test_make_targets_and_links_exist(file):
    targets = set(re.findall(r"^([a-z][a-z-]*):", read("Makefile"), re.MULTILINE))
    mentioned = set(
        re.findall(r"\bmake ([a-z]+)\b(?=[ `\n;,])", "\n".join(re.findall(r"`+[^`]+`+", read(file))))
    )
    assert mentioned
    assert mentioned <= targets
    links = [link for link in re.findall(r"\]\(([^)]+)\)", read(file)) if "://" not in link]
    assert all((ROOT / link).exists() for link in links)


def test_the_cited_papers_have_a_doi():
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["cff-version"] == "1.2.0"
    assert len(citation["references"]) == 8
    assert all(re.fullmatch(r"10\.\d{4,}/\S+", paper["doi"]) for paper in citation["references"])


def test_the_example_of_the_readme_runs(capsys):
    import matplotlib.pyplot as plt

    example = blocks(read("README.md"), "python")[0]
    exec(compile(example, "README.md", "exec"), {"__name__": "readme"})
    plt.close("all")
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("left", "right", "rest", "mu", "beta"))
