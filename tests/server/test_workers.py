"""`serve --workers`: several processes that behave as one service."""

import base64
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import trustme
from postgres import until
from tests.support.operators import KMS
from tests.support.processes import Process

from gitpod import Gitpod
from gitpod.server.log import LONGEST_LINE, JSONLines
from gitpod.server.serving.workers import Announcement

MAIN = "from gitpod.cli import main; main()"
IMPATIENT = f"from gitpod.server.serving import serve; serve.LATEST_END = 1; {MAIN}"
KEY = base64.b64encode(b"k" * 32).decode()


class Served:
    """A service of two workers on PostgreSQL."""

    def __init__(self, store: str, log: Path, *options: str, main: str = MAIN, **environment: str) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GITPOD_")}
        command = [sys.executable, "-c", main, "serve", "--store", store, "--port", "0", "--workers", "2", *options]
        self.log = log
        with log.open("a") as stderr:
            self.process = Process(
                command,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=inherited | {"GITPOD_SECRETS_KEY": "env:KEK", "KEK": KEY} | environment,
                start_new_session=True,
            )

    def announced(self) -> dict[str, str]:
        """What it says once it serves: the exported variables, and `grpc` for the port of gRPC."""
        assert self.process.stdout
        found: dict[str, str] = {}
        until(lambda: "serving;" in self.log.read_text() or self.process.poll() is not None, "it serves")
        os.set_blocking(self.process.stdout.fileno(), False)
        for line in self.process.stdout.read().splitlines():
            name, _, value = line.removeprefix("export ").removeprefix("# ").replace(" has port ", "=").partition("=")
            assert name not in found
            found[name] = value
        return found

    def workers(self) -> list[int]:
        """The ids of the workers' processes."""
        pid = self.process.pid
        children = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return [each for each in children if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes()]

    def lines(self, text: str) -> list[str]:
        """The messages of the log that hold a text. Every line of the log is whole."""
        lines = [line for line in self.log.read_text().splitlines() if not line.startswith("gitpod-secrets:")]
        return [message for line in lines if text in (message := json.loads(line)["message"])]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Signal the parent, and return its exit status. Nothing else of it runs then."""
        self.process.send_signal(how)
        self.process.communicate(timeout=30)
        until(lambda: not alive(self.process.pid), "all processes have ended")
        return self.process.returncode


def alive(session: int) -> bool:
    """Whether a process of a session runs."""
    for each in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, found = each.read_text().rpartition(")")[2].split()[:4]
            if int(found) == session and state != "Z":
                return True
    return False


@pytest.fixture
def begin(database_url: str, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """A function that serves an empty database. What it started is killed with the test."""
    services: list[Served] = []

    def serve(*options: str, **more: str) -> Served:
        services.append(Served(database_url, tmp_path / "log", *options, **more))
        return services[-1]

    yield serve
    for each in services:
        with suppress(ProcessLookupError):
            os.killpg(each.process.pid, signal.SIGKILL)
        each.process.communicate()


def test_both_accept_the_token_that_was_made_up(begin: Callable[..., Served]) -> None:
    """It is announced once, and no process shows it in its arguments or its environment."""
    served = begin()
    known = served.announced()
    assert sorted(known) == ["GITPOD_API_KEY", "GITPOD_BASE_URL"]
    workers = served.workers()
    assert len(workers) == 2
    for pid in workers:
        # The other one accepts no connection meanwhile.
        os.kill(pid, signal.SIGSTOP)
        with Gitpod(bearer_token=known["GITPOD_API_KEY"], base_url=known["GITPOD_BASE_URL"]) as client:
            assert list(client.secrets.list()) == []
        assert httpx.get(f"{known['GITPOD_BASE_URL']}/readyz", trust_env=False).status_code == 200
        os.kill(pid, signal.SIGCONT)
        for shown in ("cmdline", "environ"):
            assert known["GITPOD_API_KEY"].encode() not in Path(f"/proc/{pid}/{shown}").read_bytes()
    assert served.stop() == 0
    assert known["GITPOD_API_KEY"] not in served.log.read_text()
    assert len(served.lines("request")) == 2
    assert served.log.read_text().count("serving; stop with Ctrl-C") == 1


def test_each_worker_logs_in_the_same_way(begin: Callable[..., Served]) -> None:
    """In text if the parent was told so."""
    served = begin("--log-format", "text")
    url = served.announced()["GITPOD_BASE_URL"]
    for pid in served.workers():
        os.kill(pid, signal.SIGSTOP)
        assert httpx.post(f"{url}/gitpod.v1.SecretService/ListSecrets", json={}, trust_env=False).status_code == 401
        os.kill(pid, signal.SIGCONT)
    assert served.stop() == 0
    shown = served.log.read_text()
    assert len(re.findall(r"^\d\d:\d\d:\d\d +connect +ListSecrets +unauthenticated ", shown, re.MULTILINE)) == 2
    assert "{" not in shown


def test_the_token_is_in_no_repr() -> None:
    """What a worker tells its parent may be in a traceback that shows locals."""
    told = Announcement("http://127.0.0.1:1", None, "made-up", "sqlite://", "the key in memory")
    assert "127.0.0.1" in repr(told)
    assert "made-up" not in f"{told!r} {told}"


def test_one_that_ends_is_replaced(begin: Callable[..., Served]) -> None:
    """The log says so; the other one serves meanwhile, and the new one knows the token."""
    served = begin()
    known = served.announced()
    first, second = served.workers()
    os.kill(first, signal.SIGKILL)
    until(lambda: bool(served.lines(f"worker {first} ended: signal SIGKILL; another one starts in 1 s")), "it is said")
    with Gitpod(bearer_token=known["GITPOD_API_KEY"], base_url=known["GITPOD_BASE_URL"]) as client:
        assert list(client.secrets.list()) == []
        until(lambda: len(served.workers()) == 2, "another one was started")
        os.kill(second, signal.SIGKILL)
        # With the keep-alive connection, the old worker is gone.
        assert list(client.secrets.list()) == []
    assert served.stop() == 0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all(begin: Callable[..., Served], how: signal.Signals) -> None:
    """Also Ctrl-C in a terminal, which every process of the group has."""
    served = begin()
    served.announced()
    if how == signal.SIGINT:
        os.killpg(served.process.pid, how)
    assert served.stop(how) == 0
    assert "Traceback" not in served.log.read_text()


def test_a_stop_while_they_start_stops_all(begin: Callable[..., Served]) -> None:
    """Whenever the signal comes."""
    for seconds in (0.5, 1.0, 1.5):
        served = begin()
        time.sleep(seconds)
        os.killpg(served.process.pid, signal.SIGINT)
        served.process.communicate(timeout=30)
        until(lambda: not alive(served.process.pid), "all processes have ended")  # noqa: B023 # called at once


def test_one_that_does_not_stop_is_killed(begin: Callable[..., Served]) -> None:
    """After the time that a stop takes at most."""
    served = begin(main=IMPATIENT)
    served.announced()
    os.kill(served.workers()[0], signal.SIGSTOP)
    assert served.stop() == 0


def test_they_end_with_their_parent(begin: Callable[..., Served]) -> None:
    """Nobody would stop them, and their port would stay taken."""
    served = begin()
    served.announced()
    assert served.stop(signal.SIGKILL) == -signal.SIGKILL


def test_a_start_that_fails_is_told_once(begin: Callable[..., Served]) -> None:
    """With the status of the error, and nothing is left behind."""
    first = begin()
    first.announced()
    assert first.stop() == 0
    served = begin(KEK=base64.b64encode(b"o" * 32).decode())
    assert served.process.wait(30) == 2
    told = served.log.read_text().splitlines()
    assert len([line for line in told if "error:" in line]) == 1
    until(lambda: not alive(served.process.pid), "all processes have ended")


def test_every_option_works_with_workers(begin: Callable[..., Served], tmp_path: Path) -> None:
    """A port of gRPC, TLS, the command of a key, telemetry without a collector."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "tls.key")
    for number, part in enumerate(issued.cert_chain_pems):
        part.write_to_path(tmp_path / "tls.crt", append=number > 0)
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    (tmp_path / "kms.py").write_text(KMS)
    tls = ("--tls-cert", f"{tmp_path}/tls.crt", "--tls-key", f"{tmp_path}/tls.key")
    key = ("--key", f"command:{sys.executable} {tmp_path}/kms.py")
    collector = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    served = begin("--grpc-port", "0", "--keep-alive", "5", *tls, *key, **collector)
    known = served.announced()
    grpc_url = re.sub(r"\d+$", known["gRPC"], known["GITPOD_BASE_URL"])
    for pid in served.workers():
        os.kill(pid, signal.SIGSTOP)
        for url in (known["GITPOD_BASE_URL"], grpc_url):
            token, ca = known["GITPOD_API_KEY"], f"{tmp_path}/ca.crt"
            with Gitpod(
                bearer_token=token, base_url=url, ca_cert=ca, protocol="grpc" if url == grpc_url else "connect"
            ) as client:
                assert list(client.secrets.list()) == []
        os.kill(pid, signal.SIGCONT)
    assert served.stop() == 0


def even(number: int) -> None:
    """Fail below a stack whose frames alternate: Python shows many equal ones as one."""
    odd(number - 1)


def odd(number: int) -> None:
    if not number:
        raise ValueError("deep")
    even(number - 1)


@pytest.mark.parametrize("message", ["short", 'é\0"\\' * 5000])
def test_no_line_is_longer_than_what_a_pipe_takes_as_a_whole(message: str) -> None:
    """A worker could write into the middle of another one's line. A shortened line is JSON, too."""
    with pytest.raises(ValueError, match="deep") as failure:
        even(401)
    for error in ((failure.type, failure.value, failure.tb), None):
        record = logging.LogRecord("gitpod.server", logging.ERROR, "", 0, message, (), error)
        line = JSONLines().format(record)
        assert len(line.encode()) < LONGEST_LINE
        shown = json.loads(line)
        assert shown["message"][:2] == message[:2].replace("é\0", "??")
        assert not error or shown["stack"].endswith('raise ValueError("deep")\n')


def test_sqlite_has_one(tmp_path: Path) -> None:
    """The error says why."""
    served = Served(f"sqlite:///{tmp_path}/secrets.db", tmp_path / "log")
    assert served.process.wait(30) == 2
    served.process.communicate()
    assert "more than one worker needs a store on PostgreSQL: on one SQLite file" in (tmp_path / "log").read_text()
