"""A gRPC service of grpcio's in a process of its own (`grpc_program.py`), and stubs made by grpcio-tools."""

import json
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.service import ROOT


@dataclass
class GRPCPeer:
    """A gRPC service in a process of its own."""

    process: subprocess.Popen[str]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def calls(self, call: str) -> list[dict[str, Any]]:
        """The requests that arrived with this `x-call`; waits for the first."""
        for _ in range(1000):
            lines = self.log.read_text().splitlines() if self.log.exists() else []
            if found := [each for each in map(json.loads, lines) if each["headers"].get("x-call") == call]:
                return found
            time.sleep(0.01)
        return []


@contextmanager
def serving(stubs: Path, log: Path, *certificate: str) -> Generator[GRPCPeer]:
    """A gRPC service, for a while."""
    # -P: the program's folder is not searched for modules, as this one would be found in place of grpcio.
    command: list[str | Path] = [sys.executable, "-P", ROOT / "tests/support/grpc_program.py", stubs, log, *certificate]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield GRPCPeer(process, int(process.stdout.readline()), log)
        finally:
            process.kill()


def compile_stubs(out: Path) -> Path:
    """Compile our files by grpcio-tools into a folder."""
    options = [f"-I{ROOT}/proto", f"-I{ROOT}/proto-imports", f"--python_out={out}", f"--grpc_python_out={out}"]
    files = [f"gitpod/v1/{name}.proto" for name in ("secret", "identity", "pagination")]
    protoc = [sys.executable, "-m", "grpc_tools.protoc", *options, *files, "buf/validate/validate.proto"]
    subprocess.run(protoc, check=True)
    # Without them our own package of that name would be found.
    for package in ("gitpod", "gitpod/v1"):
        (out / package / "__init__.py").touch()
    return out
