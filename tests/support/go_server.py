"""`interop/go/server`: the service in Go, made from the same contract, by connect-go and by grpc-go."""

import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.support.service import ROOT, TOKEN


class GoServer(NamedTuple):
    """Where connect-go listens, and where grpc-go does."""

    connect: str
    grpc: str


def built(folder: Path) -> Path:
    """The program. Skips the test where Go or what it needs cannot be had."""
    if not shutil.which("go"):
        pytest.skip("go is not installed")
    # The copy is built in its own folder, as other tests make stubs at the same time.
    go = folder / "interop/go"
    shutil.copytree(ROOT / "interop/go", go, ignore=shutil.ignore_patterns("gen"))
    path = f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"GOBIN": str(folder / "bin"), "PATH": path}
    installed = subprocess.run(
        ["go", "install", "tool"], cwd=go, env=environment, capture_output=True, text=True, check=False
    )
    if installed.returncode:
        pytest.skip(f"the plugins of Go cannot be installed: {installed.stderr[-200:]}")
    generate = ["buf", "generate", "--template", "interop/go/buf.gen.yaml", "-o", str(folder)]
    subprocess.run(generate, cwd=ROOT, env=environment, check=True)
    subprocess.run(["go", "install", "./server"], cwd=go, env=environment, check=True)
    return folder / "bin/server"


@contextmanager
def serving(program: Path) -> Generator[GoServer]:
    """The servers, for a while. The program ends with its input."""
    environment = os.environ | {"GITPOD_API_KEY": TOKEN}
    with subprocess.Popen(
        [program], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        yield GoServer(*(process.stdout.readline().strip() for _ in range(2)))
