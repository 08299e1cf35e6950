"""A service that lists what no service should: nothing of it becomes shell code, a variable or a terminal's command."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from gitpod import Gitpod

PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
COMMAND = [sys.executable, "-c", "from gitpod.cli import main; main()"]
NAMES = ["X1;touch PWN", "X1\ntouch PWN", "X1\x1b]0;own\x07", "9A\ntouch PWN"]


def act(path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command on the store."""
    environment = os.environ | {"GITPOD_BASE_URL": f"sqlite:///{path}", "GITPOD_PROJECT_ID": PROJECT}
    return subprocess.run(
        [*COMMAND, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def listing(folder: Path, name: str) -> Path:
    """A store that lists a secret by this name."""
    path = folder / "s.db"
    honest = "A" * len(name)
    with Gitpod(base_url=f"sqlite:///{path}") as client:
        client.secrets.create(name=honest, value="v", project_id=PROJECT, environment_variable=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        [[record]] = connection.execute("SELECT record FROM secrets").fetchall()
        changed = record.replace(honest.encode(), name.encode())
        connection.execute("UPDATE secrets SET record = ?", [changed])
    return path


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("arguments", [["export"], ["run", "--", "env"], ["import", os.devnull, "--yes", "--prune"]])
def test_a_name_that_is_none_goes_nowhere(tmp_path: Path, name: str, arguments: list[str]) -> None:
    """The command refuses to go on, in one line that controls nothing."""
    done = act(listing(tmp_path, name), *arguments)
    assert (done.returncode, done.stdout) == (6, "")
    assert "which is not a valid name of a secret" in done.stderr
    assert done.stderr.startswith("gitpod-secrets: error: ")
    assert not set(done.stderr.replace("\n", "")) & set("\x1b\x07")


@pytest.mark.parametrize("name", NAMES)
def test_a_list_shows_it_without_its_effect(tmp_path: Path, name: str) -> None:
    """On one line, also in JSON."""
    path = listing(tmp_path, name)
    for arguments in (["list"], ["list", "--json"]):
        done = act(path, *arguments)
        assert (done.returncode, done.stdout.count("\n")) == (0, 1)
        assert not set(done.stdout) & set("\x1b\x07")
