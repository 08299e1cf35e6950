"""The processes of this machine, and the account that runs one."""

import os
import pwd
import signal
import subprocess
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypedDict


class Account(TypedDict):
    """Who runs a program, as arguments of `subprocess.Popen`; None stands for the user of this process."""

    user: int | None
    group: int | None
    extra_groups: list[int] | None


def account() -> Account:
    """Who runs PostgreSQL, which refuses to be run by root."""
    if os.getuid() != 0:
        return {"user": None, "group": None, "extra_groups": None}
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            found = pwd.getpwnam(name)
            return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    raise RuntimeError("PostgreSQL does not run as root, and there is no account to run it by")


def processes() -> list[tuple[int, int, str]]:
    """Each process's id, its parent's, and a letter for its state."""
    if not Path("/proc/self/stat").exists():
        listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,state="], capture_output=True, text=True, check=True)
        rows = [line.split() for line in listed.stdout.splitlines()]
        return [(int(pid), int(parent), state[0]) for pid, parent, state in rows]
    found: list[tuple[int, int, str]] = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        # It may end meanwhile. Its name, in parentheses, may hold anything.
        with suppress(FileNotFoundError, ProcessLookupError):
            state, parent, *_ = file.read_text(errors="replace").rpartition(")")[2].split()
            found.append((int(file.parent.name), int(parent), state))
    return found


def in_folder(folder: Path) -> list[int]:
    """The ids of the processes whose current folder it is, such as all of a PostgreSQL's in its data. Needs /proc."""
    found: list[int] = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        # It may end meanwhile, or belong to another user.
        with suppress(OSError):
            if link.readlink() == folder:
                found.append(int(link.parent.name))
    return found


def family(pid: int) -> list[int]:
    """A process and its children, the parent first."""
    return [pid, *(child for child, parent, _ in processes() if parent == pid)]


@contextmanager
def paused(pids: Iterable[int]) -> Generator[None]:
    """A block in which processes do not go on, and keep what they hold: sockets, locks, memory."""
    stopped: list[int] = []
    try:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                stopped.append(pid)
        yield
    finally:
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
