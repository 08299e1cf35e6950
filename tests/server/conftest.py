"""The served store that tests of roles and of tokens share."""

import socket
from collections.abc import Iterator

import pytest
from connectrpc.protocol import ProtocolType
from pyqwest import HTTPVersion
from tests.support.realm import GIVEN, OTHER_ORGANIZATION, Holder, Realm, stub
from tests.support.service import TOKEN, serve

from gitpod_proto.gitpod.v1.identity_pb import Principal, Subject


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    """One store for all of these tests, over Connect and gRPC."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    service = serve(tmp_path_factory.mktemp("auth") / "secrets.db", "--grpc-port", str(port))
    grpc_url = f"http://127.0.0.1:{port}"
    try:
        with (
            stub(service.url) as connect,
            stub(grpc_url, protocol=ProtocolType.GRPC, http_version=HTTPVersion.HTTP2) as over_grpc,
        ):
            realm = Realm(service, {"connect": connect, "grpc": over_grpc}, port)
            for role in ("admin", "member", "environment"):
                for principal in (Principal.USER, Principal.SERVICE_ACCOUNT):
                    projects = () if role == "admin" else (GIVEN,)
                    realm.holders[role, principal] = realm.holder(role, principal, *projects)
            realm.organization = realm.holders["admin", Principal.USER].organization
            with realm.client(TOKEN) as client:
                owner = client.secrets.create(name="FIRST", value="v", project_id=GIVEN, api_only=True).secret.creator
            assert owner
            assert owner.id
            subject = Subject(id=owner.id, principal=Principal.USER)
            for principal in (Principal.USER, Principal.SERVICE_ACCOUNT):
                realm.holders["owner", principal] = Holder(TOKEN, subject, realm.organization)
            there = realm.holder("admin", organization=OTHER_ORGANIZATION)
            realm.holders["foreign", Principal.USER] = there
            realm.foreign = realm.make("project_id", GIVEN, token=there.token)
            yield realm
        assert service.stop() == 0
    finally:
        service.process.kill()
