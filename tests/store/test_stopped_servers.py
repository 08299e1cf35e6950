"""A PostgreSQL that does not go on: every call ends with a true outcome, and others go on."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, LiteralString

import psycopg
import pytest
from postgres import HOST, SUPERUSER, Cluster, until
from processes import family, paused
from tests.support.storage import (
    VALUE,
    Proxy,
    audited,
    embedded,
    keep,
    release,
    slow_commits,
)
from unwell import postmaster

import gitpod
from gitpod import Gitpod
from gitpod.server.storage import limits, postgres

if TYPE_CHECKING:
    from collections.abc import Callable

PENDING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query = 'COMMIT' AND state = 'active'"


@pytest.fixture(autouse=True)
def short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of embedded stores, and waits that are short."""
    monkeypatch.setenv("GITPOD_SECRETS_KEY", f"file:{tmp_path / 'key'}")
    monkeypatch.setattr(limits, "ANSWER_TIMEOUT", 2.0)
    monkeypatch.setattr(limits, "BUSY_TIMEOUT", 1.0)
    monkeypatch.setattr(limits, "SETTLE_TIMEOUT", 3.0)
    monkeypatch.setitem(postgres.DEFAULTS, "connect_timeout", 2)


def backends(url: str) -> list[int]:
    """The server's processes for the connections of services to this database."""
    with psycopg.connect(url) as connection:
        query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s"
        return [pid for (pid,) in connection.execute(query, ["gitpod-secrets"])]


def test_stopped_backends_delay_nobody_for_long(database_url: str, project: str) -> None:
    """Reads and writes go on over new connections while every old one is stopped."""
    with embedded(database_url) as client:
        kept = keep(client, project)
        with paused(backends(database_url)):
            assert client.secrets.get_value(secret_id=kept).value == VALUE
            keep(client, project, "OTHER")
            assert len(list(client.secrets.list())) == 2
    assert audited(database_url, "CreateSecret") == ["ok", "ok"]


def test_a_commit_in_a_stopped_backend_is_unknown_and_frees_the_lead(database_url: str, project: str) -> None:
    """Others write before its outcome is told, and it may take place when the backend goes on."""
    with embedded(database_url) as client, ThreadPoolExecutor(2) as pool, psycopg.connect(database_url) as watch:
        watch.autocommit = True
        client.secrets.list()
        with slow_commits(database_url) as other:
            stuck = pool.submit(keep, client, project, "STUCK")
            until(lambda: watch.execute(PENDING).fetchall() != [], "it commits")
            with paused(backends(database_url)):
                release(other)
                assert client.secrets.get_value(secret_id=keep(client, project)).value == VALUE
                assert not stuck.done()
                error = stuck.exception(30)
                assert isinstance(error, gitpod.InternalServerError)
                assert (error.code, error.outcome) == ("internal", "unknown")
        until(lambda: len(list(client.secrets.list())) == 2, "it has taken place after all")
    assert audited(database_url, "CreateSecret") == ["ok", "ok"]


def test_a_stopped_server_is_unavailable_and_is_found_again(own: Cluster, project: str) -> None:
    """What was not begun is rejected within seconds; after that the store goes on by itself."""
    with embedded(own.url()) as client, ThreadPoolExecutor(8) as pool:
        kept = keep(client, project)
        with paused(family(postmaster(own))):
            secrets = client.secrets
            works: list[Callable[[], object]] = [lambda: keep(client, project, "LOST")] * 4
            works += [lambda: secrets.get_value(secret_id=kept), secrets.list] * 2
            calls = [pool.submit(work) for work in works]
            for call in calls:
                error = call.exception(60)
                assert isinstance(error, gitpod.InternalServerError)
                assert (error.code, error.outcome) == ("unavailable", "rejected")
        keep(client, project, "AFTER")
        assert sorted(each.name for each in client.secrets.list()) == ["AFTER", "KEPT"]


def test_a_connection_that_passes_nothing_on_is_cut(database_url: str, project: str) -> None:
    """A network that swallows every byte is noticed though the server's machine is well."""
    proxy = Proxy(database_url)
    try:
        with embedded(proxy.url) as client:
            kept = keep(client, project)
            proxy.flows.clear()
            for call in (lambda: keep(client, project, "LOST"), client.secrets.list):
                with pytest.raises(gitpod.InternalServerError) as caught:
                    call()
                assert (caught.value.code, caught.value.outcome) == ("unavailable", "rejected")
            proxy.flows.set()
            assert [each.id for each in client.secrets.list()] == [kept]
    finally:
        proxy.flows.set()
        proxy.close()
    assert audited(database_url, "CreateSecret") == ["ok"]


def test_a_missing_standby_costs_few_connections(own: Cluster, project: str) -> None:
    """A few commits wait for it and are unknown; further ones are refused until it is back, and none is lost."""
    with embedded(own.url()) as client, psycopg.connect(own.socket_url(), autocommit=True) as superuser:
        keep(client, project)
        superuser.execute("ALTER SYSTEM SET synchronous_standby_names = 'missing'")
        superuser.execute("SELECT pg_reload_conf()")
        until(lambda: _waits(own), "commits wait for it")
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        told: list[tuple[str | None, str]] = []
        for number in range(postgres.MOST_UNANSWERED + 3):
            with pytest.raises(gitpod.InternalServerError) as caught:
                keep(client, project, f"NUM{number}")
            told.append((caught.value.code, caught.value.outcome))
        unknown = [("internal", "unknown")] * postgres.MOST_UNANSWERED
        assert told == [*unknown, *[("unavailable", "rejected")] * 3]
        assert superuser.execute(waiting).fetchone() == (postgres.MOST_UNANSWERED,)
        assert [each.name for each in client.secrets.list()] == ["KEPT"]
        superuser.execute("ALTER SYSTEM RESET synchronous_standby_names")
        superuser.execute("SELECT pg_reload_conf()")
        until(lambda: superuser.execute(waiting).fetchone() == (0,), "the commits are confirmed")
        keep(client, project, "AFTER")
        found = {each.name for each in client.secrets.list()}
        assert found == {"KEPT", "AFTER", *(f"NUM{number}" for number in range(postgres.MOST_UNANSWERED))}


def test_a_stopped_primary_is_left_for_the_new_one(own: Cluster, project: str) -> None:
    """A URL with both servers leads to the one that was promoted, and what was acknowledged is there."""
    with own.standby() as standby:
        hosts = f"{HOST}:{own.port},{HOST}:{standby.port}"
        url = f"postgresql://{SUPERUSER}@{hosts}/postgres?target_session_attrs=read-write"
        with embedded(url) as client:
            kept = keep(client, project)
            with paused(family(postmaster(own))):
                standby.promote()
                until(lambda: _writes(client, project), "writes go on")
                assert client.secrets.get_value(secret_id=kept).value == VALUE


def _waits(own: Cluster) -> bool:
    """Whether a commit waits for a standby."""
    waiting: LiteralString = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(own.execute, "SELECT pg_logical_emit_message(true, '', '')")
        while not writing.done():
            if own.execute(waiting):
                return True
    return False


def _writes(client: Gitpod, project: str) -> bool:
    try:
        keep(client, project, "AFTER")
    except gitpod.InternalServerError as error:
        if error.outcome != "rejected":
            raise
        return False
    return True
