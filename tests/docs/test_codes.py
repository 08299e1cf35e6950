"""The codes of each RPC: in the comments of the proto, in docs/languages/codes.md, and as the service answers them."""

import json
import re
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from connectrpc.code import Code
from tests.support.service import ROOT, TOKEN, Service, serve

from gitpod import Gitpod
from gitpod._rpc.failure import REFUSALS, SHEDDING, STATUS
from gitpod.server.caller import Role
from gitpod.server.operate import create_token
from gitpod.server.storage.store import Store
from gitpod_proto.gitpod.v1.identity_pb import Principal, Subject

pytestmark = pytest.mark.slow
PAGE = (ROOT / "docs/languages/codes.md").read_text()
PROTO = (ROOT / "proto/gitpod/v1/secret.proto").read_text()
RPCS = re.findall(r"^  rpc (\w+)", PROTO, re.MULTILINE)
EVERY = "every RPC"
COMMENT = r"((?:^ *//.*\n)+) *{} {}\b"
LARGE = " " * 128 * 1024
BUSY = "from gitpod.cli import main; from gitpod.server import shares; shares.TOKEN_CALLS = 0; main()"


class Row(NamedTuple):
    """A row of the table."""

    code: str
    status: str
    rpcs: str
    when: str
    done: str

    @property
    def calls(self) -> list[str]:
        """The RPCs that answer this code."""
        return RPCS if self.rpcs == EVERY else self.rpcs.split(", ")


ROWS = [
    Row(*found) for found in re.findall(r"^\| `(\w+)` \| (\d+) \| (.+) \| (.+) \| (no|perhaps) \|$", PAGE, re.MULTILINE)
]


def commented(kind: str, name: str) -> set[str]:
    """The codes in the comment of the service, or of an RPC."""
    found = re.search(COMMENT.format(kind, name), PROTO, re.MULTILINE)
    assert found
    return {code.value for code in Code if re.search(rf"\b{code.name}\b", found[1])}


def test_the_proto_names_the_same_codes_as_the_page() -> None:
    """Those of every RPC at the service, the others at theirs."""
    assert commented("service", "SecretService") == {row.code for row in ROWS if row.rpcs == EVERY}
    by_rpc = {rpc: commented("rpc", rpc) - commented("service", "SecretService") for rpc in RPCS}
    assert by_rpc == {rpc: {row.code for row in ROWS if row.rpcs != EVERY and rpc in row.calls} for rpc in RPCS}


def test_the_service_uses_no_other_code() -> None:
    """Nowhere in its source."""
    sources = "".join(path.read_text() for path in (ROOT / "src/gitpod/server").rglob("*.py"))
    used = {Code[name].value for name in re.findall(r"\bCode\.([A-Z_]+)\b", sources)}
    assert used == {row.code for row in ROWS}


def test_the_statuses_are_those_of_connect() -> None:
    """Of the table that the client has, too."""
    assert {row.code: int(row.status) for row in ROWS} == {row.code: STATUS[Code(row.code)] for row in ROWS}


def test_the_page_and_the_client_agree_about_what_a_code_proves() -> None:
    """Two more prove it when the service says when to come back, and DATA_LOSS is not sent again by either."""
    proved = {row.code for row in ROWS if row.done == "no"} - {Code.DATA_LOSS.value}
    assert proved == {code.value for code in REFUSALS | SHEDDING} & {row.code for row in ROWS}


@dataclass
class There:
    """A service with a secret."""

    service: Service
    project: str
    secret_id: str

    def body(self, rpc: str, **change: Any) -> str:
        """A request that succeeds, but for the change."""
        scope = {"projectId": self.project}
        bodies: dict[str, dict[str, Any]] = {
            "CreateSecret": {"name": "OTHER", "value": "v", "scope": scope, "apiOnly": True},
            "UpdateSecretValue": {"secretId": self.secret_id, "value": "changed"},
            "ListSecrets": {"filter": {"scope": scope}},
        }
        return json.dumps(bodies.get(rpc, {"secretId": self.secret_id}) | change)

    def post(self, rpc: str, body: str, **headers: str) -> httpx.Response:
        """The answer to a call."""
        kept = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
        kept |= {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{self.service.url}/gitpod.v1.SecretService/{rpc}"
        return httpx.post(url, content=body, headers=kept, trust_env=False, timeout=60)

    def state(self) -> list[tuple[str, str]]:
        """The secrets of the project with their values."""
        with Gitpod(bearer_token=TOKEN, base_url=self.service.url) as client:
            found = client.secrets.list(filter={"scope": {"project_id": self.project}})
            return [(secret.name, client.secrets.get_value(secret_id=secret.id).reveal()) for secret in found]

    def meddle(self, statement: str) -> None:
        """Do what somebody does who can write to the database."""
        with closing(sqlite3.connect(self.service.path, isolation_level=None)) as connection:
            connection.execute(statement)

    def other_token(self) -> str:
        """A token that reaches none of the secrets."""
        with closing(Store(f"sqlite:///{self.service.path}")) as store:
            subject = Subject(id=str(uuid.uuid4()), principal=Principal.USER)
            return create_token(store, None, subject, Role.MEMBER, frozenset(), None)[0]


def there(service: Service) -> There:
    """The service, with a secret in a project of its own."""
    project = str(uuid.uuid4())
    with Gitpod(bearer_token=TOKEN, base_url=service.url) as client:
        made = client.secrets.create(name="KEPT", value="v", project_id=project, api_only=True)
    return There(service, project, made.secret.id)


BROKEN: dict[str, dict[str, Any]] = {
    "CreateSecret": {"name": "-"},
    "UpdateSecretValue": {"value": ""},
    "ListSecrets": {"pagination": {"pageSize": 101}},
}
REFUSED: dict[str, Callable[[There, str], httpx.Response]] = {
    "unauthenticated": lambda at, rpc: at.post(rpc, at.body(rpc), authorization="Bearer unknown"),
    "permission_denied": lambda at, rpc: at.post(rpc, at.body(rpc), authorization=f"Bearer {at.other_token()}"),
    "invalid_argument": lambda at, rpc: at.post(rpc, at.body(rpc, **BROKEN.get(rpc, {"secretId": "x"}))),
    "already_exists": lambda at, rpc: at.post(rpc, at.body(rpc, name="KEPT")),
    "not_found": lambda at, rpc: at.post(rpc, at.body(rpc, secretId=str(uuid.uuid4()))),
    "resource_exhausted": lambda at, rpc: at.post(rpc, at.body(rpc) + LARGE),
    "unimplemented": lambda at, rpc: at.post(rpc, at.body(rpc), content_encoding="br"),
    "deadline_exceeded": lambda at, rpc: at.post(rpc, at.body(rpc), connect_timeout_ms="0"),
}
"""How a code is provoked at a service that is well."""
UNWELL: dict[str, Callable[[There], None]] = {
    "data_loss": lambda at: at.meddle("UPDATE secrets SET ciphertext = x'00'"),
    "unavailable": lambda at: at.service.path.unlink(),
    "internal": lambda at: at.meddle("DROP TABLE secrets"),
}
"""What is done to a store, after which calls answer a code."""


def test_every_code_is_provoked_below() -> None:
    """By one table or the other."""
    assert [*REFUSED, *UNWELL] == sorted([row.code for row in ROWS], key=[*REFUSED, *UNWELL].index)


def checked(answer: httpx.Response, row: Row) -> Any:
    """The error of an answer, which has the code and the status of a row."""
    assert (answer.json()["code"], answer.status_code) == (row.code, int(row.status))
    return answer.json()


@pytest.mark.parametrize("row", [row for row in ROWS if row.code in REFUSED], ids=lambda row: row.code)
def test_a_service_that_is_well_answers_it(service: Service, row: Row) -> None:
    """To each RPC that the row names, and does what it says, which is nothing."""
    at = there(service)
    for rpc in row.calls:
        checked(REFUSED[row.code](at, rpc), row)
    if row.done == "no":
        assert at.state() == [("KEPT", "v")]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[There]:
    """A service whose store the test may break."""
    served = serve(tmp_path / "secrets.db")
    yield there(served)
    served.process.kill()
    served.process.communicate()


@pytest.mark.parametrize("row", [row for row in ROWS if row.code in UNWELL], ids=lambda row: row.code)
def test_a_service_that_is_not_well_answers_it(own: There, row: Row) -> None:
    """To each RPC that the row names."""
    UNWELL[row.code](own)
    for rpc in row.calls:
        checked(own.post(rpc, own.body(rpc)), row)


def test_too_many_calls_are_told_when_to_come_back(tmp_path: Path) -> None:
    """By the detail that the page names, to each RPC."""
    served = serve(tmp_path / "secrets.db", main=BUSY)
    [row] = [row for row in ROWS if row.code == "resource_exhausted"]
    at = There(served, str(uuid.uuid4()), str(uuid.uuid4()))
    for rpc in RPCS:
        [detail] = checked(at.post(rpc, at.body(rpc)), row)["details"]
        assert f"`{detail['type']}`" in row.when
    assert served.stop() == 0


def test_broken_rules_have_the_detail_that_the_page_names(service: Service) -> None:
    """To each RPC."""
    [row] = [row for row in ROWS if row.code == "invalid_argument"]
    at = there(service)
    for rpc in RPCS:
        [detail] = checked(REFUSED[row.code](at, rpc), row)["details"]
        assert f"`{detail['type']}`" in row.when
