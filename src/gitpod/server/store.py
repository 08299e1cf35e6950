"""All of the SQL: organizations, their data keys, and their secrets, in a SQLite file or in memory.

Every key of the schema leads with the organization. A write is one statement in a transaction of its
own, and returns when it is durable (WAL, synchronous=FULL).
"""

import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from weakref import finalize

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Index,
    LargeBinary,
    MetaData,
    Row,
    Select,
    String,
    Table,
    create_engine,
    delete,
    event,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError
from sqlalchemy.pool import StaticPool

from gitpod.server.errors import ServiceError
from gitpod.server.keyring import Sealed, WrappedKey

BUSY_TIMEOUT = 5.0
"""Seconds that a statement waits for another process's write."""

BY_NAME = ["organization_id", "scope_kind", "scope_id", "name"]
"""Within what a name is unique."""

metadata = MetaData()
organizations = Table(
    "organizations",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("owner_id", String(36), nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
data_keys = Table(
    "data_keys",
    metadata,
    Column("organization_id", String(36), primary_key=True),
    Column("id", String(36), primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
secrets = Table(
    "secrets",
    metadata,
    Column("organization_id", String(36), primary_key=True),
    Column("id", String(36), primary_key=True),
    Column("scope_kind", String(32), nullable=False),
    Column("scope_id", String(36), nullable=False),
    Column("name", String(127), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("record", LargeBinary, nullable=False),
    Column("key_id", String(36), nullable=False),
    Column("ciphertext", LargeBinary, nullable=False),
    Index("secrets_by_name", *BY_NAME, unique=True),
    Index("secrets_by_scope", "organization_id", "scope_kind", "scope_id", "created_at", "id"),
    Index("secrets_by_age", "organization_id", "created_at", "id"),
)


class StoreBusyError(Exception):
    """Another process kept the store locked for `BUSY_TIMEOUT`; nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """Who owns what this store holds."""

    id: str
    owner_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSecret:
    """A row: what a secret is found by, the message that describes it, and its sealed value.

    Times are microseconds since 1970, in UTC. `record` is a `gitpod.v1.Secret` without what has a
    column of its own.
    """

    organization_id: str
    id: str
    scope_kind: str
    scope_id: str
    name: str
    created_at: int
    updated_at: int
    record: bytes
    sealed: Sealed


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a list: the last secret before it."""

    created_at: int
    id: str


class Store:
    """The rows. Safe to use from many threads; writers take turns."""

    def __init__(self, url: str) -> None:
        """Open `sqlite:///path` or `sqlite://` (in memory), and make the schema when it is missing."""
        self.path = database_path(url)
        self._engine = _engine(self.path)
        # A dropped store closes its files all the same.
        self._finalizer = finalize(self, self._engine.dispose)
        self._writing = threading.RLock()
        # In memory there is but one connection, so readers queue with the writers.
        self._reading: AbstractContextManager[object] = nullcontext() if self.path else self._writing
        self._last = 0
        try:
            with self._write() as connection:
                # Takes the write lock first: of two processes that start at once, one makes the schema.
                metadata.create_all(connection)
        except DatabaseError as error:
            raise ServiceError(f"cannot open {url}: {error.orig}") from None

    def close(self) -> None:
        """Close the connections. Safe to repeat."""
        self._finalizer()

    def organization(self) -> Organization:
        """The organization of this store, made up when the store is new."""
        with self._write() as connection:
            row = connection.execute(select(organizations.c.id, organizations.c.owner_id)).first()
            if row is None:
                made = Organization(id=str(uuid.uuid4()), owner_id=str(uuid.uuid4()))
                values = {"id": made.id, "owner_id": made.owner_id, "created_at": self._now()}
                connection.execute(insert(organizations).values(values))
                return made
            return Organization(id=row.id, owner_id=row.owner_id)

    def data_keys(self, organization_id: str, first: Callable[[], WrappedKey] | None = None) -> list[WrappedKey]:
        """The data keys of an organization, oldest first. When there are none, `first` makes one to keep."""
        statement = (
            select(data_keys)
            .where(data_keys.c.organization_id == organization_id)
            .order_by(data_keys.c.created_at, data_keys.c.id)
        )
        with self._write() as connection:
            rows = connection.execute(statement).all()
            keys = [WrappedKey(organization_id=row.organization_id, id=row.id, wrapped=row.wrapped) for row in rows]
            if not keys and first:
                keys = [first()]
                connection.execute(insert(data_keys).values(**asdict(keys[0]), created_at=self._now()))
            return keys

    def add(self, secret: StoredSecret) -> StoredSecret | None:
        """Keep a new secret and return it with its times, or None when its name is taken in its scope."""
        with self._write() as connection:
            now = self._now()
            row = {
                "organization_id": secret.organization_id,
                "id": secret.id,
                "scope_kind": secret.scope_kind,
                "scope_id": secret.scope_id,
                "name": secret.name,
                "created_at": now,
                "updated_at": now,
                "record": secret.record,
                "key_id": secret.sealed.key_id,
                "ciphertext": secret.sealed.ciphertext,
            }
            if connection.execute(insert(secrets).on_conflict_do_nothing(index_elements=BY_NAME), row).rowcount == 0:
                return None
        return replace(secret, created_at=now, updated_at=now)

    def find(self, organization_id: str, secret_id: str) -> StoredSecret | None:
        """The secret with this id, or None."""
        rows = self._read(select(secrets).where(*_is(organization_id, secret_id)))
        return _secret(rows[0]) if rows else None

    def page(
        self, organization_id: str, scopes: Sequence[tuple[str, str]] | None, after: Position | None, limit: int
    ) -> list[StoredSecret]:
        """At most `limit` secrets in the order of their creation, of these scopes (None: of all) and after a place."""
        statement = select(secrets).where(secrets.c.organization_id == organization_id)
        if scopes is not None:
            statement = statement.where(tuple_(secrets.c.scope_kind, secrets.c.scope_id).in_(scopes))
        if after is not None:
            statement = statement.where(tuple_(secrets.c.created_at, secrets.c.id) > (after.created_at, after.id))
        rows = self._read(statement.order_by(secrets.c.created_at, secrets.c.id).limit(limit))
        return [_secret(row) for row in rows]

    def replace_value(self, organization_id: str, secret_id: str, sealed: Sealed) -> bool:
        """Put another sealed value in a secret's place. False when there is no such secret."""
        with self._write() as connection:
            values = {"key_id": sealed.key_id, "ciphertext": sealed.ciphertext, "updated_at": self._now()}
            statement = update(secrets).where(*_is(organization_id, secret_id)).values(values)
            return connection.execute(statement).rowcount == 1

    def remove(self, organization_id: str, secret_id: str) -> bool:
        """Remove a secret. False when there is no such secret."""
        with self._write() as connection:
            return connection.execute(delete(secrets).where(*_is(organization_id, secret_id))).rowcount == 1

    @contextmanager
    def _write(self) -> Generator[Connection]:
        """A transaction that holds the write lock from its start, and is durable when the block is left."""
        with self._writing, self._engine.connect() as connection:
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            except OperationalError:
                raise StoreBusyError from None
            yield connection
            connection.commit()

    def _read(self, statement: Select[Any]) -> Sequence[Row[Any]]:
        with self._reading, self._engine.connect() as connection:
            return connection.execute(statement).all()

    def _now(self) -> int:
        """Microseconds since 1970, later than any that this store gave before: creation order is total."""
        self._last = max(time.time_ns() // 1000, self._last + 1)
        return self._last


def database_path(url: str) -> Path | None:
    """The file that a `sqlite:` URL names, None for one in memory."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = None
    if parsed is None or parsed.drivername != "sqlite" or parsed.host or parsed.query:
        raise ServiceError("the store must be sqlite:///path/to/file.db, or sqlite:// for one in memory")
    return Path(parsed.database) if parsed.database and parsed.database != ":memory:" else None


def _engine(path: Path | None) -> Engine:
    if path is None:
        engine = create_engine(
            "sqlite://", hide_parameters=True, poolclass=StaticPool, connect_args={"check_same_thread": False}
        )
    else:
        try:
            # SQLite gives its other files the mode of this one.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise ServiceError(f"cannot open {path}: {error.strerror}") from None
        engine = create_engine(f"sqlite:///{path}", hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT})

    @event.listens_for(engine, "connect")
    def connected(connection: sqlite3.Connection, _: object) -> None:
        # Transactions begin where `_write` says so, and nowhere else.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        # What is removed is overwritten, sealed as it was.
        connection.execute("PRAGMA secure_delete=ON")

    return engine


def _is(organization_id: str, secret_id: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return secrets.c.organization_id == organization_id, secrets.c.id == secret_id


def _secret(row: Row[Any]) -> StoredSecret:
    return StoredSecret(
        organization_id=row.organization_id,
        id=row.id,
        scope_kind=row.scope_kind,
        scope_id=row.scope_id,
        name=row.name,
        created_at=row.created_at,
        updated_at=row.updated_at,
        record=row.record,
        sealed=Sealed(key_id=row.key_id, ciphertext=row.ciphertext),
    )
