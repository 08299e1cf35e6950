"""The blocks of docs/how-to/."""

import re

from tests.support import pages
from tests.support.desk import BLOCK, Desk

NAMED = re.compile(r"# (\w+\.py)\n")
"""The first line of a block that is a file."""


def blocks(page: str, language: str, heading: str = "") -> list[str]:
    """The blocks of a page in a language, or those under one heading."""
    text = pages.page(f"how-to/{page}")
    if heading:
        [text] = [part for part in text.split("\n## ") if part.startswith(heading)]
    return [code for found, code in BLOCK.findall(text) if found == language]


def write_files(desk: Desk, page: str) -> None:
    """Write the files that a page shows."""
    for code in blocks(page, "python"):
        if named := NAMED.match(code):
            (desk.folder / named[1]).write_text(desk.own(code))
