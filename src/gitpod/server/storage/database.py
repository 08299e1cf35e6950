"""Connections to a store: gives them out, begins and commits transactions, on SQLite or PostgreSQL."""

from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from functools import cached_property, partial
from threading import RLock
from typing import TYPE_CHECKING, Any, Protocol

from gitpod.server.storage import limits
from gitpod.server.storage.failures import as_unreachable
from gitpod.server.storage.pool import Pool
from gitpod.server.storage.sql import Connected, Session
from gitpod.server.storage.sqlite import SQLite
from gitpod.server.storage.url import is_postgresql, postgresql_parameters, sqlite_path

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection, Engine


class Backend(Protocol):
    """What SQLite and PostgreSQL do differently."""

    readers: int
    """The most connections for reads."""
    slowest_batch: float
    """Seconds after which a batch under way counts as stuck."""

    def connect(self, *, is_reader: bool) -> Session:
        """Open a connection for requests."""
        ...

    def driver(self) -> Any:  # noqa: ANN401 # each driver has its own class, and SQLAlchemy takes either
        """Open a connection of the driver."""

    def close(self) -> None:
        """Close what else is open."""

    def verify(self) -> None:
        """Raise StoreUnavailableError when no connection may be used now."""

    def extend_timeout(self, session: Session) -> None:
        """Give the next answers the time of an operator's command."""

    def begin(self, session: Session) -> None:
        """Begin a transaction."""

    def begin_alone(self, driver: Any) -> None:  # noqa: ANN401 # what `driver` returns
        """Begin a transaction of an operator's command."""

    def commit(self, session: Session) -> None:
        """Commit a transaction."""

    def confirm(self, session: Session) -> None:
        """Wait until what a transaction sees is durable."""

    def check(self, connected: Connected) -> None:
        """Raise an error unless something small can be written."""


class Database:
    """The connections of a store. `path` is the file of a SQLite database, else None."""

    def __init__(self, url: str) -> None:
        self.path: Path | None = None
        self.in_memory = False
        self._backend: Backend
        if is_postgresql(url):
            parameters = postgresql_parameters(url)
            from gitpod.server.storage.postgres import PostgreSQL  # loads psycopg, an extra

            self._backend = PostgreSQL(parameters)
        else:
            self.path = sqlite_path(url)
            self.in_memory = self.path is None
            self._backend = SQLite(self.path)
        connect = self._backend.connect
        self._writers = Pool(partial(connect, is_reader=False), limits.WRITERS, self.reconnect)
        self._readers = Pool(partial(connect, is_reader=True), self._backend.readers, self.reconnect)
        # A database in memory has a single connection, which one thread uses at a time.
        self._only = self._backend.connect(is_reader=False) if self.in_memory else None
        self._turn = RLock()

    @cached_property
    def engine(self) -> "Engine":
        """A SQLAlchemy engine for migrations and operators' commands, with a new connection each time."""
        from gitpod.server.storage.engine import postgresql_engine, sqlite_engine  # loads SQLAlchemy

        only: Any = self._only
        if not isinstance(self._backend, SQLite):
            return postgresql_engine(self._backend.driver)
        return sqlite_engine((lambda: only.driver) if only else self._backend.driver, in_memory=self.in_memory)

    @contextmanager
    def reader(self, *, is_operator: bool = False) -> Generator[Session]:
        """Yield a connection on which every statement is its own transaction.

        Args:
            is_operator: whether answers have the time of an operator's command, which may read every row.
        """
        with self._session(self._readers) as session:
            if is_operator:
                self._backend.extend_timeout(session)
            yield session

    @contextmanager
    def writer(self) -> Generator[Session]:
        """Yield a connection in a transaction, which is rolled back unless the caller commits it.

        Raises:
            StoreUnavailableError: the transaction could not begin.
        """
        with self._session(self._writers) as session:
            self._backend.begin(session)
            yield session

    @contextmanager
    def maintenance(self) -> Generator["Connection"]:
        """Yield a connection in a transaction of an operator's command, which is committed at the end of the block.

        Waits until no other process has such a transaction.

        Raises:
            StoreUnavailableError: the transaction could not begin.
        """
        with self._turn if self.in_memory else nullcontext():
            self._backend.verify()
            try:
                connection = self.engine.connect()
            except Exception as error:  # noqa: BLE001 # those of no driver are raised as they are
                raise as_unreachable(error) from None
            with connection:
                self._backend.begin_alone(connection.connection.driver_connection)
                yield connection
                connection.commit()

    def commit(self, session: Session) -> None:
        """Commit the transaction of a writer.

        Raises:
            OutcomeUnknownError: no answer came. After any other error nothing was committed.
        """
        self._backend.commit(session)

    def confirm(self, session: Session) -> None:
        """Commit the transaction of a writer once all that it sees is as durable as what `commit` was answered for.

        PostgreSQL also shows a commit whose wait for a standby was broken off, and which a failover would lose.

        Raises:
            OutcomeUnknownError: no answer came.
        """
        self._backend.confirm(session)

    def check(self) -> None:
        """Raise an error unless the store is intact and something small can be written, or was a moment ago."""
        self._backend.check(self._writers.session)

    @property
    def slowest_batch(self) -> float:
        """Seconds after which a batch under way counts as stuck."""
        return self._backend.slowest_batch

    def reconnect(self) -> None:
        """Use none of the connections that are open now for further work."""
        self._writers.close()
        self._readers.close()

    def close(self) -> None:
        """Close the connections. Safe to repeat."""
        self.reconnect()
        if self._only:
            self._only.close()
        self._backend.close()

    @contextmanager
    def _session(self, pool: Pool) -> Generator[Session]:
        if self._only:
            with self._turn:
                try:
                    yield self._only
                finally:
                    self._only.reset()
            return
        self._backend.verify()
        with pool.session() as session:
            yield session
