"""`/readyz` says within seconds that the store is not well, and that it is well again."""

import os
import resource
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import psycopg
import pytest
from postgres import SUPERUSER, Cluster, until
from processes import family, paused
from served import TOKEN, Service
from tests.support.storage import alter, keep, release, slow_commits
from unwell import postmaster

import gitpod
from gitpod import Gitpod
from gitpod.server.app import Embedded
from gitpod.server.storage import limits

SOON = 20.0
"""Seconds within which a probe must notice. On an idle machine it takes less than 5."""
HERE = "FROM pg_stat_activity WHERE datname = current_database()"
PENDING = f"SELECT pid {HERE} AND query = 'COMMIT' AND state = 'active'"


def ready(service: Service) -> int:
    """The status of a probe, which is always answered."""
    return httpx.get(f"{service.url}/readyz", timeout=10, trust_env=False).status_code


def becomes(service: Service, status: int) -> None:
    """Wait until probes have this answer."""
    until(lambda: ready(service) == status, f"/readyz answers {status}", SOON)


def client_of(service: Service) -> Gitpod:
    """A client that tries everything once."""
    return Gitpod(bearer_token=TOKEN, base_url=service.url, max_retries=0)


def overwrite(start: float, end: float) -> Callable[[Path], None]:
    """Put other bytes in the place of a part of the file."""

    def change(path: Path) -> None:
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(int(size * start))
            file.write(os.urandom(int(size * end) - int(size * start)))

    return change


def of(suffix: str, change: Callable[[Path], object]) -> Callable[[Path], object]:
    """Do something to one file of the store."""
    return lambda path: change(Path(f"{path}{suffix}"))


def copied_over(path: Path) -> None:
    """Put a copy in its place."""
    copy = path.with_name("copy")
    shutil.copyfile(path, copy)
    copy.replace(path)


MISHAPS: dict[str, Callable[[Path], object]] = {
    "cut to nothing": lambda path: os.truncate(path, 0),
    "cut to a page": lambda path: os.truncate(path, 4096),
    "cut by a byte": lambda path: os.truncate(path, path.stat().st_size - 1),
    "another beginning": overwrite(0, 0.01),
    "another middle": overwrite(0.3, 0.6),
    "another end": overwrite(0.7, 1),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "text": lambda path: path.write_text("not a database\n" * 10_000),
    "removed": Path.unlink,
    "log removed": of("-wal", Path.unlink),
    "log replaced": of("-wal", copied_over),
    "log overwritten": of("-wal", overwrite(0, 1)),
    "log emptied": of("-wal", lambda path: os.truncate(path, 0)),
    "shared memory removed": of("-shm", Path.unlink),
    "shared memory replaced": of("-shm", copied_over),
}


@pytest.mark.parametrize("mishap", MISHAPS)
def test_files_that_are_not_well(tmp_path: Path, project: str, mishap: str) -> None:
    """Whatever happened to which file, and though connections remember some of what was in it."""
    path = tmp_path / "secrets.db"
    with Service(f"sqlite:///{path}", tmp_path) as service, client_of(service) as client:
        for number in range(60):
            made = keep(client, project, f"NUM{number}")
            client.secrets.update_value(secret_id=made, value="v" * 2000)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("PRAGMA wal_checkpoint(PASSIVE)")
        keep(client, project)
        becomes(service, 200)
        MISHAPS[mishap](path)
        becomes(service, 503)
        assert httpx.get(f"{service.url}/healthz", trust_env=False).status_code == 200


def test_a_store_that_another_process_keeps_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn of a few seconds is no failure; one that does not end is, until it ends."""
    monkeypatch.setattr(limits, "FRESH", 0)
    monkeypatch.setattr(limits, "CHECK_TIMEOUT", 0.1)
    path = tmp_path / "secrets.db"
    with closing(Embedded(f"sqlite:///{path}")) as service, closing(sqlite3.connect(path)) as other:
        assert service.is_ready()
        other.execute("BEGIN IMMEDIATE")
        assert service.is_ready()
        monkeypatch.setattr(limits, "WRITER_TIMEOUT", 0)
        assert not service.is_ready()
        other.rollback()
        assert service.is_ready()


def test_a_file_that_may_not_grow(tmp_path: Path, project: str) -> None:
    """As on a disk without room: writes are refused, reads go on, and it is well again when there is room."""
    path = tmp_path / "secrets.db"
    with Service(f"sqlite:///{path}", tmp_path) as service, client_of(service) as client:
        keep(client, project)
        becomes(service, 200)
        most = Path(f"{path}-wal").stat().st_size
        resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
        becomes(service, 503)
        with pytest.raises(gitpod.InternalServerError, match="nothing was written") as caught:
            keep(client, project, "LOST")
        assert caught.value.outcome == "rejected"
        assert [each.name for each in client.secrets.list()] == ["KEPT"]
        resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        becomes(service, 200)
        keep(client, project, "AFTER")


def test_a_server_that_stops_or_ends(own: Cluster, tmp_path: Path, project: str) -> None:
    """A frozen one is noticed like one that refuses connections, and the service finds it again."""
    with Service(own.url(), tmp_path) as service, client_of(service) as client:
        keep(client, project)
        becomes(service, 200)
        with paused(family(postmaster(own))):
            becomes(service, 503)
        becomes(service, 200)
        own.stop()
        becomes(service, 503)
        own.start()
        becomes(service, 200)
        keep(client, project, "AFTER")


def test_a_server_that_only_reads(cluster: Cluster, database_url: str, tmp_path: Path, project: str) -> None:
    """Such as a standby: what it has can be read, but nothing can be written."""
    with Service(database_url, tmp_path) as service, client_of(service) as client:
        keep(client, project)
        becomes(service, 200)
        alter(cluster, database_url, "default_transaction_read_only", "on")
        with psycopg.connect(database_url) as superuser:
            superuser.execute(f"SELECT pg_terminate_backend(pid) {HERE} AND pid <> pg_backend_pid()")
        becomes(service, 503)
        alter(cluster, database_url, "default_transaction_read_only", "off")
        becomes(service, 200)


def test_a_commit_that_does_not_go_on(database_url: str, tmp_path: Path, project: str) -> None:
    """One stopped backend makes the service unready while it holds up the writers, and no longer."""
    with (
        Service(database_url, tmp_path) as service,
        client_of(service) as client,
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(database_url, autocommit=True) as watch,
    ):
        keep(client, project)
        becomes(service, 200)
        with slow_commits(database_url) as other:
            stuck = pool.submit(keep, client, project, "STUCK")
            until(lambda: watch.execute(PENDING).fetchall() != [], "it commits")
            with paused(pid for (pid,) in watch.execute(PENDING).fetchall()):
                release(other)
                becomes(service, 503)
                becomes(service, 200)
                keep(client, project, "OTHER")
            assert stuck.exception(60) is None


def test_a_service_that_may_do_little(database_url: str, tmp_path: Path) -> None:
    """The check needs no right that the service's own user lacks."""
    with Service(database_url, tmp_path):
        pass
    with psycopg.connect(database_url, autocommit=True) as superuser:
        superuser.execute("CREATE ROLE little LOGIN")
        superuser.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO little")
    try:
        with Service(database_url.replace(f"{SUPERUSER}@", "little@"), tmp_path) as service:
            becomes(service, 200)
    finally:
        with psycopg.connect(database_url, autocommit=True) as superuser:
            superuser.execute("DROP OWNED BY little")
            superuser.execute("DROP ROLE little")
