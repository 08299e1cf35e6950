"""The SQL of reads."""

from functools import lru_cache

from gitpod.server.storage.rows import (
    ListedSecret,
    Organization,
    Position,
    Row,
    StoredSecret,
    StoredToken,
    WrappedKey,
)
from gitpod.server.storage.sql import SQL, sql


def _select(kind: type[Row], table: str, rest: str) -> SQL:
    """Return a query for the fields of a class."""
    return sql(f"SELECT {', '.join(kind.__slots__)} FROM {table} {rest}")  # noqa: S608 # names of this module


FIND_TOKEN = _select(StoredToken, "tokens", "WHERE organization_id = ? AND digest = ?")
TOKENS = _select(StoredToken, "tokens", "ORDER BY created_at, id")
OWN = _select(Organization, "organizations", "WHERE is_own ORDER BY created_at, id")
ORGANIZATIONS = sql("SELECT id FROM organizations ORDER BY is_own DESC, created_at, id")
DATA_KEYS = _select(WrappedKey, "data_keys", "WHERE organization_id = ? ORDER BY created_at, id")
NOT_SEALED_BY = "WHERE organization_id = ? AND key_id <> ?"
OTHER_KEYS = _select(StoredSecret, "secrets", f"{NOT_SEALED_BY} AND id > ? ORDER BY id LIMIT ?")
COUNT_OTHER_KEYS = sql(f"SELECT count(*) FROM secrets {NOT_SEALED_BY}")  # noqa: S608 # the same
SCHEMA_REVISION = sql("SELECT version_num FROM alembic_version")

MOST_MERGED = 100
"""The most scopes that are read by the index of scopes, each from the position on, and merged.

SQLite takes at most 500 parts of a statement. With more scopes, secrets are read in the order of their creation.
"""
_SELECT = f"SELECT {', '.join(ListedSecret.__slots__)} FROM secrets WHERE organization_id = ?"  # noqa: S608 # the same
_AFTER = " AND (created_at, id) > (?, ?)"
_ORDER = " ORDER BY created_at, id LIMIT ?"


def page_query(
    organization_id: str, scopes: list[tuple[str, str]] | None, after: Position | None, limit: int
) -> tuple[SQL, list[object]]:
    """Return the statement and the parameters of `Store.page`, one statement, as a page shows one moment.

    `scopes` has none twice.
    """
    position: list[object] = [after.created_at, after.id] if after else []
    if scopes is None:
        return _page(None, is_first=not after), [organization_id, *position, limit]
    statement = _page(len(scopes), is_first=not after)
    if len(scopes) > MOST_MERGED:
        return statement, [organization_id, *(part for scope in scopes for part in scope), *position, limit]
    return statement, [part for scope in scopes for part in (organization_id, *scope, *position)] + [limit]


@lru_cache
def _page(scopes: int | None, *, is_first: bool) -> SQL:
    """Return the statement for a number of scopes, None for all."""
    after = "" if is_first else _AFTER
    if scopes is None:
        return sql(_SELECT + after + _ORDER)
    if scopes > MOST_MERGED:
        marks = ", ".join(["(?, ?)"] * scopes)
        return sql(f"{_SELECT} AND (scope_kind, scope_id) IN (VALUES {marks}){after}{_ORDER}")
    one = f"{_SELECT} AND scope_kind = ? AND scope_id = ?{after}"
    if scopes == 1:
        return sql(one + _ORDER)
    # SQLite merges the parts, and reads no further than the page needs. PostgreSQL has to be told, and would sort them
    # all otherwise. The limit is the last parameter.
    limited = f"({one} ORDER BY created_at, id LIMIT ${one.count('?') * scopes + 1})"
    return sql(" UNION ALL ".join([one] * scopes) + _ORDER, postgresql=" UNION ALL ".join([limited] * scopes) + _ORDER)
