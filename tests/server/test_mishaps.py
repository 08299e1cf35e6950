"""What goes wrong around a service: meddled databases, bad key commands, odd clocks, commits that never end."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from postgres import MISSING, Cluster, binaries, until
from tests.support.service import TOKEN, Service, serve

import gitpod
from gitpod import Gitpod, GitpodError
from gitpod.server.caller import Role
from gitpod.server.errors import ServiceError
from gitpod.server.keys.unlock import unlock
from gitpod.server.operate import create_token, rewrap, rotate
from gitpod.server.storage.store import Store
from gitpod_proto.gitpod.v1.identity_pb import Principal, Subject

PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
VALUE = "canary-value-77aa"
PARAMS: Any = {"value": VALUE, "project_id": PROJECT, "api_only": True}
COMMAND = [sys.executable, "-c", "from gitpod.cli import main; main()"]
PATIENT = "from gitpod.server.edge import applications as a; a.LONGEST_REQUEST = 60; " + COMMAND[2]


def meddle(path: Path, statement: str) -> None:
    """Do what somebody does who can write to the database."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)


def tenant(path: Path) -> str:
    """Make another organization, with an admin; return the token."""
    with closing(Store(f"sqlite:///{path}")) as store:
        subject = Subject(id=str(uuid.uuid4()), principal=Principal.USER)
        return create_token(store, None, subject, Role.ADMIN, frozenset(), str(uuid.uuid4()))[0]


def fill(client: Gitpod) -> None:
    """Store more than a page has room for."""
    for number in range(200):
        client.secrets.create(name=f"NUM{number}", value="v" * 9000, project_id=PROJECT, api_only=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with a secret."""
    with Gitpod(base_url=f"sqlite:///{tmp_path}/s.db") as client:
        client.secrets.create(name="KEPT", **PARAMS)
    return tmp_path / "s.db"


@pytest.mark.parametrize(
    "change",
    [
        "is_own = NOT is_own",
        "is_own = true",
        "owner_id = id",
        "tag = x''",
        "key_id = 'another'",
        "created_at = -created_at, is_own = true",
    ],
)
def test_nobody_else_becomes_the_stores_own(path: Path, change: str) -> None:
    """Though they can write to the database: the owner's secrets would become theirs."""
    tenant(path)
    meddle(path, f"UPDATE organizations SET {change}")  # noqa: S608 # from the table above
    with Gitpod(base_url=f"sqlite:///{path}") as client, pytest.raises(GitpodError, match="organization"):
        client.secrets.list()


def test_the_own_organization_is_not_the_one_with_the_oldest_clock(path: Path) -> None:
    """But the one that was marked."""
    tenant(path)
    meddle(path, "UPDATE organizations SET created_at = 0 WHERE NOT is_own")
    with Gitpod(base_url=f"sqlite:///{path}") as client:
        assert [secret.name for secret in client.secrets.list()] == ["KEPT"]


def test_a_wrapping_that_does_not_unwrap_is_not_kept(path: Path) -> None:
    """A command that loses keys costs nothing but an error."""
    bad = path.with_name("bad.sh")
    bad.write_text("#!/bin/sh\necho Y29uc3RhbnQ=\n")
    bad.chmod(0o700)
    with closing(Store(f"sqlite:///{path}")) as store, pytest.raises(ServiceError, match=r"bad\.sh"):
        rewrap(store, None, f"command:{bad}")
    with Gitpod(base_url=f"sqlite:///{path}") as client:
        [secret] = client.secrets.list()
        assert client.secrets.get_value(secret_id=secret.id).value == VALUE


def test_a_rotation_takes_effect_though_the_clock_stepped_back(path: Path) -> None:
    """The new data key is the newest, whatever its time."""
    meddle(path, "UPDATE data_keys SET created_at = created_at + 3600000000")
    with closing(Store(f"sqlite:///{path}")) as store:
        own, _ = unlock(store, None)
        before = store.data_keys(own.id)
        assert rotate(store, None) == 1
        after = store.data_keys(own.id)
    assert [key.id for key in after[:-1]] == [key.id for key in before]


def test_another_organizations_lost_key_is_its_own_affair(path: Path) -> None:
    """The service starts, and serves the others."""
    token = tenant(path)
    meddle(
        path,
        "UPDATE data_keys SET wrapped = x'00' WHERE organization_id IN (SELECT id FROM organizations WHERE NOT is_own)",
    )
    service = serve(path)
    with Gitpod(bearer_token=TOKEN, base_url=service.url) as client, closing(client):
        assert [secret.name for secret in client.secrets.list()] == ["KEPT"]
    with (
        Gitpod(bearer_token=token, base_url=service.url, max_retries=0) as stranger,
        pytest.raises(gitpod.InternalServerError, match="the key cannot be used"),
    ):
        stranger.secrets.list()
    assert service.stop() == 0


def test_a_row_that_cannot_be_read_does_not_hide_the_others(path: Path) -> None:
    """Lists leave it out, and the log names it."""
    with Gitpod(base_url=f"sqlite:///{path}") as client:
        client.secrets.create(name="WELL", **PARAMS)
        meddle(path, "UPDATE secrets SET record = x'ff' WHERE name = 'KEPT'")
        assert [secret.name for secret in client.secrets.list()] == ["WELL"]


@pytest.mark.parametrize("fate", ["removed", "replaced"])
def test_a_file_that_was_removed_or_replaced_is_not_written_to(path: Path, fate: str) -> None:
    """What is acknowledged there would be lost."""
    service = serve(path)
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    if fate == "removed":
        path.unlink()
    else:
        copy.replace(path)
    with (
        Gitpod(bearer_token=TOKEN, base_url=service.url, max_retries=0) as client,
        pytest.raises(gitpod.InternalServerError, match="removed or replaced; nothing was written") as caught,
    ):
        client.secrets.create(name="LOST", **PARAMS)
    assert caught.value.outcome == "rejected"
    assert httpx.get(f"{service.url}/readyz").status_code == 503
    assert service.stop() == 0


def test_a_full_disk_is_said_and_nothing_is_written(path: Path) -> None:
    """By an error that proves it, and the service goes on when there is room."""
    with Gitpod(base_url=f"sqlite:///{path}", max_retries=0) as client:
        client.secrets.list()
        service: Any = vars(client)["_shared"]["connections"]._service
        with service._store._database.writer() as session:
            session.driver.execute("PRAGMA max_page_count = 1")
        with pytest.raises(gitpod.InternalServerError, match="cannot be written to") as caught:
            fill(client)
        assert caught.value.outcome == "rejected"


def test_a_commit_that_never_ends_does_not_keep_the_service_from_stopping(tmp_path: Path) -> None:
    """As when the standby is gone that it waits for; nobody was told that it took place."""
    if binaries() is None:
        pytest.skip(MISSING)
    with Cluster() as cluster:
        url = cluster.create_database("stuck")
        service = serve(tmp_path / "unused.db", "--store", url, "--key", f"file:{tmp_path}/key")
        cluster.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        cluster.execute("SELECT pg_reload_conf()")
        until(lambda: cluster.execute("SHOW synchronous_standby_names") == [("nobody",)], "the setting holds")
        with (
            Gitpod(bearer_token=TOKEN, base_url=service.url, max_retries=0) as client,
            # The client's deadline or the service's, whichever is noticed first.
            pytest.raises(gitpod.APIError) as caught,
        ):
            client.secrets.create(name="STUCK", timeout=2, **PARAMS)
        assert (caught.value.code, caught.value.outcome) == ("deadline_exceeded", "unknown")
        assert service.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--allow-origin", "*"], {}, "an origin must be as browsers send it"),
        (["--allow-origin", "https://a.example/"], {}, "an origin must be as browsers send it"),
        (["--keep-alive", "0"], {}, "invalid value for '--keep-alive'"),
        ([], {"GITPOD_API_KEY": "gps_0_canary"}, "GITPOD_API_KEY holds a token of the store"),
        (
            ["--store", "sqlite:///"],
            {},
            "invalid value for '--store' (env var: 'GITPOD_SECRETS_STORE'): the store's path",
        ),
        (["--store", "sqlite:///canary%41.db"], {}, "must not hold a percent sign"),
        (["--store", "postgresql://u:canary@host/db?mode=x"], {}, "URL: mode: is not a parameter of libpq"),
        (["--store", "postgres://u:canary@host/db"], {}, "is postgresql://"),
        (["--store", "postgresql://u:can@ary@host/db"], {}, "more than one @"),
    ],
)
def test_what_is_rarely_meant_is_refused_at_start(
    path: Path, arguments: list[str], environment: dict[str, str], message: str
) -> None:
    """In a line that repeats nothing of it."""
    command = [*COMMAND, "serve", "--store", f"sqlite:///{path}", "--port", "0", *arguments]
    environment = os.environ | {"GITPOD_API_KEY": TOKEN} | environment
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "canary" not in done.stderr
    assert "ary@" not in done.stderr


def test_a_token_in_place_of_its_id_is_not_repeated(path: Path) -> None:
    """By the command that revokes."""
    token = tenant(path)
    command = [*COMMAND, "token", "revoke", token, "--store", f"sqlite:///{path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "must be the id of a token" in done.stderr
    assert token not in done.stderr + done.stdout


def test_a_token_that_could_not_be_printed_is_revoked(path: Path) -> None:
    """Nobody has it, so nobody shall use it."""
    command = [*COMMAND, "token", "create", "--role", "admin", "--store", f"sqlite:///{path}"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "could not be printed, and is revoked" in done.stderr
    with closing(Store(f"sqlite:///{path}")) as store:
        assert [token.revoked_at is not None for token in store.tokens()] == [True]


def test_a_service_in_memory_is_ready(tmp_path: Path) -> None:
    """Like any other."""
    service = serve(tmp_path / "unused.db", "--store", "sqlite://")
    assert httpx.get(f"{service.url}/readyz").status_code == 200
    assert service.stop() == 0


def test_every_answer_has_its_request_id(service: Service) -> None:
    """Also those that the runtime has no part in."""
    for path, headers in (("/nowhere", {}), ("/gitpod.v1.SecretService/ListSecrets", {"connect-timeout-ms": "soon"})):
        answer = httpx.post(service.url + path, headers=headers, json={})
        request_id = answer.headers["x-request-id"]
        # The line is written once the answer was sent.
        until(lambda: request_id in service.log.read_text(), "the request has its line")  # noqa: B023 # awaited here


def test_a_token_that_is_revoked_before_the_body_comes_is_refused(path: Path) -> None:
    """Whoever keeps a call open gets no more time by it."""
    token = tenant(path)
    service = serve(path, main=PATIENT)
    answers: list[int] = []
    sent, revoked = threading.Event(), threading.Event()

    def body() -> Any:
        yield b"{"
        sent.set()
        revoked.wait(30)
        yield b"}"

    def call() -> None:
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        url = f"{service.url}/gitpod.v1.SecretService/ListSecrets"
        answers.append(httpx.post(url, headers=headers, content=body(), timeout=60).status_code)

    thread = threading.Thread(target=call)
    thread.start()
    assert sent.wait(30)
    until(lambda: "tokens" in path.read_bytes().decode("latin1"), "the store is there")
    with closing(Store(f"sqlite:///{path}")) as store:
        subprocess.run(
            [*COMMAND, "token", "revoke", store.tokens()[0].id, "--store", f"sqlite:///{path}"],
            check=True,
            capture_output=True,
        )
    with Gitpod(bearer_token=token, base_url=service.url, max_retries=0) as client:

        def is_refused() -> bool:
            try:
                client.secrets.list()
            except gitpod.AuthenticationError:
                return True
            return False

        until(is_refused, "the token is refused", 10)
    revoked.set()
    thread.join()
    assert answers == [401]
    assert service.stop(signal.SIGTERM) == 0
