"""A service in a process of its own, and what every test knows of it."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import Process

TOKEN = "t0ken-for-tests"
ROOT = Path(__file__).parent.parent.parent


@dataclass
class Service:
    """A served store: the process, where it listens, the file it keeps, and what it logs."""

    process: Process
    url: str
    path: Path
    log: Path

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Signal the process and wait for its exit status."""
        self.process.send_signal(how)
        self.process.communicate(timeout=30)
        return self.process.returncode


def serve(path: Path, *arguments: str, port: int = 0, main: str = "from gitpod.cli import main; main()") -> Service:
    """Run `gitpod-secrets serve` on a file, and return once it listens."""
    command = [sys.executable, "-c", main, "serve", "--store", f"sqlite:///{path}"]
    log = path.with_name(f"{path.name}.log")
    with log.open("a") as stderr:
        process = Process(
            [*command, "--port", str(port), *arguments],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=os.environ | {"GITPOD_API_KEY": TOKEN},
        )
    assert process.stdout
    line = process.stdout.readline()
    assert line.startswith("export GITPOD_BASE_URL="), log.read_text()
    return Service(process, line.split("=", 1)[1].strip(), path, log)


def role_token(service: Service, role: str, project: str) -> str:
    """Make a token with a role, in a project unless it reaches all."""
    made = ["token", "create", "--store", f"sqlite:///{service.path}", "--role", role]
    projects = [] if role == "admin" else ["--project", project]
    command = [sys.executable, "-c", "from gitpod.cli import main; main()", *made, *projects]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
