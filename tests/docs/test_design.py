"""The pages name what there is: files, folders and headings."""

import re
from pathlib import Path

import pytest
from tests.support import pages
from tests.support.service import ROOT

DESIGN = pages.text("design")
FOLDERS = ["bench", "docs", "examples", "gen", "interop", "proto", "proto-imports", "src", "tests", "tools"]
NAMES = [f"/{path.relative_to(ROOT)}/" for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
PACKAGES = [ROOT / "src/gitpod", ROOT / "src/gitpod/server", ROOT / "src/gitpod/cli"]


@pytest.mark.parametrize("page", ["README.md", *(f"docs/design/{name}.md" for name in pages.ORDER["design"])])
def test_a_page_names_files_that_exist(page: str) -> None:
    """By their path, or the end of it."""
    named = re.findall(r"`([\w./]+(?:\.py|\.proto|\.md|/))`", (ROOT / page).read_text())
    names = [*NAMES, *(f"/{each}/" for each in [*FOLDERS, *pages.PAGES])]
    assert [each for each in named if not any(name.endswith(f"/{each.rstrip('/')}/") for name in names)] == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_the_design_page_names_every_room(package: Path) -> None:
    """Each module and folder of the package."""
    rooms = [f"{path.name}/" if path.is_dir() else path.name for path in package.iterdir() if path.name[:2] != "__"]
    assert [room for room in rooms if f"`{room}`" not in DESIGN and room != "py.typed"] == []


@pytest.mark.parametrize("page", pages.PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """To a file, and to a heading in it."""
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", (ROOT / page).read_text()):
        name, _, anchor = target.partition("#")
        file = folder / name if name else ROOT / page
        assert file.exists(), target
        assert not anchor or anchor in pages.anchors(file), target


def test_every_page_is_in_the_order() -> None:
    """So that its blocks are run with those of its folder, and the site has it in its place."""
    known = {*pages.ALONE, *(f"{folder}/{name}" for folder, names in pages.ORDER.items() for name in names)}
    found = {path.relative_to(ROOT / "docs").with_suffix("").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert found == known
