"""The pages lead where they say, and their examples are valid."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

from globaltx.manifest.policy import read_policy

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/*.md")],
    key=str,
)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_BLOCK = re.compile(r"```yaml\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(page.read_text()):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        found = page.parent / name if name else page
        assert found.exists(), f"{page.name} leads to {target}"
        if anchor:
            assert anchor in _anchors(found), f"{page.name} leads to {target}"


def _anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"]({page.name})" in index, f"{page.name} is not in docs/index.md"


def test_the_policies_of_the_pages_are_valid() -> None:
    found = 0
    for page in PAGES:
        for block in _BLOCK.findall(page.read_text()):
            for manifest in yaml.safe_load_all(block):
                if isinstance(manifest, dict) and manifest.get("kind") == "TransactionPolicy":
                    read_policy(manifest)
                    found += 1
    assert found, "no page shows a policy"


def test_the_picture_is_well_formed_and_tells_what_it_shows() -> None:
    picture = ET.parse(ROOT / "docs" / "architecture.svg").getroot()  # noqa: S314  our own file
    space = "{http://www.w3.org/2000/svg}"
    assert picture.find(f"{space}title") is not None
    assert picture.find(f"{space}desc") is not None
