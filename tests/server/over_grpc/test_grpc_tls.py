"""TLS on the gRPC port."""

from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped] # it is not marked as typed
import pytest
import trustme
from tests.support.grpc_front import Connect, Serve, Status, answer, code

from gitpod.server.serving.tls import server_context


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Whose certificates are trusted."""
    return trustme.CA()


def pem(authority: trustme.CA) -> dict[str, Any]:
    """A certificate of an authority, by the arguments of `grpc.ssl_channel_credentials`."""
    leaf = authority.issue_cert("127.0.0.1")
    return {"private_key": leaf.private_key_pem.bytes(), "certificate_chain": leaf.cert_chain_pems[0].bytes()}


def tls(folder: Path, authority: trustme.CA, *, client_ca: Path | None = None) -> Any:
    """What a server needs of an authority."""
    leaf = pem(authority)
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(leaf["certificate_chain"])
    key.write_bytes(leaf["private_key"])
    return server_context(certificate, key, client_ca)


def test_connections_are_encrypted(serve: Serve, connect: Connect, authority: trustme.CA, tmp_path: Path) -> None:
    """To those who trust the authority; others, and those without TLS, get nowhere."""
    port = serve(tls=tls(tmp_path, authority)).port
    root = authority.cert_pem.bytes()
    connect(port, grpc.ssl_channel_credentials(root))("ListSecrets")
    for credentials in (None, grpc.ssl_channel_credentials(trustme.CA().cert_pem.bytes())):
        assert connect(port, credentials).fails("ListSecrets").code() is Status.UNAVAILABLE


def test_the_application_is_told_of_tls(serve: Serve, connect: Connect, authority: trustme.CA, tmp_path: Path) -> None:
    """By the scheme of the request."""
    seen: list[Any] = []
    port = serve(answer(seen), tls=tls(tmp_path, authority)).port
    client = connect(port, grpc.ssl_channel_credentials(authority.cert_pem.bytes()))
    assert code(client.stream("ListSecrets", iter([b""]))) is Status.OK
    assert [scope["scheme"] for scope in seen] == ["https"]


def test_clients_show_a_certificate(serve: Serve, connect: Connect, authority: trustme.CA, tmp_path: Path) -> None:
    """When the server asks for one: from its authority, and from no other."""
    root = authority.cert_pem.bytes()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    port = serve(tls=tls(tmp_path, authority, client_ca=tmp_path / "ca.pem")).port
    connect(port, grpc.ssl_channel_credentials(root, **pem(authority)))("ListSecrets")
    for shown in ({}, pem(trustme.CA())):
        error = connect(port, grpc.ssl_channel_credentials(root, **shown)).fails("ListSecrets")
        assert error.code() is Status.UNAVAILABLE
