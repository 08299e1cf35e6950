"""The SQL of audit records. Their order is that of the commits, and no clock decides it.

A record comes after each that was committed before its own commit began. Records that are committed at the same time
have any order. On PostgreSQL `sequence` is that order. SQLite, whose writers take turns, has it in `rowid`.
"""

from collections.abc import Sequence
from functools import cache
from operator import attrgetter

from gitpod.server.storage.rows import AuditRecord
from gitpod.server.storage.sql import SQL, Session, sql

LARGEST = 64
"""The most records of one statement."""
_FIELDS = tuple(AuditRecord.__slots__)
_COLUMNS = ", ".join(_FIELDS)
_values_of = attrgetter(*_FIELDS)
FIND_RECORD = sql("SELECT id FROM audit WHERE organization_id = ? AND id = ?")
_ADD_UP = "ON CONFLICT (organization_id, id) DO UPDATE SET count = audit.count + excluded.count"
_ORDER = "ORDER BY {} LIMIT ?"
# Records of revision 0001 have the number 0, and ids that begin with their time.
_BY_COMMIT, _BY_SEQUENCE = _ORDER.format("rowid DESC"), _ORDER.format("sequence DESC, id DESC")
_EACH, _OF_SECRET = (f"SELECT {_COLUMNS} FROM audit WHERE at >= ? {which}" for which in ("", "AND secret_id = ? "))  # noqa: S608 # the columns above
NEWEST_RECORDS = sql(_EACH + _BY_COMMIT, postgresql=_EACH + _BY_SEQUENCE)
NEWEST_OF_SECRET = sql(_OF_SECRET + _BY_COMMIT, postgresql=_OF_SECRET + _BY_SEQUENCE)


def add_records(session: Session, records: Sequence[AuditRecord]) -> None:
    """Add records, in their order."""
    _add(session, records, "")


def count_refusals(session: Session, records: Sequence[AuditRecord]) -> None:
    """Add records, or add their counts to the records that have the same ids."""
    # Two processes that count the same records lock them in the same order.
    _add(session, sorted(records, key=lambda record: record.id), _ADD_UP)


def _add(session: Session, records: Sequence[AuditRecord], clause: str) -> None:
    # Each statement is a round trip to PostgreSQL. SQLite takes them one by one as fast.
    size = 1 if session.is_sqlite else LARGEST
    for start in range(0, len(records), size):
        some = records[start : start + size]
        session.change(_insert(len(some), clause), [value for record in some for value in _values_of(record)])


@cache
def _insert(count: int, clause: str) -> SQL:
    """Return the statement that adds this number of records."""
    row = ", ".join("?" * len(_FIELDS))
    # PostgreSQL gives `sequence` itself.
    return sql(
        f"INSERT INTO audit (sequence, {_COLUMNS}) VALUES {', '.join([f'(0, {row})'] * count)} {clause}",  # noqa: S608 # the columns above
        postgresql=f"INSERT INTO audit ({_COLUMNS}) VALUES {', '.join([f'({row})'] * count)} {clause}",  # noqa: S608 # the same
    )
