"""Files of a SQLite store that change under a process that has them open: nothing is acknowledged and then lost."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.storage import Writes, adds, embedded, keep, secret, tables, write

import gitpod
from gitpod import Gitpod
from gitpod.server.errors import OutcomeUnknownError, StoreUnavailableError
from gitpod.server.storage.store import Store
from gitpod.server.storage.transaction import Transaction


def replace_file(file: Path) -> None:
    """Put a copy in its place."""
    copy = file.with_name("copy")
    shutil.copyfile(file, copy)
    copy.replace(file)


def removed(suffix: str) -> Callable[[Path], None]:
    """Remove a file of a store."""
    return lambda path: Path(f"{path}{suffix}").unlink()


def replaced(suffix: str) -> Callable[[Path], None]:
    """Replace a file of a store by its copy."""
    return lambda path: replace_file(Path(f"{path}{suffix}"))


def cut(share: float) -> Callable[[Path], None]:
    """Leave a share of the database."""
    return lambda path: os.truncate(path, int(path.stat().st_size * share))


MISHAPS = {
    **{f"removed {suffix}": removed(suffix) for suffix in ("", "-wal", "-shm")},
    **{f"replaced {suffix}": replaced(suffix) for suffix in ("", "-wal", "-shm")},
    **{f"cut to {share:.0%}": cut(share) for share in (0, 0.01, 0.5, 0.99)},
}


def filled(path: Path, project: str) -> None:
    """Make a store with some secrets, all of them in the database itself."""
    with embedded(f"sqlite:///{path}") as client:
        for number in range(20):
            keep(client, project, f"OLD{number}")


@pytest.mark.parametrize("mishap", MISHAPS)
def test_writes_are_refused_once_a_file_is_not_the_one_that_was_opened(path: Path, project: str, mishap: str) -> None:
    """At once, in every call, and for good: also after the file is back."""
    filled(path, project)
    backup = shutil.copytree(path.parent, path.parent / "backup")
    with embedded(f"sqlite:///{path}") as client:
        kept = keep(client, project)
        MISHAPS[mishap](path)
        calls: list[Callable[[], object]] = [
            lambda: keep(client, project, "LOST"),
            lambda: client.secrets.get_value(secret_id=kept),
            lambda: client.secrets.delete(secret_id=kept),
        ]
        for call in [*calls, *calls]:
            with pytest.raises(gitpod.InternalServerError, match="nothing was written") as caught:
                call()
            assert (caught.value.code, caught.value.outcome) == ("unavailable", "rejected")
        shutil.copyfile(backup / path.name, path)
        with pytest.raises(gitpod.InternalServerError, match="nothing was written"):
            calls[0]()


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_an_orderly_end_keeps_what_was_acknowledged(path: Path, project: str, suffix: str) -> None:
    """The process still has the file that was removed, and writes what it holds into the database."""
    with embedded(f"sqlite:///{path}") as client:
        for number in range(20):
            keep(client, project, f"NUM{number}")
        removed(suffix)(path)
        with pytest.raises(gitpod.InternalServerError, match="nothing was written"):
            keep(client, project, "LOST")
    with embedded(f"sqlite:///{path}") as client:
        assert sorted(each.name for each in client.secrets.list(page_size=100)) == sorted(
            f"NUM{number}" for number in range(20)
        )


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_a_commit_into_a_removed_file_is_not_acknowledged(path: Path, suffix: str) -> None:
    """When the file goes while a transaction is under way, nobody knows whether the change will be there."""
    url = f"sqlite:///{path}"
    with tables(url):
        writes = Writes(url)

        def removes(transaction: Transaction) -> None:
            transaction.add(secret())
            removed(suffix)(path)

        with pytest.raises(OutcomeUnknownError):
            write(writes.run, removes)
        with pytest.raises(StoreUnavailableError, match="removed or replaced"):
            write(writes.run, adds(secret("OTHER")))
        writes.database.close()


def test_a_vacuum_by_another_process_is_no_mishap(path: Path, project: str) -> None:
    """The database becomes smaller, and has all of its pages."""
    url = f"sqlite:///{path}"
    with embedded(url) as client:
        ids = [keep(client, project, f"NUM{number}") for number in range(30)]
        for each in ids:
            client.secrets.update_value(secret_id=each, value="v" * 9000)
        checkpoint(path)
        keep(client, project)
        for each in ids:
            client.secrets.delete(secret_id=each)
        size = path.stat().st_size
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("VACUUM")
        checkpoint(path)
        assert path.stat().st_size < size
        keep(client, project, "AFTER")
        assert [each.name for each in client.secrets.list()] == ["KEPT", "AFTER"]


def test_a_vacuum_while_the_log_has_new_pages_is_no_mishap(path: Path, project: str) -> None:
    """As on a busy store: the database becomes smaller, and the next pages are in the log alone."""
    with embedded(f"sqlite:///{path}") as client, closing(sqlite3.connect(path, isolation_level=None)) as other:
        keep(client, project)
        other.execute("CREATE TABLE large AS SELECT zeroblob(1000000)")
        other.execute("DROP TABLE large")
        checkpoint(path)
        keep(client, project, "BEFORE")
        other.execute("VACUUM")
        checkpoint(path)
        other.execute("CREATE TABLE large AS SELECT zeroblob(100000)")
        keep(client, project, "AFTER")
        checkpoint(path)
        keep(client, project, "LATER")
        assert [each.name for each in client.secrets.list()] == ["KEPT", "BEFORE", "AFTER", "LATER"]


def checkpoint(path: Path) -> None:
    """Write all of the log into the database, and empty the log."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0


OTHER_PROCESS = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM secrets').fetchall()"


def test_two_clients_of_one_process_keep_the_locks_of_each_other(path: Path, project: str) -> None:
    """Another process that closes the store does not take the first one's log away."""
    url = f"sqlite:///{path}"
    with embedded(url) as first:
        keep(first, project)
        log = Path(f"{path}-wal").stat().st_ino
        for _ in range(2):
            with embedded(url) as second:
                assert len(second.secrets.list().secrets) == 1
            subprocess.run([sys.executable, "-c", OTHER_PROCESS, str(path)], check=True)
            assert Path(f"{path}-wal").stat().st_ino == log
        keep(first, project, "AFTER")
    with Gitpod(base_url=url) as client:
        assert [each.name for each in client.secrets.list()] == ["KEPT", "AFTER"]


def test_a_link_to_a_file_that_does_not_exist_yet(path: Path) -> None:
    """Makes the file that the link names, closed to others."""
    target = path.with_name("target.db")
    path.symlink_to(target)
    with closing(Store(f"sqlite:///{path}")):
        assert target.stat().st_mode & 0o777 == 0o600
