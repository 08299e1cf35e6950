"""Several servers in one URL: the service finds the one that takes writes, and does not wait for the others."""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import create_server, socket
from threading import Thread

import pytest
from postgres import HOST, MISSING, SUPERUSER, Cluster, binaries
from psycopg import sql
from tests.support.storage import VALUE, embedded, keep

from gitpod import GitpodError
from gitpod.server.storage import hosts, limits

pytestmark = pytest.mark.skipif(binaries() is None, reason=MISSING)


@pytest.fixture(autouse=True)
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of embedded stores."""
    monkeypatch.setenv("GITPOD_SECRETS_KEY", f"file:{tmp_path / 'key'}")


@contextmanager
def silence() -> Generator[tuple[int, list[socket]]]:
    """A server that takes connections and says nothing: its port, and the connections that it has."""
    taken: list[socket] = []
    with create_server((HOST, 0)) as listener:

        def take() -> None:
            with suppress(OSError):
                while True:
                    taken.append(listener.accept()[0])

        Thread(target=take, daemon=True).start()
        try:
            yield listener.getsockname()[1], taken
        finally:
            listener.shutdown(2)
            for each in taken:
                each.close()


def url(database: str, *ports: int) -> str:
    """The URL of a database on several servers, for the one that takes writes."""
    listed = ",".join(f"{HOST}:{port}" for port in ports)
    return f"postgresql://{SUPERUSER}@{listed}/{database}?target_session_attrs=read-write&connect_timeout=2"


def test_a_silent_server_is_not_asked_again_and_again(
    cluster: Cluster, database_url: str, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many connections one alone waits for it."""
    monkeypatch.setattr(hosts, "LEFT_OUT", 3600)
    database = database_url.rpartition("/")[2]
    end = sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}")
    with silence() as (port, asked), embedded(url(database, port, cluster.port)) as client:
        for number in range(4):
            secret_id = keep(client, project, f"NAME{number}")
            assert client.secrets.get_value(secret_id=secret_id).reveal() == VALUE
            cluster.execute(end.format(sql.Literal(database)))
        assert len(asked) == 1


def test_silent_servers_are_asked_when_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them may go on."""
    monkeypatch.setattr(hosts, "LEFT_OUT", 3600)
    with silence() as (one, asked), silence() as (other, _), embedded(url("secrets", one, other)) as client:
        for _ in range(2):
            with pytest.raises(GitpodError, match="cannot be reached"):
                client.secrets.list()
        assert len(asked) >= 2


def test_a_primary_that_was_cut_off_is_left(project: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that it takes writes, but its commits wait for a standby that is the primary now."""
    monkeypatch.setattr(limits, "ANSWER_TIMEOUT", 1.0)
    with Cluster() as old:
        old.create_database("secrets")
        with old.standby() as new, embedded(url("secrets", old.port, new.port)) as client:
            first = keep(client, project, "FIRST")
            new.promote()
            second = keep(client, project, "SECOND")
            assert client.secrets.get_value(secret_id=second).reveal() == VALUE
            assert [each.id for each in client.secrets.list().secrets] == [first, second]
            assert new.execute("SELECT name FROM secrets ORDER BY name", "secrets") == [("FIRST",), ("SECOND",)]
            assert old.execute("SELECT name FROM secrets", "secrets") == [("FIRST",)]
