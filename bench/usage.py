"""What a process and its children have used: processor time and memory. Needs Linux."""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Used(NamedTuple):
    """Seconds of processor time since the start; `system` is the part that the kernel had."""

    cpu: float
    system: float


def used(pid: int) -> Used:
    """What a process and its children have used until now, threads that have ended included."""
    found = [_used(each) for each in family(pid)]
    return Used(sum(each.cpu for each in found), sum(each.system for each in found))


def memory(pid: int) -> float:
    """MiB of memory that a process and its children have, and share with no other."""
    kib = 0
    for each in family(pid):
        lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        kib += sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
    return kib / 1024


def family(pid: int) -> list[int]:
    """The process and its children, theirs too."""
    found = [pid]
    # They may end meanwhile.
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += family(int(child))
    return found


def _used(pid: int) -> Used:
    # The id of a process's own clock, as the kernel makes it of the process's id (clock_getcpuclockid(3)). It has
    # nanoseconds; /proc/PID/stat has hundredths of a second, but knows the kernel's part.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Used(time.clock_gettime(~pid << 3 | 2), int(fields[12]) / os.sysconf("SC_CLK_TCK"))
