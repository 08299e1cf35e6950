"""What a failure of SQLite or PostgreSQL means for the caller."""

import sqlite3

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
UNDEFINED_TABLE = "42P01"
READ_ONLY = "25006"
"""read_only_sql_transaction: this server is a standby."""


class LostConnectionError(Exception):
    """The connection to the database was lost. The driver's own error is the other base of its class."""


class StoreGoneError(StoreUnavailableError):
    """Nothing can be written before the process is started anew."""


def as_unavailable(error: Exception) -> StoreUnavailableError | None:
    """Return StoreUnavailableError for an error that means that nothing can be written now, None for any other."""
    cause = _cause(error)
    if isinstance(cause, sqlite3.Error):
        code = code_of(cause)
        if is_busy(cause):
            return StoreUnavailableError(BUSY)
        is_refused = code & 0xFF in NOT_WRITABLE or code == sqlite3.SQLITE_IOERR_WRITE
        return StoreUnavailableError(FULL, reason(error)) if is_refused else None
    if sqlstate(error) == LOCK_NOT_AVAILABLE:
        return StoreUnavailableError(BUSY)
    if sqlstate(error) == DISK_FULL:
        return StoreUnavailableError(FULL, reason(error))
    if is_broken(error) or sqlstate(error) == READ_ONLY:
        return StoreUnavailableError(UNREACHABLE, reason(error))
    return None


def as_unreachable(error: Exception) -> Exception:
    """Return the error to raise when opening a connection failed: StoreUnavailableError if the database says so."""
    if not is_of_database(error):
        return error
    return as_unavailable(error) or StoreUnavailableError(UNREACHABLE, reason(error))


def is_transient(error: Exception) -> bool:
    """Tell whether the same work may succeed when it is run again."""
    return is_broken(error) or sqlstate(error) in SERIALIZATION_FAILURES


def is_broken(error: Exception) -> bool:
    """Tell whether the connection was lost."""
    return isinstance(_cause(error), LostConnectionError)


def is_of_database(error: Exception) -> bool:
    """Tell whether an error is one of a driver, or of SQLAlchemy for one."""
    return isinstance(_cause(error), sqlite3.Error) or hasattr(_cause(error), "sqlstate")


def is_missing_table(error: Exception) -> bool:
    """Tell whether a query names a table that does not exist."""
    return sqlstate(error) == UNDEFINED_TABLE or (
        isinstance(_cause(error), sqlite3.OperationalError) and str(_cause(error)).startswith("no such table")
    )


def is_busy(error: sqlite3.Error) -> bool:
    """Tell whether another connection to the SQLite file holds the lock."""
    # The low byte is the primary code; the other bytes are the extended code.
    return code_of(error) & 0xFF == sqlite3.SQLITE_BUSY


def code_of(error: sqlite3.Error) -> int:
    """Return the extended code of an error of SQLite, 0 for one of the module sqlite3 itself."""
    return getattr(error, "sqlite_errorcode", 0)


def may_be_durable(error: Exception) -> bool:
    """Tell whether a commit of SQLite that failed may be in the log, where a restart would find it."""
    cause = _cause(error)
    if not isinstance(cause, sqlite3.Error):
        return False
    # SQLite writes the mark of a commit last, so it is not there when a write failed. A failed sync proves nothing.
    return code_of(cause) & 0xFF == sqlite3.SQLITE_IOERR and code_of(cause) != sqlite3.SQLITE_IOERR_WRITE


def reason(error: Exception) -> str:
    """Return the database's message as one line. psycopg puts no passwords into it."""
    return " ".join(str(_cause(error)).split())


def sqlstate(error: Exception) -> str:
    """Return the SQLSTATE of an error of PostgreSQL (its documentation, appendix A), empty for any other error."""
    return getattr(_cause(error), "sqlstate", None) or ""


def _cause(error: Exception) -> object:
    """Return the driver's error within one of SQLAlchemy (DBAPIError.orig), whose loading takes too long for this."""
    return getattr(error, "orig", None) or error
