"""Connections to a store: gives them out, begins and commits transactions, on SQLite or PostgreSQL."""

from collections.abc import Generator
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from gitpod.server.errors import StoreUnavailableError
from gitpod.server.storage.failures import BUSY, UNREACHABLE, as_unavailable, reason
from gitpod.server.storage.sqlite import SQLite
from gitpod.server.storage.url import is_postgresql, postgresql_parameters, sqlite_path

if TYPE_CHECKING:
    from pathlib import Path


class Backend(Protocol):
    """What SQLite and PostgreSQL do differently."""

    engine: Engine

    @property
    def slowest_batch(self) -> float:
        """Seconds after which a batch under way counts as stuck."""
        ...

    def close(self) -> None:
        """Close the connections."""

    def verify(self) -> None:
        """Raise StoreUnavailableError when no connection may be used now."""

    def extend_timeout(self, connection: Connection) -> None:
        """Give the next answers the time of an operator's command."""

    def begin(self, connection: Connection, *, exclusive: bool) -> None:
        """Begin a transaction."""

    def commit(self, connection: Connection) -> None:
        """Commit a transaction."""

    def confirm(self, connection: Connection) -> None:
        """Wait until what a transaction sees is durable."""

    def check(self) -> None:
        """Raise an error unless something small can be written."""


class Database:
    """A SQLAlchemy engine for SQLite or PostgreSQL. `path` is the file of a SQLite database, else None."""

    def __init__(self, url: str) -> None:
        self.path: Path | None = None
        self.in_memory = False
        self._backend: Backend
        if is_postgresql(url):
            parameters = postgresql_parameters(url)
            from gitpod.server.storage.postgres import PostgreSQL  # loads psycopg, an extra

            self._backend = PostgreSQL(parameters)
            readers: dict[str, str] = {"isolation_level": "AUTOCOMMIT"}
        else:
            self.path = sqlite_path(url)
            self.in_memory = self.path is None
            self._backend = SQLite(self.path)
            readers = {}
        self.engine = self._backend.engine
        self._readers = self.engine.execution_options(**readers)
        # A database in memory has a single connection, which one thread uses at a time.
        self._only = RLock()

    @contextmanager
    def reader(self, *, is_operator: bool = False) -> Generator[Connection]:
        """Yield a connection on which every statement is its own transaction.

        Args:
            is_operator: whether answers have the time of an operator's command, which may read every row.
        """
        with self._connect(self._readers) as connection:
            if is_operator:
                self._backend.extend_timeout(connection)
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
            self._backend.begin(connection, exclusive=exclusive)
            yield connection

    def commit(self, connection: Connection) -> None:
        """Commit the transaction of a writer.

        Raises:
            OutcomeUnknownError: no answer came. After any other error nothing was committed.
        """
        self._backend.commit(connection)

    def confirm(self, connection: Connection) -> None:
        """Commit the transaction of a writer once all that it sees is as durable as what `commit` was answered for.

        PostgreSQL also shows a commit whose wait for a standby was broken off, and which a failover would lose.

        Raises:
            OutcomeUnknownError: no answer came.
        """
        self._backend.confirm(connection)

    def check(self) -> None:
        """Raise an error unless the store is intact and something small can be written, or was a moment ago."""
        self._backend.check()

    @property
    def slowest_batch(self) -> float:
        """Seconds after which a batch under way counts as stuck."""
        return self._backend.slowest_batch

    def reconnect(self) -> None:
        """Use none of the connections that are open now for further work."""
        self.engine.dispose()

    def close(self) -> None:
        """Close the connections. Safe to repeat."""
        self._backend.close()

    @contextmanager
    def _connect(self, engine: Engine) -> Generator[Connection]:
        if self.in_memory:
            with self._only, engine.connect() as connection:
                yield connection
            return
        self._backend.verify()
        try:
            connection = engine.connect()
        except DBAPIError as error:
            raise (as_unavailable(error) or StoreUnavailableError(UNREACHABLE, reason(error))) from None
        except PoolTimeoutError:
            raise StoreUnavailableError(BUSY) from None
        with connection:
            yield connection
