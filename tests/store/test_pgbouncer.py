"""A store behind PgBouncer, which gives a connection of the server to whoever begins a transaction."""

import os
import shutil
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from socket import create_connection

import psycopg
import pytest
from postgres import HOST, SUPERUSER, Cluster, free_port, until
from processes import account
from tests.support.processes import Process
from tests.support.storage import VALUE, alter, embedded, heard, keep

from gitpod import APIError, Gitpod
from gitpod.server.storage import limits
from gitpod.server.storage.database import Database
from gitpod.server.storage.sql import Session, sql

PGBOUNCER = shutil.which("pgbouncer", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
WRITERS = 12

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")


@pytest.fixture(autouse=True)
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of embedded stores."""
    monkeypatch.setenv("GITPOD_SECRETS_KEY", f"file:{tmp_path / 'key'}")


@contextmanager
def bouncing(cluster: Cluster, folder: Path, mode: str, connections: int) -> Generator[int]:
    """PgBouncer in front of a cluster for a while: its port."""
    assert PGBOUNCER
    port = free_port()
    settings = folder / "pgbouncer.ini"
    settings.write_text(f"""
[databases]
* = host={HOST} port={cluster.port} user={SUPERUSER}
[pgbouncer]
listen_addr = {HOST}
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {connections}
""")
    log = (folder / "pgbouncer.log").open("w")
    # It does not run as root, and the folder may be closed to another user.
    with log, settings.open() as given:
        process = Process(
            [PGBOUNCER, "/dev/stdin"], stdin=given, stdout=log, stderr=log, cwd="/", text=True, **account()
        )

    def listens() -> bool:
        assert process.poll() is None, (folder / "pgbouncer.log").read_text()
        with suppress(OSError), create_connection((HOST, port), 1):
            return True
        return False

    try:
        until(listens, "pgbouncer listens")
        yield port
    finally:
        process.kill()
        process.wait(30)


@pytest.fixture
def pooled(cluster: Cluster, database_url: str, tmp_path: Path) -> Generator[Callable[[str], str]]:
    """Gives the URL of the test's database behind a PgBouncer in a mode."""
    with ExitStack() as stack:

        def url(mode: str) -> str:
            # In session mode each of a client's connections keeps one of the server.
            connections = 3 if mode == "transaction" else limits.CONNECTIONS
            port = stack.enter_context(bouncing(cluster, tmp_path, mode, connections))
            return database_url.replace(f":{cluster.port}/", f":{port}/")

        yield url


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_many_writers_share_few_connections(mode: str, pooled: Callable[[str], str], project: str) -> None:
    """Every call of two clients succeeds, the creation of the tables too, and every value is the one that was given."""
    url = pooled(mode)

    def work(client: Gitpod, name: str) -> int:
        for number in range(20):
            secret_id = keep(client, project, f"{name}_{number}")
            client.secrets.update_value(secret_id=secret_id, value=VALUE * 2)
            assert client.secrets.get_value(secret_id=secret_id).reveal() == VALUE * 2
            if number % 2:
                client.secrets.delete(secret_id=secret_id)
        return len(client.secrets.list(page_size=100).secrets)

    with embedded(url) as one, embedded(url) as other, ThreadPoolExecutor(WRITERS) as pool:
        clients = (one, other) if mode == "transaction" else (one,)
        working = [pool.submit(work, clients[number % len(clients)], f"W{number}") for number in range(WRITERS)]
        assert [each.exception(60) for each in working] == [None] * WRITERS
        assert len(list(one.secrets.list(page_size=100))) == WRITERS * 10


def test_settings_hold_in_each_transaction_and_for_nobody_else(
    cluster: Cluster, database_url: str, pooled: Callable[[str], str], project: str
) -> None:
    """A commit is durable and waits for locks no longer than it should, on whatever connection of the server."""
    alter(cluster, database_url, "synchronous_commit", "off")
    url = pooled("transaction")
    seen: set[tuple[str, ...]] = set()

    def note(_: Database, session: Session) -> None:
        seen.add(tuple(session.rows(sql(f"SHOW {name}"))[0][0] for name in SETTINGS))

    with embedded(url) as client, ThreadPoolExecutor(WRITERS) as pool:
        client.secrets.list()
        with heard(Database, "commit", note):
            for done in [pool.submit(keep, client, project, f"NAME{number}") for number in range(WRITERS)]:
                done.result()
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as stranger:
            assert [stranger.execute(f"SHOW {name}").fetchone() for name in SETTINGS] == [("off",), ("0",)]
    assert seen == {("on", "5s")}


SETTINGS = ("synchronous_commit", "lock_timeout")


def test_a_mode_that_has_no_transactions_is_refused(pooled: Callable[[str], str]) -> None:
    """Before anything is stored, and the reason is PgBouncer's own."""
    with embedded(pooled("statement")) as client, pytest.raises(APIError, match="statement pooling") as caught:
        client.secrets.list()
    assert caught.value.outcome == "not_sent"
