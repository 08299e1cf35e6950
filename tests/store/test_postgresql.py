"""What only a server can do to its clients: refuse to write, restart, and keep files and logs of its own."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Event

import psycopg
import pytest
from postgres import MISSING, SUPERUSER, Cluster, binaries, until
from psycopg import sql
from served import TOKEN, Service
from tests.support.storage import VALUE, Proxy, alter, embedded, heard, keep, tables, write

import gitpod
from gitpod import Gitpod, GitpodError
from gitpod.server.errors import StoreUnavailableError
from gitpod.server.storage import limits
from gitpod.server.storage.database import Database
from gitpod.server.storage.sql import Session
from gitpod.server.storage.sql import sql as statement
from gitpod.server.storage.store import Store

PASSWORD = "p4ss-of-the-role"


@pytest.fixture(autouse=True)
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of embedded stores."""
    monkeypatch.setenv("GITPOD_SECRETS_KEY", f"file:{tmp_path / 'key'}")


def test_racing_services_agree(database_url: str, tmp_path: Path, project: str) -> None:
    """Of two hundred creates on a hundred names, through three processes, a hundred succeed and a hundred conflict."""
    with ThreadPoolExecutor(12) as pool, ExitStack() as stack:
        starting = [pool.submit(Service, database_url, tmp_path) for _ in range(3)]
        served = [stack.enter_context(each.result(60)) for each in starting]
        clients = [stack.enter_context(Gitpod(bearer_token=TOKEN, base_url=each.url, max_retries=0)) for each in served]
        racing = [pool.submit(keep, clients[number % 3], project, f"NUM{number // 2}") for number in range(200)]
        made = [type(each.exception(30)) for each in racing]
        assert made.count(type(None)) == made.count(gitpod.ConflictError) == 100
        every = [each.name for each in clients[0].secrets.list(page_size=100)]
        assert sorted(every) == sorted(f"NUM{number}" for number in range(100))


def test_an_operator_waits_longer_for_an_answer(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The audit of a year has no index that helps, so its answer may take minutes."""
    monkeypatch.setattr(limits, "ANSWER_TIMEOUT", 0.2)
    with (
        tables(database_url) as store,
        psycopg.connect(database_url) as other,
        psycopg.connect(database_url, autocommit=True) as watching,
        ThreadPoolExecutor(1) as pool,
    ):
        other.execute("LOCK TABLE audit")
        shown = pool.submit(store.audit, secret_id=None, since=0, limit=10)
        late = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'relation' AND now() > query_start + interval '1 s'"
        until(lambda: shown.done() or watching.execute(late).fetchone() is not None, "the command waits")
        other.rollback()
        assert shown.result(30) == []


def test_requests_take_no_advisory_lock(database_url: str, project: str) -> None:
    """That one is for those who start, and a pooler between could not pass it on."""
    statements: list[str] = []

    def note(_: object, statement: object, *__: object, **___: object) -> None:
        statements.append(str(statement))

    with heard(psycopg.Cursor, "execute", note), embedded(database_url) as client:
        client.secrets.list()
        assert any("pg_advisory" in each for each in statements)
        statements.clear()
        secret_id = keep(client, project)
        client.secrets.update_value(secret_id=secret_id, value=VALUE)
        client.secrets.get_value(secret_id=secret_id)
        client.secrets.list()
        client.secrets.delete(secret_id=secret_id)
    assert len(statements) >= 10
    assert not any("advisory" in each for each in statements)


@pytest.mark.skipif(binaries() is None, reason=MISSING)
def test_a_service_outlives_a_restart_of_its_database(tmp_path: Path, project: str) -> None:
    """It answers that it is unavailable meanwhile, and nothing that it acknowledged is lost."""
    acknowledged: list[str] = []
    failed: list[gitpod.APIError] = []
    ended = Event()

    def stream(client: Gitpod, name: str) -> None:
        number = 0
        while not ended.is_set():
            number += 1
            try:
                acknowledged.append(keep(client, project, f"{name}{number}"))
                client.secrets.list(page_size=1)
            except gitpod.APIError as error:
                failed.append(error)

    with (
        Cluster() as own,
        Service(own.url(), tmp_path) as service,
        Gitpod(bearer_token=TOKEN, base_url=service.url, max_retries=0) as client,
        ThreadPoolExecutor(4) as pool,
    ):
        try:
            streams = [pool.submit(stream, client, f"S{number}_") for number in range(4)]
            until(lambda: len(acknowledged) > 20, "it writes")
            own.stop()
            until(lambda: len(failed) > 4, "it fails")
            own.start()
            count = len(acknowledged) + 20
            until(lambda: len(acknowledged) > count, "it writes again")
        finally:
            ended.set()
        assert [each.result(30) for each in streams] == [None] * 4
        assert set(acknowledged) <= {each.id for each in client.secrets.list(page_size=100)}
    told = {(each.code, each.outcome) for each in failed if not isinstance(each, gitpod.APITimeoutError)}
    assert told == {("unavailable", "rejected")}


def test_no_value_reaches_disk_or_log(cluster: Cluster, database_url: str, project: str) -> None:
    """Neither the server's files nor a log of every statement have a value, a token or a key, in any spelling."""
    alter(cluster, database_url, "log_statement", "all")
    with embedded(database_url) as client:
        secret_id = keep(client, project, "NAME_IN_CLEAR")
        client.secrets.update_value(secret_id=secret_id, value=VALUE * 2)
        client.secrets.get_value(secret_id=secret_id)
    token = create_token(database_url)
    cluster.execute("CHECKPOINT")
    files = [each for each in cluster.folder.rglob("*") if each.is_file()]
    content = b"".join(file.read_bytes() for file in files)
    hidden = [VALUE, token, token.rpartition("_")[2], Path(os.environ["GITPOD_SECRETS_KEY"][5:]).read_text().strip()]
    for each in hidden:
        assert each.encode() not in content
        assert each.encode().hex().encode() not in content.lower()
    log = (cluster.folder / "log").read_bytes()
    assert b"INSERT INTO secrets" in log
    assert b"NAME_IN_CLEAR" in log
    assert content.count(b"NAME_IN_CLEAR") > log.count(b"NAME_IN_CLEAR")


def create_token(url: str) -> str:
    """A token of the store."""
    command = "from gitpod.cli import main; main()"
    arguments = ["token", "create", "--store", url, "--role", "admin"]
    done = subprocess.run([sys.executable, "-c", command, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_commits_are_durable_whatever_the_default(cluster: Cluster, database_url: str, project: str) -> None:
    """Each connection waits for the disk, where the database would not."""
    alter(cluster, database_url, "synchronous_commit", "off")
    seen: set[str] = set()

    def note(_: Database, session: Session) -> None:
        seen.update(value for (value,) in session.rows(statement("SHOW synchronous_commit")))

    with embedded(database_url) as client:
        client.secrets.list()
        with heard(Database, "commit", note):
            keep(client, project)
    assert seen == {"on"}


def test_a_standby_is_unavailable(cluster: Cluster, database_url: str, project: str) -> None:
    """A server that does not write gets nothing written; what it has can be listed, and it may be promoted."""
    with embedded(database_url) as client:
        keep(client, project)
    alter(cluster, database_url, "default_transaction_read_only", "on")
    with embedded(database_url) as client:
        assert len(client.secrets.list().secrets) == 1
        with pytest.raises(gitpod.InternalServerError, match="nothing was written") as caught:
            keep(client, project, "OTHER")
        assert (caught.value.code, caught.value.outcome) == ("unavailable", "rejected")
        alter(cluster, database_url, "default_transaction_read_only", "off")
        keep(client, project, "OTHER")


def test_a_password_is_shown_nowhere(database_url: str, project: str) -> None:
    """Neither by what a client says of itself, nor by the error when there is no server."""
    url = database_url.replace(f"{SUPERUSER}@", f"{SUPERUSER}:{PASSWORD}@")
    with embedded(url) as client:
        assert client.secrets.get_value(secret_id=keep(client, project)).value == VALUE
        assert PASSWORD not in repr(client)
    proxy = Proxy(database_url)
    proxy.close()
    away = proxy.url.replace(f"{SUPERUSER}@", f"{SUPERUSER}:{PASSWORD}@")
    with embedded(away) as client, pytest.raises(gitpod.APIConnectionError) as caught:
        keep(client, project)
    assert (caught.value.code, caught.value.outcome) == ("unavailable", "not_sent")
    assert PASSWORD not in str(caught.value) + repr(caught.value)
    with pytest.raises(GitpodError) as refused:
        embedded(f"{away}&no_such_option=1").secrets.list()
    assert PASSWORD not in str(refused.value)
    with closing(Store(away)) as store, pytest.raises(StoreUnavailableError):
        write(store.write, lambda _: None)


FORKS = """
import os, sys
from gitpod import Gitpod
import psycopg

def backends():
    with psycopg.connect(sys.argv[1]) as connection:
        return {pid for pid, in connection.execute(
            "SELECT pid FROM pg_stat_activity"
            " WHERE application_name = 'gitpod-secrets' AND datname = current_database()"
        )}

def create(name):
    client.secrets.create(name=name, value="v", project_id=sys.argv[2], api_only=True)

client = Gitpod(base_url=sys.argv[1], bearer_token="dev", max_retries=0)
create("BEFORE")
mine = backends()
child = os.fork()
if child == 0:
    create("CHILD")
    assert len(backends()) > len(mine)
    sys.exit(7 if len(list(client.secrets.list())) == 2 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
create("AFTER")
assert mine and mine <= backends()
assert len(list(client.secrets.list())) == 3
"""


def test_a_fork_has_connections_of_its_own(database_url: str, project: str) -> None:
    """The child's end leaves those of its parent as they were."""
    # Newer Pythons warn of any fork of a process that has threads.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKS, database_url, project]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("sqlstate", ["undefined_function", "feature_not_supported"])
def test_engines_without_advisory_locks_are_served(
    cluster: Cluster, database_url: str, project: str, sqlstate: str
) -> None:
    """As some distributed ones are, whose function for them is missing or says so."""
    refuse = (
        "CREATE FUNCTION public.pg_advisory_xact_lock(bigint) RETURNS void LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION 'none here' USING ERRCODE = '{sqlstate}'; END $$"
    )
    with psycopg.connect(database_url, autocommit=True) as superuser:
        superuser.execute(refuse.encode())
    name = database_url.rpartition("/")[2]
    cluster.execute(sql.SQL("ALTER DATABASE {} SET search_path = public, pg_catalog").format(sql.Identifier(name)))
    with embedded(database_url) as client:
        secret_id = keep(client, project)
        assert client.secrets.get_value(secret_id=secret_id).value == VALUE
