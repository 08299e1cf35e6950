"""A served store with two organizations and callers of every role, and the requests of the table of roles."""

import contextlib
import re
import sqlite3
import uuid
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from connectrpc.client import ResponseMetadata
from connectrpc.errors import ConnectError
from connectrpc.protocol import ProtocolType
from protobuf import Message, Oneof
from pyqwest import SyncClient, SyncHTTPTransport
from tests.support.service import ROOT, TOKEN, Service

from gitpod import Gitpod
from gitpod.server.caller import Role
from gitpod.server.operate import create_token
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
    """The cells of docs/service/roles.md."""
    lines = re.findall(r"^\|(.+)\|$", (ROOT / "docs/service/roles.md").read_text(), flags=re.MULTILINE)
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

    def refused(self, holder: Holder) -> Counter[tuple[str, str]]:
        """How many calls of somebody were refused, by RPC and code. The last ones may take a second to be counted."""
        with contextlib.closing(sqlite3.connect(self.service.path)) as store:
            found = store.execute(
                "SELECT action, outcome, count FROM audit WHERE subject_id = ? AND token_id = ? AND outcome <> 'ok'",
                (holder.subject.id, holder.id),
            )
            counted = Counter[tuple[str, str]]()
            for action, outcome, count in found:
                counted[action, outcome] += count
            return counted

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
