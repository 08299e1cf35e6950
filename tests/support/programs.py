"""Programs and commands as a reader of the docs runs them."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.service import TOKEN


def run(*command: str, cwd: Path | None = None, **environment: str) -> str:
    """Run a command, and return what it printed."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "GITPOD_API_KEY": TOKEN,
        **environment,
    }
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
