"""nginx with the configuration of `examples/`, in front of whatever listens."""

import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.support.peer import free_port
from tests.support.service import ROOT, TOKEN

from gitpod import Gitpod

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
SECONDS = 10


@dataclass
class Proxy:
    """nginx with a directory of its own, where it has its certificate and its logs."""

    port: int
    directory: Path

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def authority(self) -> Path:
        """The PEM file of the authority that signed its certificate."""
        return self.directory / "ca.pem"

    def client(self, **options: Any) -> Gitpod:
        """A client of what is behind it."""
        defaults: dict[str, Any] = {"base_url": self.url, "bearer_token": TOKEN, "max_retries": 0}
        return Gitpod(ca_cert=self.authority, **defaults | options)

    def trusting(self) -> ssl.SSLContext:
        """What trusts its certificate."""
        return ssl.create_default_context(cafile=self.authority)

    def connect(self) -> ssl.SSLSocket:
        """A connection to it, over HTTP/1.1."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)
        return self.trusting().wrap_socket(plain, server_hostname="localhost")

    def log(self) -> str:
        """Both logs."""
        return "".join((self.directory / name).read_text() for name in ("access.log", "error.log"))


@contextmanager
def nginx(directory: Path, *ports: int, grpc: Iterable[int] = (9,)) -> Generator[Proxy]:
    """Run the example in front of whatever listens on the ports, for a while. On port 9, nothing listens."""
    if NGINX is None:
        pytest.skip("nginx is not installed")
    proxy = Proxy(free_port(), directory)
    config = (ROOT / "examples/nginx.conf").read_text()
    changes = {
        "listen 443": f"listen 127.0.0.1:{proxy.port}",
        "server 127.0.0.1:8080;": _servers(ports),
        "server 127.0.0.1:50051;": _servers(grpc),
        "worker_processes auto": "worker_processes 1",
    }
    for old, new in changes.items():
        assert config.count(old) == 1, old
        config = config.replace(old, new)
    (directory / "nginx.conf").write_text(config)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(proxy.authority)
    leaf = authority.issue_cert("localhost", "127.0.0.1")
    (directory / "tls.crt").write_bytes(b"".join(part.bytes() for part in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(directory / "tls.key")
    # In the foreground, and with no log elsewhere before it has read its configuration.
    command: list[str | Path] = [NGINX, "-p", directory, "-c", "nginx.conf", "-e", "error.log", "-g", "daemon off;"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            _listens(process, proxy.port)
            yield proxy
        finally:
            # Not killed, as its worker would go on.
            process.terminate()
            assert process.wait(SECONDS) == 0


def _servers(ports: Iterable[int]) -> str:
    """The lines of an upstream."""
    return " ".join(f"server 127.0.0.1:{port};" for port in ports)


def _listens(process: subprocess.Popen[str], port: int) -> None:
    """Wait until the port takes connections."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        assert process.poll() is None, process.communicate()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    pytest.fail("nginx does not listen")
