"""Who may do what: every cell of the table in docs/roles.md, and what tokens, revocations and records promise."""

import contextlib
import json
import re
import socket
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped] # it has no types
import pytest
from connectrpc.client import ResponseMetadata
from connectrpc.errors import ConnectError
from connectrpc.protocol import ProtocolType
from protobuf import Message, Oneof
from pyqwest import HTTPVersion, SyncClient, SyncHTTPTransport
from tests.support.service import ROOT, TOKEN, Service, serve

import gitpod
from gitpod import Gitpod
from gitpod.server.auth import Role
from gitpod.server.operate import create_token, revoke_token
from gitpod.server.storage.store import Store
from gitpod_proto.gitpod.v1.identity_pb import Principal, Subject
from gitpod_proto.gitpod.v1.secret_connect import SecretServiceClientSync, SecretServiceSync
from gitpod_proto.gitpod.v1.secret_pb import (
    CreateSecretRequest,
    DeleteSecretRequest,
    GetSecretValueRequest,
    ListSecretsRequest,
    SecretScope,
    UpdateSecretValueRequest,
)

PROTOCOLS = ["connect", "grpc"]
RPCS = [method.name for method in SecretServiceSync.desc().methods]
SERVICE = SecretServiceSync.desc().type_name
GIVEN, NOT_GIVEN, OTHER_USER, OTHER_ORGANIZATION = (str(uuid.uuid4()) for _ in range(4))
SCOPES = {
    "its own user": "user_id",
    "another user": "user_id",
    "its own service account": "service_account_id",
    "another service account": "service_account_id",
    "a project it is given": "project_id",
    "another project": "project_id",
    "its organization": "organization_id",
    "another organization": "organization_id",
}
BY_ID = ["GetSecretValue", "UpdateSecretValue", "DeleteSecret"]
FOREIGN, UNKNOWN, NO_FILTER = "a secret of another organization", "an unknown id", "no filter"
REVOKED_WITHIN = 5.0
"""Seconds."""


@dataclass(frozen=True)
class Cell:
    """A cell of the table."""

    rpc: str
    where: str
    role: str
    outcome: str

    def __str__(self) -> str:
        return f"{self.role}-{self.rpc}-{self.where}"


def table() -> list[Cell]:
    """The cells of docs/roles.md."""
    lines = re.findall(r"^\|(.+)\|$", (ROOT / "docs/roles.md").read_text(), flags=re.MULTILINE)
    (_, _, *roles), _, *rows = ([cell.strip() for cell in line.split("|")] for line in lines)
    return [Cell(row[0], row[1], role, outcome) for row in rows for role, outcome in zip(roles, row[2:], strict=True)]


CELLS = table()
SAMPLE = [("connect", cell) for cell in CELLS] + [("grpc", cell) for cell in CELLS[::5]]


@dataclass
class Holder:
    """Whoever has a token."""

    token: str
    subject: Subject
    organization: str
    id: str = ""


@dataclass
class Realm:
    """A served store with two organizations, and somebody of every role."""

    service: Service
    stubs: dict[str, SecretServiceClientSync]
    grpc_port: int
    organization: str = ""
    holders: dict[tuple[str, Principal], Holder] = field(default_factory=dict[tuple[str, Principal], Holder])
    foreign: str = ""

    @property
    def url(self) -> str:
        """Where the store is."""
        return f"sqlite:///{self.service.path}"

    def holder(
        self, role: str, principal: Principal = Principal.USER, *projects: str, organization: str | None = None
    ) -> Holder:
        """Somebody with a new token."""
        who = Subject(id=str(uuid.uuid4()), principal=principal)
        with contextlib.closing(Store(self.url)) as store:
            token, kept = create_token(store, None, who, Role(role), frozenset(projects), organization)
        return Holder(token, who, kept.organization_id, kept.id)

    def client(self, token: str, url: str = "") -> Gitpod:
        """A client of the service."""
        return Gitpod(bearer_token=token, base_url=url or self.service.url, max_retries=0)

    def call(self, rpc: str, request: Any, token: str, protocol: str = "connect") -> tuple[str, str]:
        """What came of a call, `yes` or a code, and its request id."""
        method = re.sub(r"(?<=.)([A-Z])", r"_\1", rpc).lower()
        with ResponseMetadata() as answer:
            try:
                getattr(self.stubs[protocol], method)(request, headers={"authorization": f"Bearer {token}"})
                outcome = "yes"
            except ConnectError as error:
                outcome = error.code.value
        return outcome, answer.headers.get("x-request-id") or answer.trailers.get("x-request-id", "")

    def records(self, request_id: str) -> list[tuple[Any, ...]]:
        """The audit records of a request."""
        columns = "organization_id, subject_id, principal, action, secret_id, scope_kind, scope_id, outcome"
        with contextlib.closing(sqlite3.connect(self.service.path)) as store:
            return store.execute(f"SELECT {columns} FROM audit WHERE request_id = ?", (request_id,)).fetchall()  # noqa: S608 # the columns above

    def make(self, kind: str, scope_id: str, *, name: str = "", value: str = "v", token: str = TOKEN) -> str:
        """A new secret in a scope, and its id."""
        request = CreateSecretRequest(
            name=name or unique(), value=value, scope=scope(kind, scope_id), mount=Oneof("api_only", True)
        )
        made = self.stubs["connect"].create_secret(request, headers={"authorization": f"Bearer {token}"}).secret
        assert made
        return made.id


@contextlib.contextmanager
def stub(url: str, **options: Any) -> Generator[SecretServiceClientSync]:
    """The generated stub alone, which checks nothing before it sends."""
    protocol = options.pop("protocol", ProtocolType.CONNECT)
    with SyncHTTPTransport(**options) as transport:
        yield SecretServiceClientSync(url, protocol=protocol, http_client=SyncClient(transport), timeout_ms=10_000)


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


def unique() -> str:
    """A name that no other secret has."""
    return f"N{uuid.uuid4().hex}"


def scope(kind: str, scope_id: str) -> SecretScope:
    """A scope of any kind."""
    named: Any = Oneof(kind, scope_id)
    return SecretScope(scope=named)


def target(cell: Cell, holder: Holder) -> tuple[str, str]:
    """The scope that a row of the table is about."""
    ids = {
        "a project it is given": GIVEN,
        "another project": NOT_GIVEN,
        "its organization": holder.organization,
        "another organization": OTHER_ORGANIZATION,
        "another user": OTHER_USER,
        "another service account": OTHER_USER,
    }
    return SCOPES[cell.where], ids.get(cell.where, holder.subject.id)


def request_of(realm: Realm, cell: Cell, holder: Holder) -> Message:
    """The request of a cell; what it is about exists."""
    if cell.where == NO_FILTER:
        return ListSecretsRequest()
    if cell.rpc == "ListSecrets":
        return ListSecretsRequest(filter=ListSecretsRequest.Filter(scope=scope(*target(cell, holder))))
    if cell.rpc == "CreateSecret":
        where = scope(*target(cell, holder))
        return CreateSecretRequest(name=unique(), value="v", scope=where, mount=Oneof("api_only", True))
    secret_id = {FOREIGN: realm.foreign, UNKNOWN: str(uuid.uuid4())}.get(cell.where)
    return by_id(cell.rpc, secret_id or realm.make(*target(cell, holder)))


def by_id(rpc: str, secret_id: str) -> Message:
    """The request of an RPC that takes an id."""
    if rpc == "UpdateSecretValue":
        return UpdateSecretValueRequest(secret_id=secret_id, value="new")
    return (GetSecretValueRequest if rpc == "GetSecretValue" else DeleteSecretRequest)(secret_id=secret_id)


def recorded(cell: Cell, holder: Holder, request: Any) -> tuple[str | int, ...]:
    """What the audit record of a cell holds; of a secret that is created it leaves the id out."""
    where: tuple[str, ...] = ("", "") if cell.where in (FOREIGN, UNKNOWN) else target(cell, holder)
    secret_id = "" if cell.rpc == "CreateSecret" else request.secret_id
    if cell.role == "environment" and cell.rpc != "GetSecretValue":
        # Refused before the body says which secret.
        secret_id, where = "", ("", "")
    who = holder.organization, holder.subject.id, int(holder.subject.principal)
    return *who, cell.rpc, secret_id, *where, "ok" if cell.outcome == "yes" else cell.outcome


def test_the_table_is_whole() -> None:
    """It has every RPC with every scope, for every role, and no outcome but these."""
    rows = {(rpc, where) for rpc in RPCS for where in SCOPES} | {("ListSecrets", NO_FILTER)}
    rows -= {(rpc, "another organization") for rpc in BY_ID}
    rows |= {(rpc, where) for rpc in BY_ID for where in (FOREIGN, UNKNOWN)}
    expected = {(*row, role) for row in rows for role in ("owner", "admin", "member", "environment")}
    assert {(cell.rpc, cell.where, cell.role) for cell in CELLS} == expected
    assert len(CELLS) == len(expected)
    assert {cell.outcome for cell in CELLS} == {"yes", "permission_denied", "not_found"}


@pytest.mark.parametrize(("protocol", "cell"), SAMPLE, ids=str)
def test_each_role_does_what_the_table_says(realm: Realm, protocol: str, cell: Cell) -> None:
    """And a record says so, under the request id that the caller got."""
    principal = Principal.SERVICE_ACCOUNT if "service account" in cell.where else Principal.USER
    holder = realm.holders[cell.role, principal]
    request = request_of(realm, cell, holder)
    outcome, request_id = realm.call(cell.rpc, request, holder.token, protocol)
    assert outcome == cell.outcome
    assert uuid.UUID(request_id)
    found = realm.records(request_id)
    if cell.rpc == "CreateSecret":
        found = [(*record[:4], "", *record[5:]) for record in found]
    assert found == ([] if cell.rpc == "ListSecrets" else [recorded(cell, holder, request)])


@pytest.mark.parametrize("role", ["member", "environment"])
def test_a_list_without_a_filter_has_the_callers_scopes_alone(realm: Realm, role: str) -> None:
    """However many others there are."""
    project, others = str(uuid.uuid4()), str(uuid.uuid4())
    holder = realm.holder(role, Principal.USER, project)
    mine = realm.make("user_id", holder.subject.id)
    given = realm.make("project_id", project)
    realm.make("project_id", others)
    realm.make("service_account_id", holder.subject.id)
    with realm.client(holder.token) as client:
        assert [secret.id for secret in client.secrets.list()] == ([mine, given] if role == "member" else [given])
        with pytest.raises(gitpod.PermissionDeniedError, match="does not reach this one"):
            client.secrets.list(filter={"project_ids": [project, others]})


def test_a_member_without_projects_has_its_own_scope(realm: Realm) -> None:
    """And one that is no user and no service account has none."""
    user, runner = realm.holder("member"), realm.holder("member", Principal.RUNNER)
    with realm.client(user.token) as client:
        made = client.secrets.create(name="NAME", value="v", scope={"user_id": user.subject.id}, api_only=True).secret
        assert list(client.secrets.list()) == [made]
    with realm.client(runner.token) as client:
        assert list(client.secrets.list()) == []


def test_scopes_are_the_same_in_upper_case(realm: Realm) -> None:
    """UUIDs differ by their digits alone, for those who may and those who may not."""
    member = realm.holders["member", Principal.USER]
    with realm.client(member.token) as client:
        made = client.secrets.create(name=unique(), value="v", project_id=GIVEN.upper(), api_only=True).secret
        assert made.project_id == GIVEN
        assert client.secrets.get_value(secret_id=made.id.upper()).value == "v"
        with pytest.raises(gitpod.PermissionDeniedError):
            client.secrets.list(filter={"scope": {"project_id": NOT_GIVEN.upper()}})


@pytest.mark.parametrize("principal", [Principal.USER, Principal.SERVICE_ACCOUNT, Principal.RUNNER])
def test_the_creator_is_the_tokens_subject(realm: Realm, principal: Principal) -> None:
    """Its id and what it is."""
    holder = realm.holder("admin", principal)
    with realm.client(holder.token) as client:
        creator = client.secrets.create(name=unique(), value="v", project_id=GIVEN, api_only=True).secret.creator
    assert creator
    assert (creator.id, creator.principal) == (holder.subject.id, f"PRINCIPAL_{principal.name}")


@pytest.mark.parametrize("role", ["admin", "member"])
@pytest.mark.parametrize("rpc", BY_ID)
def test_a_foreign_secret_is_no_different_from_an_unknown_id(realm: Realm, rpc: str, role: str) -> None:
    """In code, words, details and headers."""
    authorization = {"authorization": f"Bearer {realm.holders[role, Principal.USER].token}"}
    method = getattr(realm.stubs["connect"], re.sub(r"(?<=.)([A-Z])", r"_\1", rpc).lower())
    answers: list[object] = []
    for secret_id in (realm.foreign, str(uuid.uuid4())):
        with ResponseMetadata() as answer, pytest.raises(ConnectError) as caught:
            method(by_id(rpc, secret_id), headers=authorization)
        headers = {name: value for name, value in answer.headers.items() if name not in ("x-request-id", "date")}
        answers.append((caught.value.code, caught.value.message, list(caught.value.details), headers))
    assert answers[0] == answers[1]
    assert realm.records(answer.headers["x-request-id"])


def test_organizations_do_not_see_each_other(realm: Realm) -> None:
    """The same name in the same project is free in each, and each reads its own value."""
    name, project = unique(), str(uuid.uuid4())
    for role, value in (("admin", "ours"), ("foreign", "theirs")):
        with realm.client(realm.holders[role, Principal.USER].token) as client:
            made = client.secrets.create(name=name, value=value, project_id=project, api_only=True).secret
            assert list(client.secrets.list(filter={"project_ids": [project]})) == [made]
            assert client.secrets.get_value(secret_id=made.id).value == value
    with realm.client(TOKEN) as owner:
        assert len(list(owner.secrets.list(filter={"project_ids": [project]}))) == 1
    with realm.client(realm.holders["foreign", Principal.USER].token) as client:
        ids = {secret.id for secret in client.secrets.list(page_size=100)}
    assert realm.foreign in ids
    with contextlib.closing(sqlite3.connect(realm.service.path)) as store:
        owners = store.execute(
            "SELECT DISTINCT organization_id FROM secrets WHERE id IN (SELECT value FROM json_each(?))",
            [json.dumps(list(ids))],
        )
        assert owners.fetchall() == [(OTHER_ORGANIZATION,)]


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
    holder = realm.holders.get((role, Principal.USER))
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
    "change", ["role = 'admin'", "subject_id = id", "projects = ''", "digest = zeroblob(32)", "tag = x''"]
)
def test_a_token_that_was_altered_in_the_store_is_none(tmp_path: Path, change: str) -> None:
    """Nor one that was made up there: whoever writes to the database may not call for that."""
    service = serve(tmp_path / "s.db")
    with contextlib.closing(Store(f"sqlite:///{tmp_path}/s.db")) as store:
        subject = Subject(id=str(uuid.uuid4()), principal=Principal.USER)
        token, _ = create_token(store, None, subject, Role.MEMBER, frozenset({GIVEN}), None)
    with contextlib.closing(sqlite3.connect(tmp_path / "s.db", isolation_level=None)) as writer:
        writer.execute(f"UPDATE tokens SET {change}")  # noqa: S608 # from the table above
    with Gitpod(bearer_token=token, base_url=service.url) as client, pytest.raises(gitpod.AuthenticationError):
        client.secrets.list()
    assert service.stop() == 0
    assert ("is not as it was made" in service.log.read_text()) == ("digest" not in change)
