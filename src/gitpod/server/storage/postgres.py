"""PostgreSQL: the engine, and how a transaction begins and is committed."""

import time
from typing import Any, cast

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from gitpod.server.errors import OutcomeUnknownError, StoreUnavailableError
from gitpod.server.storage import limits
from gitpod.server.storage.bounded import BoundedConnection
from gitpod.server.storage.failures import NO_SUCH_FUNCTION, UNKNOWN, as_unavailable, sqlstate
from gitpod.server.storage.hosts import Hosts

MAINTENANCE_LOCK = 0x6769_7470_6F64
"""The id of the PostgreSQL advisory lock that is held to change schema, tokens or keys. Requests never take it."""
MOST_UNANSWERED = 3
"""Commits without an answer that may be under way at a time. Each keeps a connection of the server: to call one off
would make it count as done before a standby has it.
"""
UNDER_WAY = "SELECT pid FROM pg_stat_activity WHERE pid = ANY(%s) AND state = 'active' AND query = 'COMMIT'"

SETTINGS = "settings of each transaction"
"""The key of a pooled connection's SQL for settings, when its server session is not its own."""

DEFAULTS: dict[str, Any] = {
    "application_name": "gitpod-secrets",
    "connect_timeout": 5,
    # Keepalives notice a server that vanished.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""Connection parameters that the URL can override (libpq, Parameter Key Words)."""


class PostgreSQL:
    """A PostgreSQL database. Every wait for an answer of it is bounded.

    Args:
        parameters: connection parameters by libpq's names.
    """

    def __init__(self, parameters: dict[str, Any]) -> None:
        self.engine = _engine({**DEFAULTS, **parameters})
        # The server's processes whose commits got no answer.
        self._unanswered: set[int] = set()
        self._written_at = float("-inf")

    @property
    def slowest_batch(self) -> float:
        """Seconds after which a batch under way counts as stuck."""
        return limits.STUCK_TIMEOUT

    def close(self) -> None:
        """Close the connections that are not in use."""
        self.engine.dispose()

    def verify(self) -> None:
        """Check what can be checked without a connection: nothing."""

    def extend_timeout(self, connection: Connection) -> None:
        """Give the next answers `MAINTENANCE_TIMEOUT`, until the connection is given back."""
        _driver(connection).answer_timeout = limits.MAINTENANCE_TIMEOUT

    def begin(self, connection: Connection, *, exclusive: bool) -> None:
        """Begin a transaction, as `Database.writer` describes."""
        try:
            if settings := connection.info.get(SETTINGS):
                connection.exec_driver_sql(settings)
            if exclusive:
                self.extend_timeout(connection)
                _lock(connection)
            else:
                self._check_unanswered(connection)
        except DBAPIError as error:
            raise as_unavailable(error) or error from None

    def commit(self, connection: Connection) -> None:
        """Commit a transaction, as `Database.commit` describes."""
        driver = _driver(connection)
        process, driver.has_warned = driver.info.backend_pid, False
        try:
            connection.commit()
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            self._unanswered.add(process)
            raise OutcomeUnknownError(UNKNOWN) from None
        if driver.has_warned:
            # Someone cancelled the wait for a standby. PostgreSQL then reports success, with a warning.
            raise OutcomeUnknownError(UNKNOWN)
        self._unanswered.clear()
        self._written_at = time.monotonic()

    def confirm(self, connection: Connection) -> None:
        """Wait for the standbys, as `Database.confirm` describes."""
        try:
            # A commit waits for all that was written before it, but only if it writes something itself.
            connection.exec_driver_sql("SELECT pg_logical_emit_message(true, 'gitpod-secrets', '')")
        except DBAPIError as error:
            if sqlstate(error) not in NO_SUCH_FUNCTION:
                raise
            # Not PostgreSQL itself, but an engine that shows a change only when it is as durable as it will be.
            return
        self.commit(connection)

    def check(self) -> None:
        """Write something small, as `Database.check` describes."""
        if time.monotonic() - self._written_at < limits.FRESH:
            return
        with self.engine.connect() as connection:
            _driver(connection).answer_timeout = limits.CHECK_TIMEOUT
            self.begin(connection, exclusive=False)
            if connection.exec_driver_sql("SHOW transaction_read_only").scalar() == "on":
                raise StoreUnavailableError("the server is a standby")
            self.confirm(connection)

    def _check_unanswered(self, connection: Connection) -> None:
        """Refuse a transaction while several commits wait, as its own would, for a standby or a stopped process."""
        asked = set(self._unanswered)
        if len(asked) < MOST_UNANSWERED:
            return
        waiting = set(connection.exec_driver_sql(UNDER_WAY, (list(asked),)).scalars())
        self._unanswered -= asked - waiting
        if len(waiting) >= MOST_UNANSWERED:
            raise StoreUnavailableError("the store does not confirm commits; nothing was written")


def _lock(connection: Connection) -> None:
    """Wait until no other process has such a transaction."""
    # The transaction must see what the previous holder of the lock committed.
    connection.execute(text("SET TRANSACTION ISOLATION LEVEL READ COMMITTED"))
    # Another process may be creating the schema, which takes longer than a request may wait.
    connection.execute(text("SET LOCAL lock_timeout = '60s'"))
    try:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({MAINTENANCE_LOCK})"))
    except DBAPIError as error:
        if sqlstate(error) not in NO_SUCH_FUNCTION:
            raise
        # Goes on without the lock; docs/service.md tells operators of such engines what to do.
        connection.rollback()


def _driver(connection: Connection) -> BoundedConnection:
    return cast("BoundedConnection", connection.connection.driver_connection)


def _engine(parameters: dict[str, Any]) -> Engine:
    engine = create_engine(
        "postgresql+psycopg://",
        creator=Hosts(parameters).connect,
        hide_parameters=True,
        pool_size=limits.CONNECTIONS,
        max_overflow=0,
        pool_timeout=limits.BUSY_TIMEOUT,
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
    def connected(connection: BoundedConnection, record: ConnectionPoolEntry) -> None:
        connection.autocommit = True
        asked = connection.execute("SELECT pg_backend_pid(), current_setting('synchronous_commit')")
        [[process, durability]] = asked.fetchall()
        settings = [f"lock_timeout = '{limits.BUSY_TIMEOUT}s'"]
        if durability == "off":
            # An answer promises durability, so the database's default may not turn it off.
            settings.append("synchronous_commit = on")
        if process == connection.info.backend_pid:
            connection.execute("; ".join(f"SET {each}" for each in settings).encode())
        else:
            # A pooler makes up the process that it names. The next transaction may be in another session, which has
            # neither this one's settings nor its prepared statements.
            record.info[SETTINGS] = "; ".join(f"SET LOCAL {each}" for each in settings)
            connection.prepare_threshold = None
        connection.autocommit = False

    @event.listens_for(engine, "checkout")
    def checked_out(connection: BoundedConnection, *_: object) -> None:
        connection.answer_timeout = limits.ANSWER_TIMEOUT

    return engine
