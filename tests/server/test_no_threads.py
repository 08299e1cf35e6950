"""A service that can start no thread answers truthfully, ends when it is told to, or does not start."""

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from no_threads import MAIN, without_threads
from tests.support.grpc_front import Client
from tests.support.processes import Process
from tests.support.service import TOKEN

import gitpod
from gitpod import Gitpod

pytestmark = pytest.mark.slow

CALLS = 160
STRANGER = ["setpriv", "--reuid=61234", "--regid=61234", "--clear-groups"]
READING = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
"""Another user than root, whose limit of processes counts, who can read where Python is installed."""
THREADS = 19
"""The threads that `serve` starts on both ports."""
REAL = f"""
import resource, signal
signal.signal(signal.SIGUSR2, lambda *_: resource.setrlimit(resource.RLIMIT_NPROC, (1, 1)))
{MAIN.format(most=10_000)}
"""


@dataclass
class Limited:
    """A served store, in a folder of its own."""

    process: Process
    url: str
    grpc_port: int
    log: Path

    def client(self, protocol: Any) -> Gitpod:
        """A client that sends nothing twice."""
        url = f"http://127.0.0.1:{self.grpc_port}" if protocol == "grpc" else self.url
        return Gitpod(bearer_token=TOKEN, base_url=url, protocol=protocol, max_retries=0, timeout=60)

    def stop(self) -> int:
        """SIGTERM ends it within 15 s."""
        self.process.terminate()
        self.process.communicate(timeout=15)
        return self.process.returncode


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


@contextmanager
def limited(folder: Path, main: str, *user: str) -> Generator[Limited]:
    """A service that a program serves, as a user."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    serve = ["serve", "--store", f"sqlite:///{folder}/secrets.db", "--port", "0", "--grpc-port", str(port)]
    log = folder / "log"
    with log.open("w") as stderr:
        process = Process(
            [*user, sys.executable, "-c", main, *serve],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=os.environ | {"GITPOD_API_KEY": TOKEN},
            cwd=folder,
        )
    assert process.stdout
    try:
        yield Limited(process, process.stdout.readline().strip().partition("=")[2], port, log)
    finally:
        process.kill()
        process.communicate()


def check(service: Limited) -> None:
    """Create over all protocols at once: nothing that was rejected is stored, and nothing acknowledged is lost."""
    project = str(uuid.uuid4())
    clients = [service.client(protocol) for protocol in ("connect", "grpc", "grpc-web")]

    def create(number: int) -> str:
        try:
            clients[number % 3].secrets.create(name=f"NAME_{number}", value="v", project_id=project, api_only=True)
        except gitpod.APIError as error:
            return error.outcome
        return "done"

    with ThreadPoolExecutor(CALLS) as pool:
        outcomes = list(pool.map(create, range(CALLS)))
    stored = {each.name for each in clients[0].secrets.list(filter={"scope": {"project_id": project}}, page_size=100)}
    for client in clients:
        client.close()
    for number, outcome in enumerate(outcomes):
        if outcome != "unknown":
            assert (f"NAME_{number}" in stored) == (outcome == "done"), outcome
    assert outcomes.count("done") > CALLS / 4
    with closing(Client(service.grpc_port).channel) as channel:
        assert channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=20) == b"\x08\x01"


def test_no_thread_is_needed_after_the_start(folder: Path) -> None:
    """Neither for calls on both ports, nor for the end."""
    with limited(folder, REAL) as service:
        service.process.send_signal(signal.SIGUSR1)
        check(service)
        assert service.stop() == 0
        assert "Traceback" not in service.log.read_text()


@pytest.mark.parametrize("most", [0, 1, 8, 16, 17, 18])
def test_a_service_whose_threads_do_not_start_does_not_start(folder: Path, most: int) -> None:
    """Whichever thread it is. The message says which limits to look at."""
    with limited(folder, MAIN.format(most=most)) as service:
        service.process.communicate(timeout=60)
        assert service.process.returncode == 2
        said = service.log.read_text()
        assert "the system allows no more" in said
        assert "ulimit -u" in said
        assert "Traceback" not in said


@pytest.mark.parametrize("most", [0, 3])
def test_telemetry_whose_threads_do_not_start_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """As OpenTelemetry starts threads of its own."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    test_a_service_whose_threads_do_not_start_does_not_start(folder, most)


def test_a_service_with_just_the_threads_that_it_needs_serves(folder: Path) -> None:
    """As many as it starts; it needs none besides."""
    with limited(folder, MAIN.format(most=THREADS)) as service:
        check(service)
        assert service.stop() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are set on Linux")
@pytest.mark.parametrize("kind", ["processes", "memory"])
def test_a_real_limit_makes_no_answer_untrue(folder: Path, kind: str) -> None:
    """Of processes, where threads count too, or of memory, of which each thread needs a stack."""
    user: list[str] = []
    if kind == "processes" and os.getuid() == 0:  # whom the limit does not bind
        if shutil.which("setpriv") is None:
            pytest.skip("root has no limit of processes, and setpriv is not here to become another user")
        user = [*STRANGER, *READING]
    with limited(folder, REAL, *user) as service:
        pid = service.process.pid
        if kind == "processes":
            service.process.send_signal(signal.SIGUSR2)
        else:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
            most = pages * resource.getpagesize() + (6 << 20)
            resource.prlimit(pid, resource.RLIMIT_AS, (most, most))
        check(service)
        assert service.stop() == 0


EMBEDDED = """
import asyncio, sys, threading, uuid
from concurrent.futures import ThreadPoolExecutor
import gitpod

project = str(uuid.uuid4())
name = "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"
real = getattr(threading, name)

def fail(*arguments, **options):
    raise RuntimeError("can't start new thread")

def fields(number):
    return dict(name=f"NAME_{number}", value="v", project_id=project, api_only=True)

def outcome(error):
    return error.outcome if isinstance(error, gitpod.APIError) else "done" if error is None else repr(error)

async def in_a_loop(url):
    async with gitpod.AsyncGitpod(base_url=url, max_retries=0) as client:
        if sys.argv[2] == "warm":
            await client.secrets.list()
        setattr(threading, name, fail)
        calls = [client.secrets.create(**fields(number)) for number in range(40)]
        done = await asyncio.gather(*calls, return_exceptions=True)
        setattr(threading, name, real)
        return [outcome(each if isinstance(each, Exception) else None) for each in done]

def in_threads(url):
    with gitpod.Gitpod(base_url=url, max_retries=0) as client, ThreadPoolExecutor(40) as pool:
        met = threading.Barrier(40)
        list(pool.map(lambda _: met.wait(), range(40)))
        if sys.argv[2] == "warm":
            client.secrets.list()
        else:
            client.secrets
        setattr(threading, name, fail)

        def create(number):
            try:
                client.secrets.create(**fields(number))
            except Exception as error:
                return outcome(error)
            return "done"

        outcomes = list(pool.map(create, range(40)))
        setattr(threading, name, real)
        return outcomes

url = sys.argv[1]
outcomes = asyncio.run(in_a_loop(url)) if sys.argv[3] == "async" else in_threads(url)
with gitpod.Gitpod(base_url=url) as client:
    stored = {each.name for each in client.secrets.list(filter={"scope": {"project_id": project}}, page_size=100)}
for number, outcome in enumerate(outcomes):
    print(outcome, f"NAME_{number}" in stored)
"""


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("before", ["warm", "cold"])
def test_an_embedded_service_says_what_it_did(tmp_path: Path, before: str, kind: str) -> None:
    """With one thread or none: what it could not begin was not done, also not later."""
    command = [sys.executable, "-c", EMBEDDED, f"sqlite:///{tmp_path}/secrets.db", before, kind]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=120)
    seen = [line.split() for line in done.stdout.splitlines()]
    assert len(seen) == 40
    assert {tuple(each) for each in seen} <= {
        ("done", "True"),
        ("rejected", "False"),
        ("not_sent", "False"),
        ("unknown", "False"),
    }


def test_the_round_of_chaos_keeps_what_was_acknowledged() -> None:
    """The short form of what `make chaos` does."""
    [(*_, seen, integrity, is_intact)] = without_threads(1, seed=1)
    assert (seen.lost, seen.wrong, is_intact) == (0, 0, True), [integrity, *seen.notes]
