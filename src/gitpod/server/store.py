"""All of the SQL: organizations, their data keys, and their secrets, in a SQLite file or in memory.

A write is a transaction of its own, and returns when it is durable (WAL, synchronous=FULL).
"""

import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from weakref import finalize

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Engine,
    RowMapping,
    Select,
    create_engine,
    delete,
    event,
    func,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError
from sqlalchemy.pool import StaticPool

from gitpod.server.errors import ServiceError, StoreBusyError
from gitpod.server.keyring import Sealed, WrappedKey
from gitpod.server.schema import BY_NAME, data_keys, metadata, organizations, secrets

BUSY_TIMEOUT = 5.0
"""Seconds that a statement waits for another process's write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """Who owns what this store holds."""

    id: str
    owner_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSecret:
    """A row: what a secret is found by, the message that describes it, and its sealed value.

    Times are microseconds since 1970, in UTC. `record` is a `gitpod.v1.Secret` without its times.
    """

    organization_id: str
    id: str
    scope_kind: str
    scope_id: str
    name: str
    created_at: int = 0
    updated_at: int = 0
    record: bytes
    key_id: str
    ciphertext: bytes


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
        try:
            with self._write() as connection:
                # Takes the write lock first: of two processes that start at once, one makes the schema.
                metadata.create_all(connection)
        except DatabaseError as error:
            raise ServiceError(f"cannot open {url}: {error.orig}") from None

    def close(self) -> None:
        """Close the connections. Safe to repeat."""
        self._finalizer()

    def abandon(self) -> None:
        """Never close the connections: they belong to the process that this one was forked from."""
        self._finalizer.detach()

    def organization(self) -> Organization:
        """The organization of this store, made up when the store is new."""
        with self._write() as connection:
            row = connection.execute(select(organizations.c.id, organizations.c.owner_id)).first()
            if row is None:
                made = Organization(id=str(uuid.uuid4()), owner_id=str(uuid.uuid4()))
                values = {"id": made.id, "owner_id": made.owner_id, "created_at": _now()}
                connection.execute(insert(organizations).values(values))
                return made
            return Organization(id=row.id, owner_id=row.owner_id)

    def is_empty(self) -> bool:
        """Whether the store holds neither secrets nor data keys: only then may it be given a new key."""
        return not any(self._read(select(table.c.id).limit(1)) for table in (data_keys, secrets))

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
                connection.execute(insert(data_keys).values(**asdict(keys[0]), created_at=_now()))
            return keys

    def add(self, secret: StoredSecret) -> StoredSecret | None:
        """Keep a new secret and return it with its times, or None when its name is taken in its scope."""
        newest = select(func.max(secrets.c.created_at)).where(secrets.c.organization_id == secret.organization_id)
        statement = insert(secrets).on_conflict_do_nothing(index_elements=BY_NAME)
        with self._write() as connection:
            # Later than any before it, though clocks step back: no page of a list passes over a secret.
            now = max(_now(), (connection.scalar(newest) or 0) + 1)
            kept = replace(secret, created_at=now, updated_at=now)
            return kept if connection.execute(statement, asdict(kept)).rowcount else None

    def find(self, organization_id: str, secret_id: str) -> StoredSecret | None:
        """The secret with this id, or None."""
        rows = self._read(select(secrets).where(*_is(organization_id, secret_id)))
        return StoredSecret(**rows[0]) if rows else None

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
        return [StoredSecret(**row) for row in rows]

    def replace_value(self, organization_id: str, secret_id: str, sealed: Sealed) -> bool:
        """Put another sealed value in a secret's place. False when there is no such secret."""
        with self._write() as connection:
            values = {**asdict(sealed), "updated_at": _now()}
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
            except OperationalError as error:
                if isinstance(error.orig, sqlite3.Error) and _is_busy(error.orig):
                    raise StoreBusyError from None
                raise
            yield connection
            connection.commit()

    def _read(self, statement: Select[Any]) -> Sequence[RowMapping]:
        with self._reading, self._engine.connect() as connection:
            return connection.execute(statement).mappings().all()


def _now() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000


def database_path(url: str) -> Path | None:
    """The file that a `sqlite:` URL names, None for one in memory."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = None
    if parsed is None or parsed.drivername != "sqlite" or parsed.host or parsed.query:
        raise ServiceError("the store must be sqlite:///path/to/file.db, or sqlite:// for one in memory")
    if not parsed.database or parsed.database == ":memory:":
        return None
    return Path(parsed.database)


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
        except ValueError:
            raise ServiceError("the store's path is not one that a file can have") from None
        _switch_to_wal(path)
        url = URL.create("sqlite", database=str(path))
        engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT})

    @event.listens_for(engine, "connect")
    def connected(connection: sqlite3.Connection, _: object) -> None:
        # Transactions begin where `_write` says so, and nowhere else.
        connection.isolation_level = None
        connection.execute("PRAGMA synchronous=FULL")
        # "Removed for good" includes the pages that a row leaves behind.
        connection.execute("PRAGMA secure_delete=ON")

    return engine


def _switch_to_wal(path: Path) -> None:
    """Keep a log beside the database, so that readers and a writer do not wait for each other. It stays so.

    SQLite's own wait for locks does not cover this switch (https://sqlite.org/wal.html).
    """
    deadline = time.monotonic() + BUSY_TIMEOUT
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None)) as connection:
        while True:
            try:
                [mode] = connection.execute("PRAGMA journal_mode=WAL").fetchone()
            except sqlite3.OperationalError as error:
                if not _is_busy(error):
                    raise ServiceError(f"cannot open {path}: {error}") from None
                if time.monotonic() > deadline:
                    raise StoreBusyError from None
                time.sleep(0.005)
            except sqlite3.DatabaseError as error:
                raise ServiceError(f"cannot open {path}: {error}") from None
            else:
                if mode != "wal":
                    raise ServiceError(f"cannot open {path}: its file system has no shared memory for a log")
                return


def _is_busy(error: sqlite3.Error) -> bool:
    # The low byte is the code, the rest says more precisely which.
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def _is(organization_id: str, secret_id: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return secrets.c.organization_id == organization_id, secrets.c.id == secret_id
