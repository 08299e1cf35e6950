"""What a failure of SQLite or PostgreSQL means for the caller."""

import sqlite3

from sqlalchemy.exc import DBAPIError

from gitpod.server.errors import StoreUnavailableError

UNREACHABLE = "the store cannot be reached; nothing was written"
BUSY = "the store is busy; nothing was written"
FULL = "the store cannot be written to; nothing was written"
UNKNOWN = "the outcome of the commit is not known"

SERIALIZATION_FAILURES = ("40001", "40P01")
"""serialization_failure and deadlock_detected: the same transaction may succeed when it is run again."""
NO_SUCH_FUNCTION = ("42883", "0A000")
"""undefined_function and feature_not_supported: the engine lacks a function of PostgreSQL."""
NOT_WRITABLE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
DISK_FULL = "53100"
LOCK_NOT_AVAILABLE = "55P03"
READ_ONLY = "25006"
"""read_only_sql_transaction: this server is a standby."""


class StoreGoneError(StoreUnavailableError):
    """Nothing can be written before the process is started anew."""


def as_unavailable(error: DBAPIError) -> StoreUnavailableError | None:
    """Return StoreUnavailableError for an error that means that nothing can be written now, None for any other."""
    if isinstance(error.orig, sqlite3.Error):
        if is_busy(error.orig):
            return StoreUnavailableError(BUSY)
        code = error.orig.sqlite_errorcode
        is_refused = code & 0xFF in NOT_WRITABLE or code == sqlite3.SQLITE_IOERR_WRITE
        return StoreUnavailableError(FULL, reason(error)) if is_refused else None
    if sqlstate(error) == LOCK_NOT_AVAILABLE:
        return StoreUnavailableError(BUSY)
    if sqlstate(error) == DISK_FULL:
        return StoreUnavailableError(FULL, reason(error))
    if error.connection_invalidated or sqlstate(error) == READ_ONLY:
        return StoreUnavailableError(UNREACHABLE, reason(error))
    return None


def is_transient(error: Exception) -> bool:
    """Tell whether the same work may succeed when it is run again."""
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or sqlstate(error) in SERIALIZATION_FAILURES


def is_busy(error: sqlite3.Error) -> bool:
    """Tell whether another connection to the SQLite file holds the lock."""
    # The low byte is the primary code; the other bytes are the extended code.
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def may_be_durable(error: DBAPIError) -> bool:
    """Tell whether a commit of SQLite that failed may be in the log, where a restart would find it."""
    if not isinstance(error.orig, sqlite3.Error):
        return False
    code = error.orig.sqlite_errorcode
    # SQLite writes the mark of a commit last, so it is not there when a write failed. A failed sync proves nothing.
    return code & 0xFF == sqlite3.SQLITE_IOERR and code != sqlite3.SQLITE_IOERR_WRITE


def reason(error: DBAPIError) -> str:
    """Return the database's message as one line. psycopg puts no passwords into it."""
    return " ".join(str(error.orig).split())


def sqlstate(error: DBAPIError) -> str:
    """Return the SQLSTATE of an error of PostgreSQL (its documentation, appendix A), empty for SQLite."""
    return getattr(error.orig, "sqlstate", None) or ""
