"""TLS on the gRPC port."""

from typing import Any

import grpc  # type: ignore[import-untyped] # it is not marked as typed
import pytest
import trustme
from tests.support.grpc_front import Connect, Serve, Status

from gitpod.server.errors import ServiceError
from gitpod.server.serving.grpc_server import TLS


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Whose certificates are trusted."""
    return trustme.CA()


def pem(authority: trustme.CA) -> dict[str, Any]:
    """A certificate of an authority, by the arguments of `grpc.ssl_channel_credentials`."""
    leaf = authority.issue_cert("127.0.0.1")
    return {"private_key": leaf.private_key_pem.bytes(), "certificate_chain": leaf.cert_chain_pems[0].bytes()}


def tls(authority: trustme.CA, client_ca: bytes | None = None) -> TLS:
    """What a server needs of an authority."""
    leaf = pem(authority)
    return TLS(certificate=leaf["certificate_chain"], key=leaf["private_key"], client_ca=client_ca)


def test_connections_are_encrypted(serve: Serve, connect: Connect, authority: trustme.CA) -> None:
    """To those who trust the authority; others, and those without TLS, get nowhere."""
    port = serve(tls=tls(authority)).port
    root = authority.cert_pem.bytes()
    connect(port, grpc.ssl_channel_credentials(root))("ListSecrets")
    for credentials in (None, grpc.ssl_channel_credentials(trustme.CA().cert_pem.bytes())):
        assert connect(port, credentials).fails("ListSecrets").code() is Status.UNAVAILABLE


def test_clients_show_a_certificate(serve: Serve, connect: Connect, authority: trustme.CA) -> None:
    """When the server asks for one: from its authority, and from no other."""
    root = authority.cert_pem.bytes()
    port = serve(tls=tls(authority, root)).port
    connect(port, grpc.ssl_channel_credentials(root, **pem(authority)))("ListSecrets")
    for shown in ({}, pem(trustme.CA())):
        error = connect(port, grpc.ssl_channel_credentials(root, **shown)).fails("ListSecrets")
        assert error.code() is Status.UNAVAILABLE


def test_a_key_of_another_certificate_is_told(serve: Serve, authority: trustme.CA) -> None:
    """When the server starts, not when the first client comes."""
    one, other = pem(authority), pem(authority)
    for key in (other["private_key"], b"no key"):
        with pytest.raises(ServiceError, match="or the certificate and its key are not valid"):
            serve(tls=TLS(certificate=one["certificate_chain"], key=key))
