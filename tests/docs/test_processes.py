"""A test run leaves no process behind, and does the same in the background, as `CONTRIBUTING.md` says."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.processes import Process
from tests.support.service import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="environments are read from /proc")

RUN = """
import subprocess, sys
from tests.support.processes import contained
with contained():
    left = subprocess.Popen(sys.argv[1:], start_new_session=True)
    print(left.pid, flush=True)
    sys.stdin.readline()
"""
SLEEP = ["sleep", "1000"]
STOPPED = ["sh", "-c", "kill -STOP $$"]
ORPHAN = ["sh", "-c", "sleep 1000 & sleep 1000"]
INTERRUPTED = [sys.executable, "-c", "import signal; print(signal.getsignal(signal.SIGINT), flush=True)"]


def start(*command: str) -> Process:
    """Run a program that starts this command in a block of `contained()`, and waits for a line."""
    pipe = subprocess.PIPE
    arguments = [sys.executable, "-c", RUN, *command]
    return Process(arguments, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def first_line(run: Process) -> str:
    """What the program prints first."""
    assert run.stdout
    return run.stdout.readline().strip()


def is_gone(pid: int) -> bool:
    """Whether a process has ended; its parent, or whoever took it over, may not have waited for it yet."""
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("command", [SLEEP, STOPPED, ORPHAN], ids=["asleep", "stopped", "with an orphan"])
def test_what_outlives_a_run_is_named_and_killed(command: list[str]) -> None:
    """By its command, and the test that started it."""
    run = start(*command)
    pid = int(first_line(run))
    _, err = run.communicate("\n", timeout=60)
    assert run.returncode == 1
    assert f"{pid}: {' '.join(command)}" in err
    assert f"PYTEST_CURRENT_TEST={os.environ['PYTEST_CURRENT_TEST']}" in err
    assert is_gone(pid)


@pytest.mark.parametrize("command", [SLEEP, STOPPED, ORPHAN], ids=["asleep", "stopped", "with an orphan"])
def test_a_killed_run_takes_its_processes_with_it(command: list[str]) -> None:
    """Its end of a pipe is closed by whatever ends it, and the guard at the other end acts."""
    run = start(*command)
    pid = int(first_line(run))
    run.kill()
    # Standard error is the guard's and the command's too: it ends with the last of them.
    run.communicate(timeout=60)
    assert is_gone(pid)


def test_children_of_a_run_in_the_background_can_be_interrupted() -> None:
    """Where the shell ignores SIGINT for the run."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run = start(*INTERRUPTED)
    finally:
        signal.signal(signal.SIGINT, before)
    first_line(run)
    assert "default_int_handler" in first_line(run)
    assert run.communicate("\n", timeout=60) == ("", "")


def test_the_quick_run_says_what_it_left_out() -> None:
    """In one line, with the number of tests and the way to run them."""
    one = "tests/cli/test_help.py::test_help_loads_nothing_heavy"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--quick", one]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert "\ntests left out, as they start a process: 1; `make test` runs them\n" in shown
    assert "skipped" not in shown
