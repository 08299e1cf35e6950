"""Calls over gRPC and gRPC-Web: results, pages, headers, trailers and compression."""

import socket
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.support.caller import Caller
from tests.support.grpc import GRPCPeer
from tests.support.grpc_calls import PREFACE, params, told
from tests.support.service import TOKEN
from tests.support.ways import UUID, Connect

import gitpod


def test_every_call_works(either: Caller, project: str) -> None:
    """Over either protocol, from the creation of a secret to its end."""
    scope = {"scope": {"project_id": project}}
    made = either.create(**params(project, value="first")).secret
    assert (made.name, made.api_only) == ("NAME", True)
    assert either.get_value(secret_id=made.id).reveal() == "first"
    either.update_value(secret_id=made.id, value="second")
    assert either.get_value(secret_id=made.id).reveal() == "second"
    assert [secret.id for secret in either.list(filter=scope)] == [made.id]
    either.delete(secret_id=made.id)
    assert either.list(filter=scope) == []


def test_put_creates_and_updates(either: Caller, project: str) -> None:
    """Whatever the protocol, as it goes by the codes alone."""
    put: Any = either.client.secrets.put
    made = either.run(put(**params(project)))
    again = either.run(put(**params(project, value="w")))
    assert (made.action, again.action, again.secret.id) == ("created", "updated", made.secret.id)
    assert either.get_value(secret_id=made.secret.id).reveal() == "w"


def test_a_taken_name_is_a_conflict(either: Caller, project: str) -> None:
    """With the status that Connect has for it, though gRPC answers 200."""
    either.create(**params(project))
    with pytest.raises(gitpod.ConflictError, match="name: is taken in this scope") as caught:
        either.create(**params(project))
    error = caught.value
    assert (error.status_code, error.code, error.outcome, error.attempts) == (409, "already_exists", "rejected", 1)


def test_what_does_not_exist_is_not_found(either: Caller) -> None:
    """Whether it is read, changed or deleted."""
    for call in (either.get_value, either.delete):
        with pytest.raises(gitpod.NotFoundError) as caught:
            call(secret_id=UUID)
        assert (caught.value.status_code, caught.value.outcome) == (404, "rejected")
    with pytest.raises(gitpod.NotFoundError):
        either.update_value(secret_id=UUID, value="v")


def test_many_secrets_are_paged(client: Caller, there: GRPCPeer, project: str) -> None:
    """Every page is a call of its own, and none is lost between them."""
    names = [f"NAME_{number}" for number in range(130)]
    for name in names:
        client.create(**params(project, name=name))
    found = client.list(filter={"scope": {"project_id": project}}, page_size=100, extra_headers=told(project))
    assert [secret.name for secret in found] == names
    assert len(there.calls(project)) == 2


def test_headers_and_deadline_arrive(client: Caller, there: GRPCPeer, project: str) -> None:
    """The token and extra headers as metadata, the timeout as the call's deadline."""
    client.create(**params(project), timeout=1234, extra_headers=told(project, team="a"))
    [call] = there.calls(project)
    headers = call["headers"]
    assert (headers["authorization"], headers["x-team"]) == (f"Bearer {TOKEN}", "a")
    assert headers["user-agent"].startswith("gitpod-connect-python/")
    assert 1000 < call["left"] <= 1234


def test_trailers_are_kept(client: Caller, project: str) -> None:
    """Beside the headers, of a call that succeeded."""
    raw: Any = client.client.secrets.with_raw_response
    response = client.run(raw.create(**params(project)))
    assert (response.status_code, response.trailers["x-trailer"]) == (200, "CreateSecret")
    assert (response.request_id, response.retries_taken) == ("request-CreateSecret", 0)
    assert "x-trailer" not in response.headers
    assert client.run(response.parse()).secret.name == "NAME"


@dataclass
class Relay:
    """Passes connections on to a port, and keeps what the client sent."""

    port: int
    sent: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(("127.0.0.1", self.port))
        with near, far:
            back = threading.Thread(target=self._pass, args=(far, near, bytearray()), daemon=True)
            back.start()
            self._pass(near, far, self.sent)
            back.join()

    def _pass(self, source: socket.socket, target: socket.socket, seen: bytearray) -> None:
        try:
            while chunk := source.recv(65536):
                seen += chunk
                target.sendall(chunk)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return


@pytest.mark.parametrize(("compression", "is_small"), [(None, False), ("gzip", True)])
def test_requests_may_be_compressed(
    connect: Connect, there: GRPCPeer, project: str, compression: str | None, *, is_small: bool
) -> None:
    """The value is far shorter on the wire, and whole when it arrives."""
    relay = Relay(there.port)
    client = connect(relay.url, compression=compression)
    made = client.create(**params(project, value="x" * 10_000)).secret
    assert (len(relay.sent) < 5000) is is_small
    assert relay.sent.startswith(PREFACE)
    assert client.get_value(secret_id=made.id).reveal() == "x" * 10_000
    relay.close()


def test_a_call_after_an_error_works(client: Caller, project: str) -> None:
    """An answer without a body leaves the connection, and the next answer's trailers, as they should be."""
    made = client.create(**params(project)).secret
    with pytest.raises(gitpod.NotFoundError):
        client.get_value(secret_id=made.id, extra_headers=told(project, fail="NOT_FOUND"))
    raw: Any = client.client.secrets.with_raw_response
    response = client.run(raw.get_value(secret_id=made.id))
    assert response.trailers["x-trailer"] == "GetSecretValue"
    assert client.run(response.parse()).reveal() == "v"
