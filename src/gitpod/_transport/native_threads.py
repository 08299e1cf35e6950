"""The threads that pyqwest runs: lost in a forked process, and about to be lost where the interpreter ends."""

import atexit
import os
import sys
from functools import cache
from pathlib import Path
from time import monotonic, sleep

from pyqwest import HTTPTransport

from gitpod._transport.failures import ending
from gitpod._transport.threads import is_ending

TOKIO = "tokio"
"""What the names of the threads begin with."""

ENOUGH_CALM, LONGEST_SETTLING = 3, 0.1
"""How many checks in a row must find pyqwest's threads at rest at exit, and the most seconds for all checks."""

LONGEST_START = 0.2
"""Seconds until pyqwest's threads must be there once a transport was made."""

_checked: tuple[int, bool] | None = None
"""The process in which pyqwest was first used by this package, and whether it worked there."""


def is_usable() -> bool:
    """Whether pyqwest works in this process: not in one that was forked after pyqwest had been used, by whomever.

    Its threads do not survive a fork, and every later call would wait for them for ever.
    """
    global _checked  # noqa: PLW0603 # a fact of the process
    if _checked is None:
        _checked = os.getpid(), _has_threads()
    pid, works = _checked
    return works and pid == os.getpid()


def refuse_at_the_end() -> None:
    """Raise `NotSentError` where the answer of pyqwest's threads would not arrive, as the interpreter is ending."""
    if sys.is_finalizing():
        raise ending("the threads of pyqwest")


def _has_threads() -> bool:
    """Whether pyqwest has its threads once a transport was made. True on systems without /proc, which cannot tell."""
    before = threads()
    # With OpenTelemetry on, as here by default, a transport starts them at once; else at its first request.
    HTTPTransport()
    deadline = monotonic() + LONGEST_START
    while before is not None and monotonic() < deadline:
        now = threads() or {}
        if any(name.startswith(TOKIO) for name in now.values()) or now.keys() - before.keys():
            return True
        sleep(0.001)
    return before is None


def threads() -> dict[Path, str] | None:
    """The names of the process's threads by their folders in /proc; None where there is no such thing."""
    folder = Path("/proc/self/task")
    return {task: _name(task) for task in folder.iterdir()} if folder.is_dir() else None


def _name(task: Path) -> str:
    try:
        return (task / "comm").read_text()
    except OSError:
        # It has ended meanwhile.
        return ""


@cache
def settle_at_exit() -> None:
    """Wait for pyqwest's threads before the interpreter is finalized.

    One that wakes an event loop after that aborts the process: 1 to 5 of 60 short programs did, and with a fixed
    5 ms still 1 of 150 on a busy machine.
    """
    atexit.register(_settle)


def settle_late() -> None:
    """Wait for pyqwest's threads after a call that came while the interpreter ends, maybe after `_settle`."""
    if is_ending():
        _settle()


def _settle() -> None:
    # Without /proc a fixed time has to do.
    tasks = [task for task, name in (threads() or {}).items() if name.startswith(TOKIO)]
    calm, deadline = 0, monotonic() + LONGEST_SETTLING
    while calm < ENOUGH_CALM and monotonic() < deadline:
        # Those that wait for the interpreter's lock get it meanwhile.
        sleep(0.002)
        try:
            # One that would run, if the machine let it, is not done.
            running = any((task / "stat").read_text().rpartition(") ")[2].startswith("R") for task in tasks)
        except OSError:
            # One that has just ended.
            running = True
        calm = 0 if running else calm + 1
