"""Each method and measure has its page, each page its sections and an example that its numbers come from."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("methods/*.md"), *DOCS.glob("measures/*.md")])
SECTIONS = ["Equation", "What it answers", "What it does not", "When it misleads", "How to call it", "Source"]
SHARED = {"smooth_grad": {"var_grad", "gradient"}}  # one page for several


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_sections_and_example(page):
    text = page.read_text("utf-8")
    found = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert [s for s in SECTIONS if not any(f.startswith(s) for f in found)] == []
    example = DOCS / "examples" / f"{page.stem}.py"
    assert example.exists()
    assert f"python docs/examples/{page.stem}.py" in text


def test_every_method_has_a_page():
    from sciexplain.methods import METHODS, WITH_SETTINGS

    names = set(METHODS) | set(WITH_SETTINGS)
    have = {p.stem for p in PAGES}
    covered = have | {also for page in have for also in SHARED.get(page, ())}
    assert sorted(names - covered) == []


def test_every_measure_has_a_page():
    import sciexplain as sx
    from sciexplain import evaluation

    public = {name for name in evaluation.__all__ if name in sx.__all__ and name.islower()}
    elsewhere = {"randomise_layers", "product_structure"}  # of the sanity check; of the core
    assert sorted(public - elsewhere - {p.stem for p in PAGES}) == []


@pytest.mark.parametrize(
    "page",
    sorted([ROOT / "README.md", *DOCS.rglob("*.md"), *ROOT.glob("case_studies/*/*.md")]),
    ids=lambda p: p.stem,
)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8"))
    local = [link for link in links if not link.startswith(("http:", "https:", "mailto:"))]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_every_picture_is_shown():
    text = "".join(p.read_text("utf-8") for p in DOCS.rglob("*.md"))
    assert [p.name for p in DOCS.glob("pictures/*.png") if p.name not in text] == []
