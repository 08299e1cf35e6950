"""The SQL of audit records. Their order is that of the commits, and no clock decides it.

`sequence` is that order: a record has a higher number than each that was committed before its own commit began.
Records that are committed at the same time have any order. PostgreSQL gives the numbers. SQLite, whose writers take
turns, takes the next one here.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, func, insert, select, text
from sqlalchemy.dialects.postgresql import insert as insert_or_count

from gitpod.server.storage.rows import AuditRecord, columns
from gitpod.server.storage.schema import audit

_others = audit.alias("others")
# The newest row has the highest rowid: no index is needed to find it.
_NEXT = func.coalesce(select(_others.c.sequence).order_by(text("rowid DESC")).limit(1).scalar_subquery(), 0) + 1
_ADD = insert(audit)
_ADD_NEXT = _ADD.values(sequence=_NEXT)
# This INSERT is PostgreSQL's, but SQLite has the same clause.
_COUNT = insert_or_count(audit).on_conflict_do_update(
    index_elements=["organization_id", "id"], set_={"count": audit.c.count + insert_or_count(audit).excluded.count}
)
_COUNT_NEXT = _COUNT.values(sequence=_NEXT)
FIND_RECORD = select(audit.c.id).where(
    audit.c.organization_id == bindparam("organization_id"), audit.c.id == bindparam("id")
)
NEWEST_RECORDS = select(*(each for each in audit.c if each.name != "sequence")).order_by(
    audit.c.sequence.desc(), audit.c.id.desc()
)


def add_records(connection: Connection, records: Sequence[AuditRecord]) -> None:
    """Add records, in their order."""
    if records:
        statement = _ADD_NEXT if connection.dialect.name == "sqlite" else _ADD
        connection.execute(statement, [columns(record) for record in records])


def count_refusals(connection: Connection, records: Sequence[AuditRecord]) -> None:
    """Add records, or add their counts to the records that have the same ids."""
    statement = _COUNT_NEXT if connection.dialect.name == "sqlite" else _COUNT
    # Two processes that count the same records lock them in the same order.
    connection.execute(statement, [columns(record) for record in sorted(records, key=lambda record: record.id)])
