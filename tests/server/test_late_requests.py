"""A request whose outcome is unknown may be carried out later; docs/sdk/retries.md says what keeps it harmless."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from tests.support.service import TOKEN, Service
from tests.support.target import SECONDS

import gitpod
from gitpod import Gitpod


class Relay:
    """Passes connections on to a service. Holds requests of one RPC until they are let go."""

    def __init__(self, port: int, rpc: str) -> None:
        self._port, self._rpc = port, rpc.encode()
        self.go = threading.Event()
        self.answers = b""
        """What the service answered."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.go.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                service = socket.create_connection(("127.0.0.1", self._port))
                threading.Thread(target=self._forth, args=(client, service), daemon=True).start()
                threading.Thread(target=self._back, args=(client, service), daemon=True).start()

    def _forth(self, client: socket.socket, service: socket.socket) -> None:
        with client:
            while data := client.recv(65536):
                if self._rpc in data:
                    self.go.wait()
                service.sendall(data)

    def _back(self, client: socket.socket, service: socket.socket) -> None:
        with service:
            while data := service.recv(65536):
                self.answers += data
                with suppress(OSError):  # the client has gone
                    client.sendall(data)


@pytest.fixture
def relay(service: Service) -> Iterator[Relay]:
    """A relay that holds updates."""
    relay = Relay(int(service.url.rpartition(":")[2]), "UpdateSecretValue")
    yield relay
    relay.close()


@pytest.fixture
def client(service: Service) -> Iterator[Gitpod]:
    """A client of the service itself."""
    with Gitpod(base_url=service.url, bearer_token=TOKEN) as client:
        yield client


@pytest.fixture
def late(relay: Relay, client: Gitpod, project: str) -> str:
    """The id of a secret, for which a `put` of the value `late` is still held."""
    params: Any = {"name": "LATE_ONE", "project_id": project, "api_only": True}
    made = client.secrets.put(**params, value="first").secret.id
    with (
        Gitpod(base_url=relay.url, bearer_token=TOKEN) as hasty,
        pytest.raises(gitpod.APITimeoutError) as caught,
    ):
        hasty.secrets.put(**params, value="late", timeout=1)
    assert caught.value.outcome == "unknown"
    return made


def test_a_late_put_overwrites_a_newer_value(relay: Relay, client: Gitpod, late: str) -> None:
    """The newer value was acknowledged, and its caller sees it only until then."""
    client.secrets.update_value(secret_id=late, value="newer")
    assert client.secrets.get_value(secret_id=late).reveal() == "newer"
    relay.go.set()
    deadline = time.monotonic() + SECONDS
    while client.secrets.get_value(secret_id=late).reveal() != "late":
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_late_put_does_not_reach_a_secret_that_is_created_anew(
    relay: Relay, client: Gitpod, late: str, project: str
) -> None:
    """The new secret has another id, and the late request is refused."""
    client.secrets.delete(secret_id=late)
    made = client.secrets.create(name="LATE_ONE", value="newer", project_id=project, api_only=True).secret.id
    relay.go.set()
    deadline = time.monotonic() + SECONDS
    while b"404 Not Found" not in relay.answers:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert client.secrets.get_value(secret_id=made).reveal() == "newer"
