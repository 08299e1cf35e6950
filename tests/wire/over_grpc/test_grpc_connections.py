"""Connections for gRPC: with TLS, in a forked child, and to what does not speak it."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from tests.support.grpc import GRPCPeer, serving
from tests.support.grpc_calls import params, told
from tests.support.peer import Peer, answer
from tests.support.service import TOKEN
from tests.support.ways import STORED, Connect

import gitpod
from gitpod import AsyncGitpod, Gitpod, GitpodError


def test_a_service_that_dies_leaves_doubt(connect: Connect, stubs: Path, tmp_path: Path, project: str) -> None:
    """It had read the request, so that a create is not sent again."""
    with serving(stubs, tmp_path / "calls") as mortal:
        with pytest.raises(gitpod.APIConnectionError) as caught:
            connect(mortal.url).create(**params(project), extra_headers=told(project, die="1"))
        assert (caught.value.outcome, caught.value.status_code, caught.value.attempts) == ("unknown", None, 1)
        assert len(mortal.calls(project)) == 1


def test_nobody_there_is_provably_unsent(connect: Connect, project: str) -> None:
    """A refused connection is tried again, and the error says that nothing was sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(gitpod.APIConnectionError) as caught:
        connect(url).create(**params(project))
    assert (caught.value.outcome, caught.value.attempts, caught.value.status_code) == ("not_sent", 3, None)


def test_a_service_without_grpc_is_said(connect: Connect, project: str) -> None:
    """HTTP/1.1 is no answer to gRPC."""
    peer = Peer(answer(200, STORED))
    with pytest.raises(gitpod.APIConnectionError):
        connect(peer.url).create(**params(project))
    peer.close()


FORKING = """
import os, signal, sys
from gitpod import APIConnectionError, Gitpod
client = Gitpod(protocol="grpc")
client.secrets.list()
child = os.fork()
if child == 0:
    signal.alarm(20)
    try:
        client.secrets.list()
    except APIConnectionError as error:
        os._exit(11 if "gRPC" in str(error) and "forked" in str(error) and error.outcome == "not_sent" else 12)
    os._exit(13)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
client.secrets.list()
sys.exit(status)
"""


def test_a_forked_child_is_told_that_grpc_does_not_survive(there: GRPCPeer) -> None:
    """Rather than hang, and the parent goes on."""
    environment = os.environ | {"GITPOD_API_KEY": TOKEN, "GITPOD_BASE_URL": there.url}
    done = subprocess.run([sys.executable, "-c", FORKING], env=environment, timeout=60, check=False)
    assert done.returncode == 11


def test_grpc_over_tls(connect: Connect, stubs: Path, tmp_path: Path, project: str) -> None:
    """HTTP/2 is agreed on in the handshake, which grpcio insists on."""
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "chain.pem")
    with serving(stubs, tmp_path / "calls", f"{tmp_path}/chain.pem", f"{tmp_path}/key.pem") as peer:
        client = connect(peer.url.replace("http:", "https:"), ca_cert=tmp_path / "ca.pem")
        made = client.create(**params(project)).secret
        assert client.get_value(secret_id=made.id).reveal() == "v"


@pytest.mark.parametrize("what", ["embedded", "httpx"])
def test_grpc_needs_trailers(kind: type[Gitpod] | type[AsyncGitpod], what: str) -> None:
    """Which neither the embedded service nor httpx has; the constructor says so, and what to use."""
    options: dict[str, Any] = {"base_url": "sqlite://"}
    if what == "httpx":
        http: Any = httpx.Client() if kind is Gitpod else httpx.AsyncClient()
        options = {"base_url": "http://127.0.0.1:9", "http_client": http}
    with pytest.raises(GitpodError, match=r'^protocol: "grpc" needs HTTP trailers.*use "grpc-web"$'):
        kind(bearer_token=TOKEN, protocol="grpc", **options)
