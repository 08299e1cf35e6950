"""PostgreSQL: its connections, and how a transaction begins and is committed."""

import time
from collections.abc import Sequence
from typing import Any, cast

import psycopg
from psycopg.pq import TransactionStatus

from gitpod.server.errors import OutcomeUnknownError, StoreUnavailableError
from gitpod.server.storage import limits
from gitpod.server.storage.bounded import BoundedConnection
from gitpod.server.storage.failures import NO_SUCH_FUNCTION, UNKNOWN, as_unavailable, is_broken, sqlstate
from gitpod.server.storage.hosts import Hosts
from gitpod.server.storage.sql import SQL, Connected, Session, sql

MAINTENANCE_LOCK = 0x6769_7470_6F64
"""The id of the PostgreSQL advisory lock that is held to change schema, tokens or keys. Requests never take it."""
MOST_UNANSWERED = 3
"""Commits without an answer that may be under way at a time. Each keeps a connection of the server: to call one off
would make it count as done before a standby has it.
"""
UNDER_WAY = sql("SELECT pid FROM pg_stat_activity WHERE pid = ANY(?) AND state = 'active' AND query = 'COMMIT'")
SHOW_READ_ONLY = sql("SHOW transaction_read_only")
WRITE_SOMETHING = sql("SELECT pg_logical_emit_message(true, 'gitpod-secrets', '')")

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


class PostgreSQLSession:
    """A connection to PostgreSQL."""

    is_sqlite = False

    def __init__(self, driver: BoundedConnection) -> None:
        self.driver = driver
        self._cursor = psycopg.RawCursor(driver)

    def rows(self, statement: SQL, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a query, and return its rows."""
        return self._cursor.execute(statement.postgresql, values, binary=True).fetchall()

    def change(self, statement: SQL, values: Sequence[object] = ()) -> int:
        """Run a statement that changes rows, and return their number."""
        return self._cursor.execute(statement.postgresql, values).rowcount

    def reset(self) -> bool:
        """Roll back what is under way. Returns False when the connection is closed, because it was lost."""
        self.driver.answer_timeout = None
        if self.driver.info.transaction_status is TransactionStatus.IDLE:
            return True
        try:
            self.driver.rollback()
        except psycopg.Error:
            self.driver.close()
        return not self.driver.closed

    def close(self) -> None:
        """Close the connection."""
        self.driver.close()


class PostgreSQL:
    """A PostgreSQL database. Every wait for an answer of it is bounded.

    Args:
        parameters: connection parameters by libpq's names.
    """

    readers = limits.READERS
    slowest_batch = limits.STUCK_TIMEOUT

    def __init__(self, parameters: dict[str, Any]) -> None:
        self._hosts = Hosts({**DEFAULTS, **parameters})
        # The server's processes whose commits got no answer.
        self._unanswered: set[int] = set()
        self._written_at = float("-inf")

    def connect(self, *, is_reader: bool) -> PostgreSQLSession:
        """Open a connection. Each statement of a reader is a transaction of its own."""
        driver = self.driver()
        driver.autocommit = is_reader
        return PostgreSQLSession(driver)

    def driver(self) -> BoundedConnection:
        """Open a connection of the driver, with the settings that a session of the server can keep."""
        driver = self._hosts.connect()
        try:
            _prepare(driver)
        except BaseException:
            driver.close()
            raise
        return driver

    def close(self) -> None:
        """Do nothing: there are no files."""

    def verify(self) -> None:
        """Check what can be checked without a connection: nothing."""

    def extend_timeout(self, session: Session) -> None:
        """Give the next answers `MAINTENANCE_TIMEOUT`, until the connection is given back."""
        _driver(session).answer_timeout = limits.MAINTENANCE_TIMEOUT

    def begin(self, session: Session) -> None:
        """Begin a transaction, as `Database.writer` describes."""
        driver = _driver(session)
        try:
            if driver.settings:
                driver.execute(driver.settings)
            if len(self._unanswered) >= MOST_UNANSWERED:
                self._check_unanswered(session)
        except psycopg.Error as error:
            raise as_unavailable(error) or error from None

    def begin_alone(self, driver: BoundedConnection) -> None:
        """Begin a transaction, as `Database.maintenance` describes."""
        driver.answer_timeout = limits.MAINTENANCE_TIMEOUT
        try:
            if driver.settings:
                driver.execute(driver.settings)
            _lock(driver)
        except psycopg.Error as error:
            raise as_unavailable(error) or error from None

    def commit(self, session: Session) -> None:
        """Commit a transaction, as `Database.commit` describes."""
        driver = _driver(session)
        process, driver.has_warned = driver.info.backend_pid, False
        try:
            driver.commit()
        except psycopg.Error as error:
            if not is_broken(error):
                raise
            self._unanswered.add(process)
            raise OutcomeUnknownError(UNKNOWN) from None
        if driver.has_warned:
            # Someone cancelled the wait for a standby. PostgreSQL then reports success, with a warning.
            raise OutcomeUnknownError(UNKNOWN)
        self._unanswered.clear()
        self._written_at = time.monotonic()

    def confirm(self, session: Session) -> None:
        """Wait for the standbys, as `Database.confirm` describes."""
        try:
            # A commit waits for all that was written before it, but only if it writes something itself.
            session.rows(WRITE_SOMETHING)
        except psycopg.Error as error:
            if sqlstate(error) not in NO_SUCH_FUNCTION:
                raise
            # Not PostgreSQL itself, but an engine that shows a change only when it is as durable as it will be.
            return
        self.commit(session)

    def check(self, connected: Connected) -> None:
        """Write something small, as `Database.check` describes."""
        if time.monotonic() - self._written_at < limits.FRESH:
            return
        with connected() as session:
            _driver(session).answer_timeout = limits.CHECK_TIMEOUT
            self.begin(session)
            if session.rows(SHOW_READ_ONLY) == [("on",)]:
                raise StoreUnavailableError("the server is a standby")
            self.confirm(session)

    def _check_unanswered(self, session: Session) -> None:
        """Refuse a transaction while several commits wait, as its own would, for a standby or a stopped process."""
        asked = set(self._unanswered)
        waiting = {process for (process,) in session.rows(UNDER_WAY, [list(asked)])}
        self._unanswered -= asked - waiting
        if len(waiting) >= MOST_UNANSWERED:
            raise StoreUnavailableError("the store does not confirm commits; nothing was written")


def _driver(session: Session) -> BoundedConnection:
    return cast("PostgreSQLSession", session).driver


def _lock(driver: BoundedConnection) -> None:
    """Wait until no other process has such a transaction."""
    # The transaction must see what the previous holder of the lock committed.
    driver.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
    # Another process may be creating the schema, which takes longer than a request may wait.
    driver.execute("SET LOCAL lock_timeout = '60s'")
    try:
        driver.execute("SELECT pg_advisory_xact_lock(%s)", [MAINTENANCE_LOCK])
    except psycopg.Error as error:
        if sqlstate(error) not in NO_SUCH_FUNCTION:
            raise
        # Goes on without the lock; docs/service/stores.md tells operators of such engines what to do.
        driver.rollback()


def _prepare(driver: BoundedConnection) -> None:
    """Make the settings of a new connection."""
    driver.autocommit = True
    asked = driver.execute(
        "SELECT pg_backend_pid(), current_setting('synchronous_commit'), current_setting('plan_cache_mode', true)"
    )
    [[process, durability, plans]] = asked.fetchall()
    settings = [f"lock_timeout = '{limits.BUSY_TIMEOUT}s'"]
    if plans is not None:
        # A plan that was made while a table was empty reads all of it, and would be kept until autovacuum comes by.
        # Other engines do not have this setting.
        settings.append("plan_cache_mode = force_custom_plan")
    if durability == "off":
        # An answer promises durability, so the database's default may not turn it off.
        settings.append("synchronous_commit = on")
    if process == driver.info.backend_pid:
        driver.execute("; ".join(f"SET {each}" for each in settings).encode())
    else:
        # A pooler makes up the process that it names. The next transaction may be in another session, which has
        # neither this one's settings nor its prepared statements.
        driver.settings = "; ".join(f"SET LOCAL {each}" for each in settings).encode()
        driver.prepare_threshold = None
    driver.autocommit = False
