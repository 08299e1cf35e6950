"""`gitpod-secrets serve`, as a process."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.support.service import TOKEN, serve

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
        timeout=60,
        env={**os.environ, **environment},
    )


def test_help_and_version() -> None:
    """Both succeed, and name what there is."""
    assert run("--version").stdout == f"gitpod-secrets, version {__version__}\n"
    assert "serve" in run("--help").stdout
    shown = run("serve", "--help").stdout
    assert all(option in shown for option in ("--store", "--host", "--port", "GITPOD_API_KEY"))


def test_a_token_is_made_up_and_printed(tmp_path: Path) -> None:
    """What it prints can be pasted into a shell, and reaches the service."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GITPOD_")}
    process = subprocess.Popen(
        [*COMMAND, "serve", "--store", f"sqlite:///{tmp_path}/s.db", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout
    exports = dict(process.stdout.readline().removeprefix("export ").strip().split("=", 1) for _ in range(2))
    assert sorted(exports) == ["GITPOD_API_KEY", "GITPOD_BASE_URL"]
    assert len(exports["GITPOD_API_KEY"]) >= 43
    with Gitpod(bearer_token=exports["GITPOD_API_KEY"], base_url=exports["GITPOD_BASE_URL"]) as client:
        assert list(client.secrets.list()) == []
    with pytest.raises(gitpod.AuthenticationError):
        Gitpod(bearer_token="another", base_url=exports["GITPOD_BASE_URL"]).secrets.list()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    process.communicate()


def test_a_token_from_the_environment_is_not_repeated(tmp_path: Path) -> None:
    """Neither on standard output nor on standard error, nor in the arguments of the process."""
    service = serve(tmp_path / "s.db")
    arguments = Path(f"/proc/{service.process.pid}/cmdline").read_bytes()
    service.process.send_signal(signal.SIGTERM)
    out, _ = service.process.communicate(timeout=30)
    assert TOKEN not in out + service.log.read_text()
    assert TOKEN.encode() not in arguments
    assert service.process.returncode == 0


def test_it_listens_on_loopback_alone(tmp_path: Path) -> None:
    """Unless it is told otherwise."""
    service = serve(tmp_path / "s.db")
    assert service.url.startswith("http://127.0.0.1:")
    elsewhere = service.url.replace("127.0.0.1", "127.0.0.2")
    with pytest.raises(httpx.ConnectError):
        httpx.get(elsewhere, trust_env=False)
    assert service.stop() == 0
    service = serve(tmp_path / "s.db", "--host", "127.0.0.2")
    assert httpx.get(service.url, trust_env=False).status_code == 404
    assert service.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--store", "sqlite:///nowhere/s.db"], "gitpod-secrets: error: cannot open nowhere/s.db: No such file"),
        (["--store", "mysql://host/db"], "gitpod-secrets: error: the store must be sqlite:///path/to/file.db"),
        (["--store", "sqlite://", "--host", "192.0.2.1"], "gitpod-secrets: error: cannot listen on 192.0.2.1 port"),
        (["--store", "sqlite://", "--port", "65536"], "Invalid value for '--port'"),
        ([], "Missing option '--store'"),
    ],
)
def test_what_cannot_be_served_is_said(arguments: list[str], message: str) -> None:
    """On standard error, without a traceback, with status 2."""
    done = run("serve", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_token_that_no_header_can_carry_is_refused() -> None:
    """Instead of turning every caller away."""
    done = run("serve", "--store", "sqlite://", GITPOD_API_KEY="line\n")
    assert done.returncode == 2
    assert "gitpod-secrets: error: the token must be printable ASCII" in done.stderr


def test_a_stop_right_after_the_start_is_a_stop(tmp_path: Path) -> None:
    """Whenever the signal comes, the process ends with status 0."""
    for _ in range(10):
        assert serve(tmp_path / "s.db").stop() == 0


def test_a_taken_port_is_said() -> None:
    """With the reason of the system."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("serve", "--store", "sqlite://", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "Address already in use" in done.stderr
