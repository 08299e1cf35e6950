"""Starts the programs of the bench: each in a process of its own, which ends with the block that started it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

from bench.results import Measures

ROOT = Path(__file__).parents[1]
PYTHON = Path(sys.executable)


class Program(NamedTuple):
    """A running program that has printed its port."""

    process: "subprocess.Popen[str]"
    address: str


class Worker:
    """A program of `bench/peers/` that measures one way of calling when it is asked to."""

    def __init__(self, process: "subprocess.Popen[str]", seconds: float) -> None:
        self._process = process
        self._seconds = seconds

    def __call__(self) -> Measures:
        """What a call costs, in microseconds."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{self._seconds}\n")
        self._process.stdin.flush()
        return cast("Measures", json.loads(_line(self._process)))


def environment(**more: str) -> dict[str, str]:
    """That of this process, without settings of Python, clients and proxies; so each program is compiled once."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GITPOD_", "ONA_", "OTEL_", "PYTHON")) and not name.lower().endswith("_proxy")
    }
    return kept | {"GRPC_VERBOSITY": "NONE", **more}


@contextmanager
def started(python: Path, module: str, *arguments: object, **more: str) -> Generator["subprocess.Popen[str]"]:
    """A module of the bench as a program."""
    process = subprocess.Popen(  # noqa: S603 # programs of the bench
        [python, "-m", module, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment(**more),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def serving(python: Path, module: str, *arguments: object) -> Generator[Program]:
    """A server, once it has printed its port."""
    with started(python, module, *arguments) as process:
        yield Program(process, f"127.0.0.1:{int(_line(process))}")


@contextmanager
def working(python: Path, module: str, *arguments: object, seconds: float, **more: str) -> Generator[Worker]:
    """A worker, each of whose measurements takes so many seconds."""
    with started(python, module, *arguments, **more) as process:
        yield Worker(process, seconds)


def run(command: list[object], folder: Path, **more: str) -> Measures:
    """Run a program to its end: its seconds of wall and processor. Raises `RuntimeError` when it fails."""
    with (folder / "errors").open("w+") as errors, Path(os.devnull).open("r+") as nothing:
        began = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 # programs of the bench
            list(map(str, command)), stdin=nothing, stdout=nothing, stderr=errors, cwd=ROOT, env=environment(**more)
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        # `wait4` has taken its status.
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise RuntimeError(f"{Path(str(command[0])).name} failed: {errors.read().strip()[-500:]}")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "system": usage.ru_stime}


def printed(python: Path, program: str, *arguments: object, environ: Mapping[str, str] | None = None) -> float:
    """The number that a program prints."""
    command: list[str | Path] = [python, "-c", program, *map(str, arguments)]
    return float(subprocess.check_output(command, text=True, cwd=ROOT, env=environment(**(environ or {}))))  # noqa: S603 # programs of the bench


def _line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    line = process.stdout.readline()
    if not line:
        process.wait()
        raise RuntimeError(
            f"{' '.join(map(str, cast('list[object]', process.args)))} has ended with {process.returncode}"
        )
    return line
