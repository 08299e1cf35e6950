"""A service whose clock the test sets."""

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import Process
from tests.support.service import TOKEN

PROGRAM = """
import sys, time
from pathlib import Path
real, step = time.time_ns, Path(sys.argv.pop(1))
time.time_ns = lambda: real() + int(step.read_text())
time.time = lambda: time.time_ns() / 1e9
from gitpod.cli import main
main()
"""
SECOND = 1_000_000_000
YEAR = 365 * 24 * 3600 * SECOND


class Clocked:
    """A served store, and its clock."""

    def __init__(self, store: str, folder: Path, key: Path | None) -> None:
        self._step = folder / "step"
        self.set(0)
        self.log = folder / "clocked.log"
        given = f"file:{key or folder / 'clocked.key'}"
        command = [sys.executable, "-c", PROGRAM, str(self._step), "serve", "--store", store, "--key", given]
        with self.log.open("a") as log:
            self.process = Process(
                [*command, "--port", "0"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | {"GITPOD_API_KEY": TOKEN},
            )
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line.startswith("export GITPOD_BASE_URL="), self.log.read_text()
        self.url = line.split("=", 1)[1].strip()

    def set(self, step: int) -> None:
        """Step the clock to so many nanoseconds before or after the true time."""
        new = self._step.with_suffix(".new")
        new.write_text(str(step))
        new.replace(self._step)


@contextmanager
def clocked(store: str, folder: Path, key: Path | None = None) -> Generator[Clocked]:
    """Serve a store, and stop at the end. The key is in the folder, unless it is another service's too."""
    service = Clocked(store, folder, key)
    try:
        yield service
        service.process.terminate()
        service.process.communicate(timeout=30)
        assert service.process.returncode == 0, service.log.read_text()
    finally:
        service.process.kill()
