"""SQLite: the engine, and how a transaction begins and is committed."""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from gitpod.server.errors import ServiceError, StoreUnavailableError
from gitpod.server.storage import limits
from gitpod.server.storage.failures import BUSY, as_unavailable, is_busy


class SQLite:
    """A SQLite database in a file, or in memory when `path` is None."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.engine = _engine(path)
        self._file = _identity(path)

    def verify(self) -> None:
        """Refuse a file that was removed or replaced: SQLite would go on writing into the deleted file."""
        if _identity(self._path) != self._file:
            raise StoreUnavailableError("the store's file was removed or replaced; nothing was written")

    def begin(self, connection: Connection, *, exclusive: bool) -> None:  # noqa: ARG002 # writers take turns anyway
        """Begin a transaction, as `Database.writer` describes."""
        try:
            # Takes the write lock now, because upgrading a read lock later may fail.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except DBAPIError as error:
            raise as_unavailable(error) or error from None

    def commit(self, connection: Connection) -> None:
        """Commit a transaction, as `Database.commit` describes."""
        connection.commit()

    def confirm(self, connection: Connection) -> None:
        """Do nothing: SQLite shows only what is on the disk."""


def _identity(path: Path | None) -> tuple[int, int] | None:
    """Return the device and inode of a file, None if there is no file."""
    try:
        status = path.stat() if path else None
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status else None


def _engine(path: Path | None) -> Engine:
    if path is None:
        engine = create_engine(
            "sqlite://", hide_parameters=True, poolclass=StaticPool, connect_args={"check_same_thread": False}
        )
    else:
        try:
            # SQLite creates its other files with the mode of this one.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise ServiceError(f"cannot open {path}: {error.strerror}") from None
        except ValueError:
            raise ServiceError("the store's path is not one that a file can have") from None
        _switch_to_wal(path)
        engine = create_engine(
            URL.create("sqlite", database=str(path)),
            hide_parameters=True,
            connect_args={"timeout": limits.BUSY_TIMEOUT},
            pool_size=limits.CONNECTIONS,
            max_overflow=0,
            pool_timeout=limits.BUSY_TIMEOUT,
        )

    @event.listens_for(engine, "connect")
    def connected(connection: sqlite3.Connection, _: object) -> None:
        # Turns off the implicit transactions of sqlite3: only `Database.writer` begins one.
        connection.isolation_level = None
        connection.execute("PRAGMA synchronous=FULL")
        # Overwrites the pages of deleted rows, so that deleted secrets are gone from the file.
        connection.execute("PRAGMA secure_delete=ON")

    return engine


def _switch_to_wal(path: Path) -> None:
    """Switch the file to a write-ahead log for good, so that readers and a writer do not wait for each other.

    Waits for locks itself, because SQLite's own timeout does not cover this switch (https://sqlite.org/wal.html).
    """
    deadline = time.monotonic() + limits.BUSY_TIMEOUT
    with closing(sqlite3.connect(path, timeout=limits.BUSY_TIMEOUT, isolation_level=None)) as connection:
        while True:
            try:
                [mode] = connection.execute("PRAGMA journal_mode=WAL").fetchone()
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise ServiceError(f"cannot open {path}: {error}") from None
                if time.monotonic() > deadline:
                    raise StoreUnavailableError(BUSY) from None
                time.sleep(0.005)
            except sqlite3.DatabaseError as error:
                raise ServiceError(f"cannot open {path}: {error}") from None
            else:
                if mode != "wal":
                    raise ServiceError(f"cannot open {path}: its file system has no shared memory for a log")
                return
