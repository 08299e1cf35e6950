"""The SQL of operators' commands: schema, organizations, data keys and tokens."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, inspect, select, text, update

from gitpod.server.storage.migrations import REVISION
from gitpod.server.storage.rows import (
    AuditRecord,
    Organization,
    Sealed,
    StoredSecret,
    StoredToken,
    WrappedKey,
    columns,
    now,
)
from gitpod.server.storage.schema import audit, data_keys, metadata, organizations, secrets, tokens

OWN = (
    select(*(each for each in organizations.c if each.name != "created_at"))
    .where(organizations.c.is_own)
    .order_by(organizations.c.created_at, organizations.c.id)
)
DATA_KEYS = (
    select(data_keys)
    .where(data_keys.c.organization_id == bindparam("organization_id"))
    .order_by(data_keys.c.created_at, data_keys.c.id)
)
# Parameters need names that no column has: an UPDATE sets every column that has a parameter of its name.
RESEAL = update(secrets).where(
    secrets.c.organization_id == bindparam("of"),
    secrets.c.id == bindparam("this"),
    secrets.c.ciphertext == bindparam("from"),
)


class Maintenance:
    """The statements of a transaction for operators. Only one process has such a transaction at a time."""

    def __init__(self, connection: Connection, *, in_memory: bool) -> None:
        self._connection = connection
        self._in_memory = in_memory

    def migrate(self) -> None:
        """Bring the schema to the newest revision.

        Raises:
            ServiceError: the schema has a revision that this version does not know.
        """
        if self._in_memory:
            metadata.create_all(self._connection)
            return
        if self._is_current():
            # Another process has done it while this one waited, and others wait for this one.
            return
        from gitpod.server.storage.migrations.run import upgrade  # loads Alembic, which requests do without

        upgrade(self._connection)

    def _is_current(self) -> bool:
        if not inspect(self._connection).has_table("alembic_version"):
            return False
        found: str | None = self._connection.scalar(text("SELECT version_num FROM alembic_version"))
        return found == REVISION

    def own(self) -> list[Organization]:
        """Return the store's own organization: one, unless the store is new or was tampered with."""
        return [Organization(**row) for row in self._connection.execute(OWN).mappings()]

    def add_organization(self, new: Organization) -> None:
        """Add an organization."""
        self._connection.execute(insert(organizations), {**columns(new), "created_at": now()})

    def holds_secrets(self) -> bool:
        """Tell whether there is any secret."""
        return self._connection.execute(select(secrets.c.id).limit(1)).first() is not None

    def data_keys(self, organization_id: str | None = None) -> list[WrappedKey]:
        """Return the data keys of one organization, or of all, oldest first."""
        if organization_id is None:
            rows = self._connection.execute(select(data_keys).order_by(data_keys.c.created_at)).all()
        else:
            rows = self._connection.execute(DATA_KEYS, {"organization_id": organization_id}).all()
        return _keys_of(rows)

    def add_data_key(self, key: WrappedKey) -> None:
        """Add a data key as the newest one, even if the clock stepped back."""
        chosen = select(func.max(data_keys.c.created_at)).where(data_keys.c.organization_id == key.organization_id)
        newest = self._connection.scalar(chosen) or 0
        later = replace(key, created_at=max(key.created_at, newest + 1))
        self._connection.execute(insert(data_keys), columns(later))

    def rewrap(self, key: WrappedKey) -> None:
        """Replace the wrapped form of a data key."""
        chosen = data_keys.c.organization_id == key.organization_id, data_keys.c.id == key.id
        self._connection.execute(update(data_keys).where(*chosen).values(wrapped=key.wrapped))

    def reseal(self, old: StoredSecret, sealed: Sealed) -> bool:
        """Replace a sealed value. False, and nothing is done, if the value was changed meanwhile."""
        values = {**columns(sealed), "of": old.organization_id, "this": old.id, "from": old.ciphertext}
        return self._connection.execute(RESEAL, values).rowcount == 1

    def add_token(self, token: StoredToken) -> None:
        """Add a token."""
        self._connection.execute(insert(tokens), columns(token))

    def revoke_token(self, token_id: str) -> StoredToken | None:
        """Revoke a token and return it, None when there is no such token. The first time of revocation stays."""
        row = self._connection.execute(select(tokens).where(tokens.c.id == token_id)).mappings().first()
        if row is None:
            return None
        token = StoredToken(**row)
        chosen = tokens.c.organization_id == token.organization_id, tokens.c.id == token_id
        if token.revoked_at is None:
            self._connection.execute(update(tokens).where(*chosen).values(revoked_at=now()))
        return token

    def record(self, record: AuditRecord) -> None:
        """Add an audit record."""
        # PostgreSQL gives the number itself.
        numbered = {"sequence": 0} if self._connection.dialect.name == "sqlite" else {}
        self._connection.execute(insert(audit), columns(record) | numbered)


def _keys_of(rows: Iterable[Any]) -> list[WrappedKey]:
    """Return the data keys in the rows of a query."""
    return [
        WrappedKey(organization_id=row.organization_id, id=row.id, wrapped=row.wrapped, created_at=row.created_at)
        for row in rows
    ]
