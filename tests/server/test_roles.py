"""What each role may do: every cell of the table in docs/service/roles.md."""

import contextlib
import json
import re
import sqlite3
import uuid

import pytest
from connectrpc.client import ResponseMetadata
from connectrpc.errors import ConnectError
from postgres import until
from tests.support.realm import (
    BY_ID,
    CELLS,
    FOREIGN,
    GIVEN,
    NO_FILTER,
    NOT_GIVEN,
    OTHER_ORGANIZATION,
    RPCS,
    SAMPLE,
    SCOPES,
    UNKNOWN,
    Cell,
    Realm,
    by_id,
    recorded,
    request_of,
    unique,
)
from tests.support.service import TOKEN

import gitpod
from gitpod_proto.gitpod.v1.identity_pb import Principal


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
    if cell.outcome != "yes" and cell.role != "owner":
        # Refusals of one token are counted together; a token of its own has a record of its own.
        holder = realm.holder(cell.role, principal, *([] if cell.role == "admin" else [GIVEN]))
    request = request_of(realm, cell, holder)
    outcome, request_id = realm.call(cell.rpc, request, holder.token, protocol)
    assert outcome == cell.outcome
    assert uuid.UUID(request_id)
    if outcome != "yes" and cell.role == "owner":
        assert realm.refused(holder)[cell.rpc, outcome]
        return
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
    holder = realm.holder(role, Principal.USER)
    authorization = {"authorization": f"Bearer {holder.token}"}
    method = getattr(realm.stubs["connect"], re.sub(r"(?<=.)([A-Z])", r"_\1", rpc).lower())
    answers: list[object] = []
    for secret_id in (realm.foreign, str(uuid.uuid4())):
        with ResponseMetadata() as answer, pytest.raises(ConnectError) as caught:
            method(by_id(rpc, secret_id), headers=authorization)
        headers = {name: value for name, value in answer.headers.items() if name not in ("x-request-id", "date")}
        answers.append((caught.value.code, caught.value.message, list(caught.value.details), headers))
    assert answers[0] == answers[1]
    until(lambda: realm.refused(holder)[rpc, "not_found"] == 2, "both are counted")


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
