"""Programs in other languages call the service: `make interop`."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from interop import Result
from languages import LANGUAGES
from tests.support.other_servers import made
from tests.support.service import ROOT


def interop(asked: str, search: str) -> subprocess.CompletedProcess[str]:
    """`make interop LANGS=…` with a search path."""
    command = [sys.executable, str(ROOT / "tools/interop.py"), asked]
    return subprocess.run(
        command, env=os.environ | {"PATH": search}, capture_output=True, text=True, check=False, timeout=600
    )


@pytest.mark.slow
@pytest.mark.parametrize(("language", "lines"), [("go", 11), ("typescript", 16), ("java", 3), ("rust", 12)])
def test_a_language_agrees_with_the_service(language: str, lines: int) -> None:
    """In each protocol and codec that its libraries speak, and on the vectors."""
    made(language)
    done = interop(language, os.environ["PATH"])
    assert done.returncode == 0, done.stdout + done.stderr
    if "left out" in done.stdout:
        pytest.skip("a part was left out")
    assert done.stdout.endswith(f"\n{lines} passed, 0 failed\n"), done.stdout


@pytest.mark.slow
def test_node_is_enough_for_typescript(tmp_path: Path) -> None:
    """The matrix names what Chromium would do, and passes."""
    made("typescript")
    for program in ("node", "npm", "git"):
        (tmp_path / program).symlink_to(str(shutil.which(program)))
    done = interop("typescript", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search("^connect-web .* left out: chromium is not installed$", done.stdout, re.MULTILINE)


LACKING = [
    f"{name}: left out, as this machine lacks {', '.join(language.programs)}\n" for name, language in LANGUAGES.items()
]


@pytest.mark.parametrize(
    ("asked", "status", "text"),
    [
        ("", 0, "".join(LACKING) + "0 passed, 0 failed\n"),
        ("go", 1, "go: left out, as this machine lacks go\n"),
        ("go,cobol", 1, "no such language: cobol; there is go"),
    ],
)
def test_what_cannot_run_is_named(tmp_path: Path, asked: str, status: int, text: str) -> None:
    """It is an error only where it was asked for."""
    done = interop(asked, str(tmp_path))
    assert done.returncode == status
    assert text in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("result", "is_expected"),
    [("ok", True), ("left out: chromium is not installed", True), ("create: internal", False)],
)
def test_what_fails_is_an_error(result: str, *, is_expected: bool) -> None:
    """And what the machine lacks is none."""
    assert Result("a library", "a protocol", "binary", result).is_expected is is_expected
