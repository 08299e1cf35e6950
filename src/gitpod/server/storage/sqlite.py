"""SQLite: its connections, how a transaction begins and is committed, and whether the files are well."""

import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from gitpod.server.errors import OutcomeUnknownError, ServiceError, StoreUnavailableError
from gitpod.server.storage import limits
from gitpod.server.storage.failures import BUSY, UNKNOWN, StoreGoneError, as_unavailable, is_busy, may_be_durable
from gitpod.server.storage.sql import SQL, Connected, Session
from gitpod.server.storage.sqlite_files import Files


class SQLiteSession:
    """A connection to SQLite."""

    is_sqlite = True

    def __init__(self, driver: sqlite3.Connection) -> None:
        self.driver = driver

    def rows(self, statement: SQL, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a query, and return its rows."""
        return self.driver.execute(statement.sqlite, cast("Any", values)).fetchall()

    def change(self, statement: SQL, values: Sequence[object] = ()) -> int:
        """Run a statement that changes rows, and return their number."""
        return self.driver.execute(statement.sqlite, cast("Any", values)).rowcount

    def reset(self) -> bool:
        """Roll back what is under way. Returns True, unless SQLite cannot do that."""
        try:
            if self.driver.in_transaction:
                self.driver.rollback()
        except sqlite3.Error:
            self.close()
            return False
        return True

    def close(self) -> None:
        """Close the connection."""
        self.driver.close()


class SQLite:
    """A SQLite database in a file, or in memory when `path` is None."""

    readers = limits.FILE_READERS
    slowest_batch = limits.WRITER_TIMEOUT

    def __init__(self, path: Path | None) -> None:
        # Open as long as the store is, so that SQLite does not remove the log and its shared memory in between.
        self._anchor = _open(path) if path else None
        self._path = path
        self._files = Files(path) if path else None
        self._written_at = time.monotonic()

    def connect(self, *, is_reader: bool) -> SQLiteSession:  # noqa: ARG002 # both are alike
        """Open a connection."""
        return SQLiteSession(self.driver())

    def driver(self) -> sqlite3.Connection:
        """Open a connection of the driver."""
        driver = sqlite3.connect(
            self._path or ":memory:",
            timeout=limits.BUSY_TIMEOUT,
            # Turns off the implicit transactions of sqlite3.
            isolation_level=None,
            check_same_thread=False,
        )
        driver.execute("PRAGMA synchronous=FULL")
        # Overwrites the pages of deleted rows, so that deleted secrets are gone from the file.
        driver.execute("PRAGMA secure_delete=ON")
        return driver

    def close(self) -> None:
        """Close the files."""
        if self._anchor:
            self._anchor.close()

    def verify(self) -> None:
        """Refuse to go on when a file was removed, replaced or cut short: SQLite would write into the deleted one."""
        if self._files and (fault := self._files.fault()):
            raise StoreGoneError(f"{fault}; nothing was written")

    def extend_timeout(self, session: Session) -> None:
        """Do nothing: SQLite's answers have no timeout."""

    def begin(self, session: Session) -> None:
        """Begin a transaction, as `Database.writer` describes."""
        self.begin_alone(cast("SQLiteSession", session).driver)

    def begin_alone(self, driver: sqlite3.Connection) -> None:
        """Begin a transaction, as `Database.maintenance` describes. On SQLite any one is alone."""
        try:
            # Takes the write lock now, because upgrading a read lock later may fail.
            driver.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise as_unavailable(error) or error from None

    def commit(self, session: Session) -> None:
        """Commit a transaction, as `Database.commit` describes."""
        try:
            cast("SQLiteSession", session).driver.commit()
        except sqlite3.Error as error:
            if may_be_durable(error):
                raise OutcomeUnknownError(UNKNOWN) from None
            raise
        if self._files and self._files.fault():
            # It may be in a file that is gone.
            raise OutcomeUnknownError(UNKNOWN)
        self._written_at = time.monotonic()

    def confirm(self, session: Session) -> None:
        """Do nothing: SQLite shows only what is on the disk."""

    def check(self, connected: Connected) -> None:  # noqa: ARG002 # the check has a connection of its own
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
