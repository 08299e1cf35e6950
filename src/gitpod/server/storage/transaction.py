"""A transaction for requests: finds, adds, changes and removes secrets, and writes the audit records of that."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import BigInteger, Connection, bindparam, case, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as insert_unless

from gitpod.server.storage.audit import FIND_RECORD, add_records, count_refusals
from gitpod.server.storage.rows import AuditRecord, Sealed, StoredSecret, columns, now
from gitpod.server.storage.schema import secrets

# Statements are built once, because building takes half of the time of a short one.
# `insert_unless` is PostgreSQL's, but SQLite has the same clause. RETURNING tells whether the row was inserted,
# as not every driver counts the rows of an INSERT.
ADD_SECRET = insert_unless(secrets).on_conflict_do_nothing().returning(secrets.c.id)
NEWEST = select(func.max(secrets.c.created_at)).where(secrets.c.organization_id == bindparam("organization_id"))
FIND_SECRET = select(secrets).where(
    secrets.c.organization_id == bindparam("organization_id"), secrets.c.id == bindparam("id")
)
# Parameters need names that no column has: an UPDATE sets every column that has a parameter of its name.
_THIS = secrets.c.organization_id == bindparam("of"), secrets.c.id == bindparam("this")
REMOVE_SECRET = delete(secrets).where(*_THIS)
_NOW = bindparam("now", type_=BigInteger)
# A time of change is later than the one before it, even if the system's clock stepped back.
_LATER = case((secrets.c.updated_at < _NOW, _NOW), else_=secrets.c.updated_at + 1)
REPLACE_VALUE = update(secrets).where(*_THIS).values(updated_at=_LATER)


class Transaction:
    """The statements of a transaction for requests."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._records: list[AuditRecord] = []
        self._refused: list[AuditRecord] = []
        self._newest: dict[str, int] = {}

    def find(self, organization_id: str, secret_id: str) -> StoredSecret | None:
        """Return the secret with this id, or None."""
        values = {"organization_id": organization_id, "id": secret_id}
        row = self._connection.execute(FIND_SECRET, values).mappings().first()
        return StoredSecret(**row) if row else None

    def add(self, secret: StoredSecret) -> StoredSecret | None:
        """Add a secret and return it with its times, or None when the name is taken in its scope.

        It is created later than each that was committed before this transaction began, whatever the clock says.
        """
        organization_id = secret.organization_id
        if organization_id not in self._newest:
            self._newest[organization_id] = self._connection.scalar(NEWEST, {"organization_id": organization_id}) or 0
        created_at = max(now(), self._newest[organization_id] + 1)
        kept = replace(secret, created_at=created_at, updated_at=created_at)
        if self._connection.execute(ADD_SECRET, columns(kept)).first() is None:
            return None
        self._newest[organization_id] = created_at
        return kept

    def replace_value(self, secret: StoredSecret, sealed: Sealed) -> bool:
        """Replace the sealed value of a secret. False when the secret no longer exists."""
        values = {**columns(sealed), "now": now(), "of": secret.organization_id, "this": secret.id}
        return self._connection.execute(REPLACE_VALUE, values).rowcount == 1

    def remove(self, secret: StoredSecret) -> bool:
        """Remove a secret. False when the secret no longer exists."""
        values = {"of": secret.organization_id, "this": secret.id}
        return self._connection.execute(REMOVE_SECRET, values).rowcount == 1

    def record(self, record: AuditRecord) -> None:
        """Collect an audit record, which `flush` writes."""
        self._records.append(record)

    def refuse(self, record: AuditRecord) -> None:
        """Note a call that did nothing. `Store.count_refusal` counts it once it is clear that the refusal stands."""
        self._refused.append(record)

    def flush(self, *, after_loss: bool) -> None:
        """Write the collected audit records; after a commit that was lost, those of refused calls too.

        Then the id of the record must be taken. Without it a call whose first commit takes place after all would
        be told that it was refused, by what it did itself.
        """
        add_records(self._connection, [*self._records, *self._refused] if after_loss else self._records)

    def count(self, records: Sequence[AuditRecord]) -> None:
        """Count refused calls in their records."""
        count_refusals(self._connection, records)

    def is_recorded(self, record: AuditRecord) -> bool:
        """Tell whether a transaction with this record was committed."""
        values = {"organization_id": record.organization_id, "id": record.id}
        return self._connection.execute(FIND_RECORD, values).first() is not None
