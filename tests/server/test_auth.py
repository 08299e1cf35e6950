"""What tokens, revocations, refusals and audit records promise."""

import contextlib
import json
import socket
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped] # it has no types
import pytest
from protobuf import Oneof
from tests.support.realm import (
    BY_ID,
    GIVEN,
    OTHER_ORGANIZATION,
    PROTOCOLS,
    SERVICE,
    Realm,
    by_id,
    scope,
    unique,
)
from tests.support.service import TOKEN, serve

import gitpod
from gitpod import Gitpod
from gitpod.server.caller import Role
from gitpod.server.operate import create_token, revoke_token
from gitpod.server.storage.rows import LATEST
from gitpod.server.storage.store import Store
from gitpod_proto.gitpod.v1.identity_pb import Principal, Subject
from gitpod_proto.gitpod.v1.secret_pb import (
    CreateSecretRequest,
    ListSecretsRequest,
)

REVOKED_WITHIN = 5.0
"""The most seconds until a revoked token is refused."""
MARKS: dict[str, Any] = {"expires_at": LATEST, "note": "ci web"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "almost",
    [
        "gps_{organization}_{random}A",
        "gps_{other}_{random}",
        "gps__{random}",
        "gps_{organization}_",
        "GPS_{organization}_{random}",
        "{organization}_{random}",
        "{random}",
        "gps_{organization}' OR 1=1 --_{random}",
    ],
)
def test_what_is_almost_a_token_is_unauthenticated(realm: Realm, protocol: str, almost: str) -> None:
    """Whatever it has of one that is known."""
    holder = realm.holders["admin", Principal.USER]
    _, organization, random = holder.token.split("_", 2)
    assert len(random) >= 43
    given = almost.format(organization=organization, random=random, other=uuid.UUID(OTHER_ORGANIZATION).hex)
    outcome, request_id = realm.call("ListSecrets", ListSecretsRequest(), given, protocol)
    assert outcome == "unauthenticated"
    assert uuid.UUID(request_id)


def refused_after(realm: Realm, url: str, token: str) -> float:
    """The seconds until a service refuses a token that is in use, asked again and again."""
    began = time.monotonic()
    with realm.client(token, url) as client:
        while time.monotonic() - began < 3 * REVOKED_WITHIN:
            try:
                client.secrets.list(page_size=1)
            except gitpod.AuthenticationError:
                break
            threading.Event().wait(0.01)
    return time.monotonic() - began


def test_a_revoked_token_is_refused_by_every_replica(realm: Realm) -> None:
    """Within 5 seconds, while it is in use on both; other tokens of the same subject stay."""
    holder = realm.holder("member", Principal.USER, GIVEN)
    replica = serve(realm.service.path)
    try:
        urls = [realm.service.url, replica.url]
        for url in urls:
            with realm.client(holder.token, url) as client:
                client.secrets.list()
        with contextlib.closing(Store(realm.url)) as store:
            assert revoke_token(store, holder.id)
        with ThreadPoolExecutor() as pool:
            waiting = [pool.submit(refused_after, realm, url, holder.token) for url in urls]
        assert max(each.result() for each in waiting) < REVOKED_WITHIN
        assert realm.call("ListSecrets", ListSecretsRequest(), holder.token, "grpc")[0] == "unauthenticated"
        assert replica.stop() == 0
    finally:
        replica.process.kill()


@pytest.mark.parametrize(
    ("role", "status", "code"), [("environment", 403, "permission_denied"), ("nobody", 401, "unauthenticated")]
)
@pytest.mark.parametrize("rpc", ["CreateSecret", "UpdateSecretValue", "DeleteSecret"])
def test_a_denial_does_not_wait_for_the_body(realm: Realm, rpc: str, role: str, status: int, code: str) -> None:
    """It answers the headers alone, and keeps a record of whoever it knows."""
    holder = realm.holder(role) if role == "environment" else None
    host, _, port = realm.service.url.removeprefix("http://").partition(":")
    head = [
        f"POST /{SERVICE}/{rpc} HTTP/1.1",
        f"host: {host}",
        "content-type: application/json",
        "content-length: 1000",
        f"authorization: Bearer {holder.token if holder else 'gps_x'}",
    ]
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        response = HTTPResponse(connection)
        response.begin()
        assert (response.status, json.loads(response.read())["code"]) == (status, code)
    found = realm.records(response.headers["x-request-id"])
    assert found == ([(holder.organization, holder.subject.id, 2, rpc, "", "", "", code)] if holder else [])


@pytest.mark.parametrize(
    ("role", "code"), [("environment", grpc.StatusCode.PERMISSION_DENIED), ("nobody", grpc.StatusCode.UNAUTHENTICATED)]
)
def test_a_denial_does_not_wait_for_a_message_of_grpc(realm: Realm, role: str, code: grpc.StatusCode) -> None:
    """Nor does it for the end of the call."""
    holder = realm.holders.get((role, Principal.USER))
    silence = threading.Event()

    def nothing() -> Iterator[bytes]:
        silence.wait(10)
        yield from ()

    connection: Any = grpc.insecure_channel(f"127.0.0.1:{realm.grpc_port}")
    with connection as channel:
        metadata = (("authorization", f"Bearer {holder.token if holder else 'gps_x'}"),)
        call = channel.stream_unary(f"/{SERVICE}/CreateSecret").future(nothing(), metadata=metadata, timeout=8)
        assert call.code() is code
        assert not silence.is_set()
        silence.set()


def test_a_taken_name_is_on_record(realm: Realm) -> None:
    """As is whatever else is refused in the transaction; the value is in none of its records."""
    name, canary = unique(), f"canary-{uuid.uuid4()}"
    member = realm.holders["member", Principal.USER]
    secret_id = realm.make("project_id", GIVEN, name=name, value=canary, token=member.token)
    taken = CreateSecretRequest(
        name=name, value=canary, scope=scope("project_id", GIVEN), mount=Oneof("api_only", True)
    )
    outcome, request_id = realm.call("CreateSecret", taken, member.token)
    assert outcome == "already_exists"
    [record] = realm.records(request_id)
    assert (record[3], *record[5:]) == ("CreateSecret", "project_id", GIVEN, "already_exists")
    for rpc in BY_ID:
        assert realm.call(rpc, by_id(rpc, secret_id), member.token)[0] == "yes"
    with contextlib.closing(sqlite3.connect(realm.service.path)) as store:
        rows = store.execute("SELECT * FROM audit").fetchall()
        kept = store.execute("SELECT action FROM audit WHERE secret_id = ? ORDER BY id", (secret_id,)).fetchall()
    assert canary not in str(rows)
    assert [action for (action,) in kept] == ["CreateSecret", *BY_ID]


@pytest.mark.parametrize("rpc", ["CreateSecret", *BY_ID])
def test_nothing_happens_without_its_record(tmp_path: Path, rpc: str) -> None:
    """A store that keeps no records keeps no secrets either, and gives no value away."""
    path = tmp_path / "secrets.db"
    with Gitpod(bearer_token="any", base_url=f"sqlite:///{path}", max_retries=0) as client:
        secrets = client.secrets
        made = secrets.create(name="KEPT", value="old", project_id=GIVEN, api_only=True).secret
        calls: dict[str, Callable[[], object]] = {
            "CreateSecret": lambda: secrets.create(name="MORE", value="v", project_id=GIVEN, api_only=True),
            "GetSecretValue": lambda: secrets.get_value(secret_id=made.id),
            "UpdateSecretValue": lambda: secrets.update_value(secret_id=made.id, value="new"),
            "DeleteSecret": lambda: secrets.delete(secret_id=made.id),
        }
        with contextlib.closing(sqlite3.connect(path)) as store:
            store.execute("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END")
            with pytest.raises(gitpod.InternalServerError):
                calls[rpc]()
            store.execute("DROP TRIGGER full")
        assert list(secrets.list()) == [made]
        assert secrets.get_value(secret_id=made.id).value == "old"


def test_tokens_are_in_no_file_and_no_log(realm: Realm) -> None:
    """Neither those that were made, nor what was taken for one."""
    tokens = [holder.token for holder in realm.holders.values()]
    for protocol in PROTOCOLS:
        for token in tokens:
            assert realm.call("ListSecrets", ListSecretsRequest(), token, protocol)[0] == "yes"
            assert realm.call("ListSecrets", ListSecretsRequest(), f"{token}A", protocol)[0] == "unauthenticated"
    files = {file.name: file.read_bytes() for file in realm.service.path.parent.iterdir()}
    assert {"secrets.db", "secrets.db-wal", "secrets.db.log"} <= set(files)
    assert b'"unauthenticated"' in files["secrets.db.log"]
    for token in tokens:
        random = token.split("_", 2)[-1].encode()
        assert [name for name, content in files.items() if random in content] == []
        digest = sha256(token.encode()).digest()
        assert token == TOKEN or any(digest in content for content in files.values())


@pytest.mark.parametrize(
    ("marks", "change"),
    [
        ({}, "role = 'admin'"),
        ({}, "subject_id = id"),
        ({}, "projects = ''"),
        ({}, "digest = zeroblob(32)"),
        ({}, "tag = x''"),
        ({}, f"expires_at = {LATEST}"),
        (MARKS, "expires_at = expires_at + 1"),
        (MARKS, "expires_at = NULL"),
        (MARKS, "expires_at = NULL, note = ''"),
        (MARKS, "expires_at = 'never'"),
        (MARKS, "note = x'00'"),
    ],
)
def test_a_token_that_was_altered_in_the_store_is_none(tmp_path: Path, marks: dict[str, Any], change: str) -> None:
    """Nor one that was made up there: whoever writes to the database may not call for that."""
    service = serve(tmp_path / "s.db")
    with contextlib.closing(Store(f"sqlite:///{tmp_path}/s.db")) as store:
        subject = Subject(id=str(uuid.uuid4()), principal=Principal.USER)
        token, _ = create_token(store, None, subject, Role.MEMBER, frozenset({GIVEN}), None, **marks)
    with contextlib.closing(sqlite3.connect(tmp_path / "s.db", isolation_level=None)) as writer:
        writer.execute(f"UPDATE tokens SET {change}")  # noqa: S608 # from the table above
    with Gitpod(bearer_token=token, base_url=service.url) as client, pytest.raises(gitpod.AuthenticationError):
        client.secrets.list()
    assert service.stop() == 0
    assert ("was altered in the store" in service.log.read_text()) == ("digest" not in change)
