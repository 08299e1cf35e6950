"""docs/tutorial.md, followed from its first block to its last."""

import subprocess
from itertools import pairwise
from pathlib import Path

from tests.support import pages
from tests.support.desk import BLOCK
from tests.support.service_guide import Block, Reader

BLOCKS = [*BLOCK.findall(pages.page("tutorial")), ("", "")]


def test_it_does_what_it_says(tmp_path: Path) -> None:
    """Each block prints what is below it, if anything is; the service ends well."""
    with Reader(tmp_path, {}) as reader:
        for (language, code), (following, shown) in pairwise(BLOCKS):
            printed = reader.follow([Block("tutorial", "", language, code)])
            if following == "text":
                assert printed == shown, code
        reader.stop()
        assert (tmp_path / "ci.token").stat().st_mode & 0o077 == 0
        assert "permission_denied" in (tmp_path / "refused").read_text()


def test_what_is_not_run_can_be_read() -> None:
    """The blocks that install the package."""
    assert {language for language, _ in BLOCKS} == {"shell", "sh", "text", ""}
    for language, code in BLOCKS:
        if language == "shell":
            subprocess.run(["sh", "-n"], input=code, text=True, check=True)
