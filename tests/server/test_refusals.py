"""A flood of refused calls adds one record a minute to the audit, with their number."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from postgres import until
from protobuf import Oneof
from tests.support.clock import SECOND, clocked
from tests.support.realm import GIVEN, NOT_GIVEN, PROTOCOLS, Realm, by_id, scope, unique
from tests.support.service import serve

import gitpod
from gitpod import Gitpod
from gitpod.server.caller import Role
from gitpod.server.operate import create_token
from gitpod.server.storage.store import Store
from gitpod_proto.gitpod.v1.identity_pb import Principal, Subject
from gitpod_proto.gitpod.v1.secret_pb import CreateSecretRequest

CALLS = 60


def create(project: str, name: str) -> CreateSecretRequest:
    """A request to create."""
    return CreateSecretRequest(name=name, value="v", scope=scope("project_id", project), mount=Oneof("api_only", True))


KINDS: dict[str, tuple[str, str, str, Callable[[Realm], Any]]] = {
    "a token that may not write": ("environment", "CreateSecret", "permission_denied", lambda _: create(GIVEN, "NAME")),
    "another project": ("member", "CreateSecret", "permission_denied", lambda _: create(NOT_GIVEN, unique())),
    "a taken name": ("member", "CreateSecret", "already_exists", lambda _: create(GIVEN, "FIRST")),
    "unknown ids": ("admin", "GetSecretValue", "not_found", lambda _: by_id("GetSecretValue", str(uuid.uuid4()))),
    "unknown ids to delete": ("admin", "DeleteSecret", "not_found", lambda _: by_id("DeleteSecret", str(uuid.uuid4()))),
    "a foreign secret": ("admin", "GetSecretValue", "not_found", lambda realm: by_id("GetSecretValue", realm.foreign)),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", KINDS)
def test_refused_calls_are_counted(realm: Realm, protocol: str, kind: str) -> None:
    """Whatever refuses them: one record has them all, or two if a minute begins meanwhile."""
    role, rpc, code, make = KINDS[kind]
    holder = realm.holder(role, Principal.USER, *([] if role == "admin" else [GIVEN]))
    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(realm.call, rpc, make(realm), holder.token, protocol) for _ in range(CALLS)]
    assert {each.result()[0] for each in running} == {code}
    until(lambda: realm.refused(holder)[rpc, code] == CALLS, "all are counted")
    with closing(sqlite3.connect(realm.service.path)) as store:
        found = store.execute("SELECT token_id, request_id FROM audit WHERE subject_id = ?", [holder.subject.id])
        records = found.fetchall()
    assert len(records) in (1, 2)
    assert {token_id for token_id, _ in records} == {holder.id}
    assert {request_id for _, request_id in records} <= {each.result()[1] for each in running}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_count_outlives_the_service(tmp_path: Path, how: signal.Signals) -> None:
    """It is exact when the service stops; when it is killed, the fact is kept."""
    path = tmp_path / "secrets.db"
    service = serve(path)
    token = environment_token(f"sqlite:///{path}")
    refuse(service.url, token, 20)
    service.stop(how)
    counted = [count for _, count in refusals(f"sqlite:///{path}")]
    assert sum(counted) == 20 if how == signal.SIGTERM else 1 <= sum(counted) <= 20
    assert len(counted) in (1, 2)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_each_minute_has_its_record(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    """Two services on one store count in the same one."""
    store = f"sqlite:///{tmp_path}/s.db" if kind == "sqlite" else request.getfixturevalue("database_url")
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    key = tmp_path / "key"
    with clocked(store, folders[0], key) as first, clocked(store, folders[1], key) as second:
        token = environment_token(store, f"file:{key}")
        for minute in range(3):
            for each in (first, second):
                each.set(minute * 60 * SECOND)
                refuse(each.url, token, 10)
    minutes = refusals(store)
    assert sum(count for _, count in minutes) == 60
    # One more for each pair of calls between which a minute of the true time ended.
    assert 3 <= len(minutes) <= 6
    assert len({at // 60_000_000 for at, _ in minutes}) == len(minutes)


def test_the_command_shows_the_count(tmp_path: Path) -> None:
    """And the token, which can be revoked."""
    path = tmp_path / "secrets.db"
    service = serve(path)
    token = environment_token(f"sqlite:///{path}")
    refuse(service.url, token, 5)
    assert service.stop() == 0
    command = [sys.executable, "-c", "from gitpod.cli import main; main()", "audit", "--store", f"sqlite:///{path}"]
    shown = subprocess.run([*command, "--json"], env={**os.environ}, capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in shown.stdout.splitlines()]
    denied = [row for row in rows if row["outcome"] == "permission_denied"]
    assert sum(row["count"] for row in denied) == 5
    [made] = [row for row in rows if row["action"] == "CreateToken"]
    assert {row["token_id"] for row in denied} == {made["scope_id"]}
    assert {row["count"] for row in rows if row["outcome"] == "ok"} == {1}
    table = subprocess.run(command, env={**os.environ}, capture_output=True, text=True, check=True).stdout
    assert {"count", "token_id"} <= set(table.splitlines()[0].split())


def environment_token(store: str, key: str | None = None) -> str:
    """A token that may only read."""
    who = Subject(id=str(uuid.uuid4()), principal=Principal.ENVIRONMENT)
    with closing(Store(store)) as opened:
        return create_token(opened, key, who, Role.ENVIRONMENT, frozenset({GIVEN}), None)[0]


def refuse(url: str, token: str, calls: int) -> None:
    """Try to create so many times."""
    with Gitpod(bearer_token=token, base_url=url, max_retries=0) as client:
        for _ in range(calls):
            with pytest.raises(gitpod.PermissionDeniedError):
                client.secrets.create(name="NAME", value="v", project_id=GIVEN, api_only=True)


def refusals(store: str) -> list[tuple[int, int]]:
    """The time and the count of each record of a refusal."""
    with closing(Store(store)) as opened:
        found = opened.audit(secret_id=None, since=0, limit=1000)
    return [(record.at, record.count) for record in found if record.outcome != "ok"]
