"""What `make conformance` takes and says. `.ci/run` runs it beside no tests, as its deadlines are short."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conformance import FOLDER, WAYS
from tests.support.service import ROOT


@pytest.mark.parametrize(
    ("asked", "status", "text"),
    [
        ([], 0, "conformance: left out, as this machine lacks go\n"),
        (["client"], 1, "conformance: left out, as this machine lacks go\n"),
        (["cient"], 1, "no such side: cient; there is client and server\n"),
        (["client", "cobol"], 1, "no such way: cobol; there is sync, async, "),
    ],
)
def test_what_cannot_run_is_named(tmp_path: Path, asked: list[str], status: int, text: str) -> None:
    """It is an error only where it was asked for."""
    command = [sys.executable, str(ROOT / "tools/conformance.py"), *asked]
    environment = os.environ | {"PATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, text in done.stdout + done.stderr) == (status, True)


def test_each_way_has_its_features() -> None:
    """And each file of features its way."""
    named = {f"{features}.yaml" for ways in WAYS.values() for features in ways.values()}
    assert named == {path.name for path in FOLDER.glob("*.yaml")} - {"buf.gen.yaml"}


def test_each_known_failure_has_its_reason() -> None:
    """In a comment above it."""
    lists = [path.read_text() for path in FOLDER.glob("known-failing-*.txt")]
    assert lists
    assert [text for text in lists if not re.fullmatch(r"((# .+\n)+[^#\n]+\n)+", text)] == []
