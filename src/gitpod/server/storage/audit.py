"""The SQL of audit records. Their order is that of the commits, and no clock decides it.

A record comes after each that was committed before its own commit began. Records that are committed at the same time
have any order. On PostgreSQL `sequence` is that order. SQLite, whose writers take turns, has it in `rowid`.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, bindparam, insert, select, text
from sqlalchemy.dialects.postgresql import insert as insert_or_count

from gitpod.server.storage.rows import AuditRecord, columns
from gitpod.server.storage.schema import audit

_ADD = insert(audit)
# This INSERT is PostgreSQL's, but SQLite has the same clause.
_COUNT = insert_or_count(audit).on_conflict_do_update(
    index_elements=["organization_id", "id"], set_={"count": audit.c.count + insert_or_count(audit).excluded.count}
)
FIND_RECORD = select(audit.c.id).where(
    audit.c.organization_id == bindparam("organization_id"), audit.c.id == bindparam("id")
)
_RECORDS = select(*(each for each in audit.c if each.name != "sequence"))


def newest_records(*, is_sqlite: bool) -> Select[Any]:
    """Return the query for all records, the last one first."""
    if is_sqlite:
        return _RECORDS.order_by(text("rowid DESC"))
    # Records of revision 0001 have the number 0, and ids that begin with their time.
    return _RECORDS.order_by(audit.c.sequence.desc(), audit.c.id.desc())


def add_records(connection: Connection, records: Sequence[AuditRecord]) -> None:
    """Add records, in their order."""
    if records:
        connection.execute(_ADD, _rows(connection, records))


def count_refusals(connection: Connection, records: Sequence[AuditRecord]) -> None:
    """Add records, or add their counts to the records that have the same ids."""
    # Two processes that count the same records lock them in the same order.
    connection.execute(_COUNT, _rows(connection, sorted(records, key=lambda record: record.id)))


def _rows(connection: Connection, records: Sequence[AuditRecord]) -> list[dict[str, Any]]:
    # PostgreSQL gives the number itself.
    numbered = {"sequence": 0} if connection.dialect.name == "sqlite" else {}
    return [columns(record) | numbered for record in records]
