"""The pages for contributors name what there is."""

import re

import pytest
from tests.support.service import ROOT

PAGES = ["CONTRIBUTING.md", "RELEASE.md", "SECURITY.md"]
MAKEFILE = (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("page", PAGES)
def test_every_target_exists(page: str) -> None:
    """Each `make target` is one of the Makefile's."""
    named = re.findall(r"(?:`|^)make ([a-z]+)", (ROOT / page).read_text(), flags=re.MULTILINE)
    targets = re.findall(r"^([a-z ]+):", MAKEFILE, flags=re.MULTILINE)
    assert set(named) <= set(" ".join(targets).split())


@pytest.mark.parametrize("page", PAGES)
def test_every_path_exists(page: str) -> None:
    """Each file and folder of this repository that the page names."""
    named = re.findall(r"`((?:src|tests|docs|proto|gen|\.ci)/[\w./]*)", (ROOT / page).read_text())
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
