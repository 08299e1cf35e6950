"""The pages name what there is: files, folders and headings."""

import re
from pathlib import Path

import pytest
from tests.support.service import ROOT

DESIGN = (ROOT / "docs/design.md").read_text()
FOLDERS = ["bench", "docs", "examples", "gen", "interop", "proto", "proto-imports", "src", "tests", "tools"]
NAMES = [f"/{path.relative_to(ROOT)}/" for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
PACKAGES = [ROOT / "src/gitpod", ROOT / "src/gitpod/server", ROOT / "src/gitpod/cli"]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", ["README.md", "docs/design.md"])
def test_a_page_names_files_that_exist(page: str) -> None:
    """By their path, or the end of it."""
    named = re.findall(r"`([\w./]+(?:\.py|\.proto|\.md|/))`", (ROOT / page).read_text())
    assert named
    names = [*NAMES, *(f"/{each}/" for each in [*FOLDERS, *PAGES])]
    assert [each for each in named if not any(name.endswith(f"/{each.rstrip('/')}/") for name in names)] == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_the_design_page_names_every_room(package: Path) -> None:
    """Each module and folder of the package."""
    rooms = [f"{path.name}/" if path.is_dir() else path.name for path in package.iterdir() if path.name[:2] != "__"]
    assert [room for room in rooms if f"`{room}`" not in DESIGN and room != "py.typed"] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """To a file, and to a heading in it."""
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", (ROOT / page).read_text()):
        name, _, anchor = target.partition("#")
        file = folder / name if name else ROOT / page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target
