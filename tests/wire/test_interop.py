"""Programs in other languages call the service: `make interop`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from interop import KNOWN, Result
from languages import LANGUAGES
from tests.support.service import ROOT


def interop(asked: str, search: str) -> subprocess.CompletedProcess[str]:
    """`make interop LANGS=…` with a search path."""
    command = [sys.executable, str(ROOT / "tools/interop.py"), asked]
    return subprocess.run(
        command, env=os.environ | {"PATH": search}, capture_output=True, text=True, check=False, timeout=600
    )


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("go"), reason="go is not installed")
@pytest.mark.skipif(not os.access(ROOT, os.W_OK), reason="the checkout, where stubs are made, cannot be written to")
def test_go_agrees_with_the_service() -> None:
    """In each protocol and codec that connect-go and grpc-go speak, but for what is known; and on the vectors."""
    if subprocess.run(["go", "mod", "download"], cwd=ROOT / "interop/go", check=False).returncode:
        pytest.skip("the libraries of Go cannot be downloaded")
    done = interop("go", os.environ["PATH"])
    assert done.returncode == 0, done.stdout + done.stderr
    known = sum(library.endswith("-go") for library, _, _ in KNOWN)
    assert f"10 passed, 0 failed, {known} known to fail\n" in done.stdout


LACKING = [
    f"{name}: left out, as this machine lacks {', '.join(language.programs)}\n" for name, language in LANGUAGES.items()
]


@pytest.mark.parametrize(
    ("asked", "status", "text"),
    [
        ("", 0, "".join(LACKING) + "0 passed, 0 failed, 0 known to fail\n"),
        ("go", 1, "go: left out, as this machine lacks go\n"),
        ("go,cobol", 1, "no such language: cobol; there is go"),
    ],
)
def test_what_cannot_run_is_named(tmp_path: Path, asked: str, status: int, text: str) -> None:
    """It is an error only where it was asked for."""
    done = interop(asked, str(tmp_path))
    assert done.returncode == status
    assert text in done.stdout + done.stderr


@pytest.mark.parametrize("result", ["ok", "create: internal"])
def test_a_known_failure_that_passes_is_an_error(result: str) -> None:
    """So the list does not outlive its reasons."""
    for known in KNOWN:
        assert Result(*known, result).is_expected == (result != "ok")
    assert Result("a library", "a protocol", "binary", result).is_expected == (result == "ok")
