"""Connections to SQLite and PostgreSQL: opens them, begins and locks transactions, and translates failures."""

import os
import sqlite3
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import StaticPool

from gitpod.server.errors import ServiceError, StoreUnavailableError
from gitpod.server.storage.url import is_postgresql, postgresql_parameters, sqlite_path

BUSY_TIMEOUT = 5.0
"""Seconds to wait for a lock that another process holds, or for a free connection."""
CONNECTIONS = 16
"""The most connections of a process to the database."""
MAINTENANCE_LOCK = 0x6769_7470_6F64
"""The id of the PostgreSQL advisory lock that is held to change schema, tokens or keys. Requests never take it."""

UNREACHABLE = "the store cannot be reached; nothing was written"
BUSY = "the store is busy; nothing was written"
FULL = "the store cannot be written to; nothing was written"

POSTGRES_DEFAULTS: dict[str, Any] = {
    "application_name": "gitpod-secrets",
    "connect_timeout": 5,
    # Keepalives notice a server that vanished. A timeout for statements would also end a commit that only waits.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""Connection parameters that the URL can override (libpq, Parameter Key Words)."""

SERIALIZATION_FAILURES = ("40001", "40P01")
"""serialization_failure and deadlock_detected: the same transaction may succeed when it is run again."""
NO_SUCH_LOCK = ("42883", "0A000")
"""undefined_function and feature_not_supported: the engine has no advisory locks."""
NOT_WRITABLE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
DISK_FULL = "53100"
LOCK_NOT_AVAILABLE = "55P03"
READ_ONLY = "25006"
"""read_only_sql_transaction: this server is a standby."""


class Database:
    """A SQLAlchemy engine for SQLite or PostgreSQL. `path` is the file of a SQLite database, else None."""

    def __init__(self, url: str) -> None:
        self.path: Path | None = None
        self.is_sqlite = not is_postgresql(url)
        if self.is_sqlite:
            self.path = sqlite_path(url)
            self.engine = _sqlite_engine(self.path)
        else:
            self.engine = _postgresql_engine(url)
        self.in_memory = self.is_sqlite and self.path is None
        self._file = _identity(self.path)
        # A database in memory has a single connection, which one thread uses at a time.
        self._only = RLock()
        autocommit = {} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        self._readers = self.engine.execution_options(**autocommit)

    @contextmanager
    def reader(self) -> Generator[Connection]:
        """Yield a connection on which every statement is its own transaction."""
        with self._connect(self._readers) as connection:
            yield connection

    @contextmanager
    def writer(self, *, exclusive: bool = False) -> Generator[Connection]:
        """Yield a connection in a transaction, which is rolled back unless the caller commits it.

        Args:
            exclusive: waits until no other process has such a transaction.

        Raises:
            StoreUnavailableError: the transaction could not begin.
        """
        with self._connect(self.engine) as connection:
            try:
                if self.is_sqlite:
                    # Takes the write lock now, because upgrading a read lock later may fail.
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                elif exclusive:
                    # The transaction must see what the previous holder of the lock committed.
                    connection.execute(text("SET TRANSACTION ISOLATION LEVEL READ COMMITTED"))
                    # Another process may be creating the schema, which takes longer than a request may wait.
                    connection.execute(text("SET LOCAL lock_timeout = '60s'"))
                    connection.execute(text(f"SELECT pg_advisory_xact_lock({MAINTENANCE_LOCK})"))
            except DBAPIError as error:
                if sqlstate(error) not in NO_SUCH_LOCK:
                    raise as_unavailable(error) or error from None
                # Goes on without the lock; docs/service.md tells operators of such engines what to do.
                connection.rollback()
            yield connection

    @contextmanager
    def _connect(self, engine: Engine) -> Generator[Connection]:
        if self.in_memory:
            with self._only, engine.connect() as connection:
                yield connection
            return
        if _identity(self.path) != self._file:
            # SQLite would go on writing into the deleted file.
            raise StoreUnavailableError("the store's file was removed or replaced; nothing was written")
        try:
            connection = engine.connect()
        except DBAPIError as error:
            raise (as_unavailable(error) or StoreUnavailableError(UNREACHABLE, reason(error))) from None
        except PoolTimeoutError:
            raise StoreUnavailableError(BUSY) from None
        with connection:
            yield connection


def _identity(path: Path | None) -> tuple[int, int] | None:
    """Return the device and inode of a file, None if there is no file."""
    try:
        status = path.stat() if path else None
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status else None


def as_unavailable(error: DBAPIError) -> StoreUnavailableError | None:
    """Return StoreUnavailableError for an error that means that nothing can be written now, None for any other."""
    if isinstance(error.orig, sqlite3.Error):
        if _is_busy(error.orig):
            return StoreUnavailableError(BUSY)
        return (
            StoreUnavailableError(FULL, reason(error)) if error.orig.sqlite_errorcode & 0xFF in NOT_WRITABLE else None
        )
    if sqlstate(error) == LOCK_NOT_AVAILABLE:
        return StoreUnavailableError(BUSY)
    if sqlstate(error) == DISK_FULL:
        return StoreUnavailableError(FULL, reason(error))
    if error.connection_invalidated or sqlstate(error) == READ_ONLY:
        return StoreUnavailableError(UNREACHABLE, reason(error))
    return None


def reason(error: DBAPIError) -> str:
    """Return the database's message as one line. psycopg puts no passwords into it."""
    return " ".join(str(error.orig).split())


def sqlstate(error: DBAPIError) -> str:
    """Return the SQLSTATE of an error of PostgreSQL (its documentation, appendix A), empty for SQLite."""
    return getattr(error.orig, "sqlstate", None) or ""


def _postgresql_engine(url: str) -> Engine:
    parameters = {**POSTGRES_DEFAULTS, **postgresql_parameters(url)}
    import psycopg  # an extra, which SQLite does without

    def connect() -> "psycopg.Connection[Any]":
        return psycopg.connect(**parameters)

    engine = create_engine(
        "postgresql+psycopg://",
        creator=connect,
        hide_parameters=True,
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=BUSY_TIMEOUT,
    )

    own = engine.dialect._get_server_version_info  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] # there is no setting for it

    def version(connection: Connection) -> tuple[int, ...]:
        try:
            found: tuple[int, ...] = own(connection)
        except AssertionError:
            # CockroachDB has a version text that SQLAlchemy cannot read.
            return (13,)
        return found

    engine.dialect._get_server_version_info = version  # type: ignore[method-assign]  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    @event.listens_for(engine, "connect")
    def connected(connection: "psycopg.Connection[Any]", _: object) -> None:
        connection.autocommit = True
        # An answer promises durability, so the database's default may not turn it off.
        connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )
        connection.execute("SELECT set_config('lock_timeout', %s, false)", [f"{BUSY_TIMEOUT}s"])
        connection.autocommit = False

    return engine


def _sqlite_engine(path: Path | None) -> Engine:
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
            connect_args={"timeout": BUSY_TIMEOUT},
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=BUSY_TIMEOUT,
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
    deadline = time.monotonic() + BUSY_TIMEOUT
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None)) as connection:
        while True:
            try:
                [mode] = connection.execute("PRAGMA journal_mode=WAL").fetchone()
            except sqlite3.OperationalError as error:
                if not _is_busy(error):
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


def _is_busy(error: sqlite3.Error) -> bool:
    # The low byte is the primary code; the other bytes are the extended code.
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
