"""The processes that a test run starts: they end with it, and signals act on them as by default. Or it starts none."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

VARIABLE = "TEST_RUN_ID"
SECONDS = 5
STARTS_A_PROCESS = "starts a process"

# Its input ends when the test run does, also by SIGKILL. What carries the run's variable by then is killed; a process
# may start another in the meantime, so the guard looks again until it finds none.
GUARD = """
cat >/dev/null
tries=50
while files=$(grep -lszxF "$0" /proc/[0-9]*/environ); [ -n "$files" ] && [ $tries -gt 0 ]; do
  for file in $files; do pid=${file#/proc/}; kill -KILL "${pid%/environ}" 2>/dev/null; done
  tries=$((tries - 1)); sleep 0.1
done
"""


class Process(subprocess.Popen[str]):
    """A process that ends with the last reference to it, as after a test that failed before it stopped the process.

    Otherwise the warning about a process that still runs appears in whichever test is running by then.
    """

    def __del__(self) -> None:
        if getattr(self, "pid", None) is None:  # it did not start
            return
        if self.poll() is None:
            self.kill()
            self.wait()
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe:
                pipe.close()


@contextmanager
def contained() -> Generator[None]:
    """A block that no process outlives which was started in it. Fails the test run, and names those left behind.

    Processes are known by a variable of their environment, which Linux shows in /proc; other systems have no check.
    """
    _stop_ignoring_signals()
    entry = f"{VARIABLE}={uuid.uuid4().hex}"
    # The guard is in a session of its own, which Ctrl-C does not reach, and carries no variable of any run.
    path = {"PATH": os.environ.get("PATH", os.defpath)}
    with subprocess.Popen(["sh", "-c", GUARD, entry], stdin=subprocess.PIPE, env=path, start_new_session=True):
        os.environ[VARIABLE] = entry.partition("=")[2]
        yield
        del os.environ[VARIABLE]
        deadline = time.monotonic() + SECONDS
        while (left := _carrying(entry)) and time.monotonic() < deadline:
            time.sleep(0.05)
        if left:
            pytest.fail("\n".join(["processes outlive the tests that started them:", *left]), pytrace=False)


def forbid() -> None:
    """Skip each test, from now on, at the moment when it starts a process."""
    sys.addaudithook(_skip_at_a_start)


def _skip_at_a_start(event: str, _: object) -> None:
    if event in ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn"):
        pytest.skip(STARTS_A_PROCESS)


def say_what_was_left_out(reporter: pytest.TerminalReporter) -> None:
    """Print one line about the tests that `forbid` skipped, in place of their number in the summary."""
    skipped = reporter.stats.pop("skipped", [])
    left_out = [report for report in skipped if STARTS_A_PROCESS in str(report.longrepr)]
    if others := [report for report in skipped if report not in left_out]:
        reporter.stats["skipped"] = others
    reporter.write_line(f"tests left out, as they start a process: {len(left_out)}; `make test` runs them")


def _stop_ignoring_signals() -> None:
    """Let children start with the default action of each signal that this process ignores.

    A shell ignores SIGINT and SIGQUIT in what it runs in the background, and nohup ignores SIGHUP. A child inherits
    that. It does not inherit a handler, so one that does nothing keeps this process as it is.
    """
    for each in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(each) is signal.SIG_IGN:
            signal.signal(each, _do_nothing)


def _do_nothing(*_: object) -> None:
    pass


def _carrying(entry: str) -> list[str]:
    """The command, and the test that started it, of each process with this entry in its environment."""
    found: list[str] = []
    for folder in Path("/proc").glob("[0-9]*"):
        # A process may end while it is read. Those of other users cannot be read.
        with suppress(OSError):
            environment = (folder / "environ").read_bytes().split(b"\0")
            if entry.encode() in environment:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                tests = [each.decode() for each in environment if each.startswith(b"PYTEST_CURRENT_TEST=")]
                found.append(f"{folder.name}: {command[:200]} {' '.join(tests)}")
    return found


def state(pid: int) -> str:
    """What a process does, as Linux says it: "S" sleeps, "R" runs, "T" is stopped; "S" where nothing tells."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "S"


def until_asleep(pid: int) -> None:
    """Wait until a process has waited for something a while."""
    calm = 0
    while calm < 5:
        time.sleep(0.02)
        calm = calm + 1 if state(pid) == "S" else 0
