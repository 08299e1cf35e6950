"""`gitpod-secrets serve`, as a process: the installed command, or one that the other tests call, too."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from tests.support.service import TOKEN, Service, serve
from tests.support.shell import SECONDS, start

import gitpod
from gitpod import Gitpod
from gitpod._version import __version__

COMMAND = [str(Path(sys.executable).parent / "gitpod-secrets")]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        env={**os.environ, **environment},
    )


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """A function that serves a store with some options. The services are killed with the test."""
    services: list[Service] = []

    def begin(*arguments: str) -> Service:
        services.append(serve(tmp_path / "s.db", *arguments))
        return services[-1]

    try:
        yield begin
    finally:
        for service in services:
            service.process.kill()
            service.process.communicate()


def test_help_and_version() -> None:
    """Both succeed. The help lists commands and options."""
    assert run("--version").stdout == f"gitpod-secrets, version {__version__}\n"
    assert "serve" in run("--help").stdout
    shown = run("serve", "--help").stdout
    assert all(option in shown for option in ("--store", "--host", "--port", "GITPOD_API_KEY"))


def test_a_token_is_made_and_printed(tmp_path: Path) -> None:
    """What it prints can be pasted into a shell, and reaches the service."""
    process = start(
        [*COMMAND, "serve", "--store", f"sqlite:///{tmp_path}/s.db", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if not name.startswith("GITPOD_")},
    )
    assert process.stdout
    lines = [process.stdout.readline().decode() for _ in range(2)]
    exports = dict(line.removeprefix("export ").strip().split("=", 1) for line in lines)
    assert sorted(exports) == ["GITPOD_API_KEY", "GITPOD_BASE_URL"]
    assert len(exports["GITPOD_API_KEY"]) >= 43
    with Gitpod(bearer_token=exports["GITPOD_API_KEY"], base_url=exports["GITPOD_BASE_URL"]) as client:
        assert list(client.secrets.list()) == []
    with pytest.raises(gitpod.AuthenticationError):
        Gitpod(bearer_token="another", base_url=exports["GITPOD_BASE_URL"]).secrets.list()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 0


def test_a_store_with_tokens_says_that_these_count(tmp_path: Path) -> None:
    """In a comment, as what it prints is pasted into a shell. No token is made up beside them."""
    store = ["--store", f"sqlite:///{tmp_path}/s.db"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GITPOD_")}
    subprocess.run(
        [*COMMAND, "token", "create", *store, "--role", "admin"], check=True, env=environment, stdout=subprocess.DEVNULL
    )
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment}
    process = start([*COMMAND, "serve", *store, "--port", "0"], **options)
    assert process.stdout
    url, tokens = (process.stdout.readline() for _ in range(2))
    assert url.startswith(b"export GITPOD_BASE_URL=")
    assert tokens == b"# the tokens are those that token create made\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SECONDS)


def test_a_token_from_the_environment_is_not_repeated(serving: Callable[..., Service]) -> None:
    """Neither on standard output nor on standard error, nor in the arguments of the process."""
    service = serving()
    arguments = Path(f"/proc/{service.process.pid}/cmdline").read_bytes()
    service.process.send_signal(signal.SIGTERM)
    out, _ = service.process.communicate(timeout=SECONDS)
    assert TOKEN not in out + service.log.read_text()
    assert TOKEN.encode() not in arguments
    assert service.process.returncode == 0


def test_it_listens_on_loopback_alone(serving: Callable[..., Service]) -> None:
    """`--host` changes that."""
    service = serving()
    assert service.url.startswith("http://127.0.0.1:")
    elsewhere = service.url.replace("127.0.0.1", "127.0.0.2")
    with pytest.raises(httpx.ConnectError):
        httpx.get(elsewhere, trust_env=False)
    assert service.stop() == 0
    service = serving("--host", "127.0.0.2")
    assert httpx.get(service.url, trust_env=False).status_code == 404
    assert service.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--store", "sqlite:////nowhere/s.db"], "gitpod-secrets: error: cannot open /nowhere/s.db: No such file"),
        (["--store", "mysql://host/db"], ": the store must be sqlite:///path/to/file.db"),
        (["--store", "sqlite://", "--host", "192.0.2.1"], "gitpod-secrets: error: cannot listen on 192.0.2.1 port"),
        (["--store", "sqlite://", "--port", "65536"], "invalid value for '--port'"),
        ([], "missing option '--store'"),
    ],
)
def test_wrong_settings_are_reported(arguments: list[str], message: str) -> None:
    """The error is on standard error without a traceback, and the status is 2."""
    done = run("serve", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("token", "rule"),
    [
        ("line\n", "must be printable ASCII without spaces or line breaks"),
        ("Bearer abc", "must be the token alone, without the word Bearer"),
        ("'abc'", "must be the token alone, without quotes"),
    ],
)
def test_a_token_that_no_client_can_send_is_refused(token: str, rule: str) -> None:
    """By the name of the variable. A service with it would refuse every caller."""
    done = run("serve", "--store", "sqlite://", GITPOD_API_KEY=token)
    assert done.returncode == 2
    assert done.stderr.startswith(f"gitpod-secrets: error: GITPOD_API_KEY: {rule}\n")


def test_a_stop_right_after_the_start_is_a_stop(serving: Callable[..., Service]) -> None:
    """Whenever the signal comes, the process ends with status 0."""
    for _ in range(10):
        assert serving().stop() == 0


def test_a_taken_port_is_reported() -> None:
    """The error has the system's reason."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("serve", "--store", "sqlite://", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "Address already in use" in done.stderr


@pytest.mark.parametrize(("command", "is_on"), [("serve --store sqlite:////dev/null/no.db", True), ("config", False)])
def test_a_service_collects_garbage_and_a_short_command_does_not(command: str, is_on: bool) -> None:  # noqa: FBT001 # a parameter
    """A service lives for long; a short command ends before it would be worth the time."""
    program = (
        "import gc, sys; from gitpod.cli import main\ntry: main()\nfinally: print(gc.isenabled(), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", program, *command.split()], capture_output=True, text=True, check=False)
    assert ran.stderr.splitlines()[-1] == str(is_on)
