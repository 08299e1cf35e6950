"""SQLite: the engine, how a transaction begins and is committed, and whether the files are well."""

import os
import sqlite3
import time
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from gitpod.server.errors import OutcomeUnknownError, ServiceError, StoreUnavailableError
from gitpod.server.storage import limits
from gitpod.server.storage.failures import BUSY, UNKNOWN, StoreGoneError, as_unavailable, is_busy, may_be_durable
from gitpod.server.storage.sqlite_files import Files


class SQLite:
    """A SQLite database in a file, or in memory when `path` is None."""

    def __init__(self, path: Path | None) -> None:
        # Open as long as the store is, so that SQLite does not remove the log and its shared memory in between.
        self._anchor = _open(path) if path else None
        self.engine = _engine(path)
        self._files = Files(path) if path else None
        self._written_at = time.monotonic()

    @property
    def slowest_batch(self) -> float:
        """Seconds after which a batch under way counts as stuck. Another process may keep the lock for a while."""
        return limits.WRITER_TIMEOUT

    def close(self) -> None:
        """Close the files."""
        self.engine.dispose()
        if self._anchor:
            self._anchor.close()

    def verify(self) -> None:
        """Refuse to go on when a file was removed, replaced or cut short: SQLite would write into the deleted one."""
        if self._files and (fault := self._files.fault()):
            raise StoreGoneError(f"{fault}; nothing was written")

    def extend_timeout(self, connection: Connection) -> None:
        """Do nothing: SQLite's answers have no timeout."""

    def begin(self, connection: Connection, *, exclusive: bool) -> None:  # noqa: ARG002 # writers take turns anyway
        """Begin a transaction, as `Database.writer` describes."""
        try:
            # Takes the write lock now, because upgrading a read lock later may fail.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except DBAPIError as error:
            raise as_unavailable(error) or error from None

    def commit(self, connection: Connection) -> None:
        """Commit a transaction, as `Database.commit` describes."""
        try:
            connection.commit()
        except DBAPIError as error:
            if may_be_durable(error):
                raise OutcomeUnknownError(UNKNOWN) from None
            raise
        if self._files and self._files.fault():
            # It may be in a file that is gone.
            raise OutcomeUnknownError(UNKNOWN)
        self._written_at = time.monotonic()

    def confirm(self, connection: Connection) -> None:
        """Do nothing: SQLite shows only what is on the disk."""

    def check(self) -> None:
        """Write something small, as `Database.check` describes."""
        if self._files is None:
            return
        self.verify()
        if fault := self._files.damage():
            raise StoreUnavailableError(fault)
        if time.monotonic() - self._written_at < limits.FRESH:
            return
        try:
            self._files.write()
        except sqlite3.Error as error:
            if not is_busy(error) or time.monotonic() - self._written_at > limits.WRITER_TIMEOUT:
                raise
            # Another writer has its turn.
            return
        self.verify()
        self._written_at = time.monotonic()


def _open(path: Path) -> sqlite3.Connection:
    """Create the file if there is none, and open it with a write-ahead log."""
    # A link may point to a file that does not exist yet.
    target = os.path.realpath(path)
    try:
        # SQLite creates its other files with the mode of this one.
        os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        # Not opened here: to close it again would drop the locks that this process has on it.
        if Path(target).is_dir():
            raise ServiceError(f"cannot open {path}: Is a directory") from None
        if not os.access(target, os.R_OK | os.W_OK):
            raise ServiceError(f"cannot open {path}: Permission denied") from None
    except OSError as error:
        raise ServiceError(f"cannot open {path}: {error.strerror}") from None
    except ValueError:
        raise ServiceError("the store's path is not one that a file can have") from None
    connection = sqlite3.connect(path, timeout=limits.BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    try:
        _switch_to_wal(connection, path)
        # Opens the log and its shared memory.
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
    except sqlite3.Error as error:
        connection.close()
        raise ServiceError(f"cannot open {path}: {error}") from None
    except BaseException:
        connection.close()
        raise
    return connection


def _engine(path: Path | None) -> Engine:
    if path is None:
        engine = create_engine(
            "sqlite://", hide_parameters=True, poolclass=StaticPool, connect_args={"check_same_thread": False}
        )
    else:
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


def _switch_to_wal(connection: sqlite3.Connection, path: Path) -> None:
    """Switch the file to a write-ahead log for good, so that readers and a writer do not wait for each other.

    Waits for locks itself, because SQLite's own timeout does not cover this switch (https://sqlite.org/wal.html).
    """
    deadline = time.monotonic() + limits.BUSY_TIMEOUT
    while True:
        try:
            [mode] = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            if time.monotonic() > deadline:
                raise StoreUnavailableError(BUSY) from None
            time.sleep(0.005)
        else:
            if mode != "wal":
                raise ServiceError(f"cannot open {path}: its file system has no shared memory for a log")
            return
