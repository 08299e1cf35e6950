"""The code of docs/sdk/ is run as a reader would run it."""

import sys
from pathlib import Path

from tests.support import pages
from tests.support.desk import BLOCK
from tests.support.programs import run


def blocks(page: str) -> list[str]:
    """The Python of a page."""
    return [code for language, code in BLOCK.findall(pages.page(page)) if language == "python"]


def test_the_calls_run_as_shown() -> None:
    """In a program that has a service in memory."""
    [calls] = blocks("sdk/index")
    assert run(sys.executable, "-c", calls, GITPOD_BASE_URL="sqlite://") == (
        "updated NPM_TOKEN\nNPM_TOKEN /home/gitpod/.npmrc\n********** third\n"
    )


def test_the_test_runs_as_shown(tmp_path: Path) -> None:
    """As a user's own."""
    [test] = blocks("sdk/in-tests")
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["gitpod.testing"]\n')
    (tmp_path / "test_it.py").write_text(test)
    assert "1 passed" in run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path)
