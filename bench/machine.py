"""The machine that the bench ran on, and what it had to do besides."""

import os
import platform
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

BUSY = 0.5
"""The load above which a machine is not idle."""

OWN = (
    "connectrpc",
    "protobuf-py",
    "pyqwest",
    "uvicorn",
    "uvloop",
    "httptools",
    "SQLAlchemy",
    "cryptography",
    "psycopg",
)
"""What the numbers of the client and the service depend on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the numbers depend on.

    Attributes:
        date: in UTC.
        load: the load averages of one minute, before the first line and after the last.
        own: what the client and the service run on, with versions.
        peers: the packages of each environment, with their versions.
    """

    date: str
    form: str
    processors: int
    processor: str
    memory: int
    system: str
    python: str
    load: tuple[float, float]
    own: list[str]
    peers: dict[str, list[str]]

    @property
    def is_busy(self) -> bool:
        """Whether something else ran when the bench began."""
        return self.load[0] > BUSY


def described(form: str, load_before: float, peers: dict[str, list[str]]) -> Machine:
    """This machine, now that the bench has run."""
    return Machine(
        date=time.strftime("%Y-%m-%d", time.gmtime()),
        form=form,
        processors=len(os.sched_getaffinity(0)),
        processor=_after("/proc/cpuinfo", "model name"),
        memory=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        system=f"{platform.system()} {platform.release().partition('-')[0]}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        load=(load_before, load()),
        own=[f"{name} {version(name)}" for name in OWN],
        peers=peers,
    )


def load() -> float:
    """The load average of the last minute."""
    return round(os.getloadavg()[0], 2)


def _after(file: str, name: str) -> str:
    """The first value of a name in a file of the kernel's."""
    lines = (line.partition(":") for line in Path(file).read_text().splitlines())
    return next((found.strip() for key, _, found in lines if key.strip() == name), platform.machine())
