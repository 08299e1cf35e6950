"""A store for the commands of its operator, which work on it directly and not over a service."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING

from gitpod.cli.failures import USAGE, fail, reported

if TYPE_CHECKING:
    from gitpod.server.storage.store import Store

EARLIEST, LATEST = datetime(1, 1, 1, tzinfo=UTC).timestamp(), datetime(9999, 12, 31, tzinfo=UTC).timestamp()
"""Seconds since 1970, between which a datetime can be."""


def need_posix() -> None:
    """End the process with an error on a system where a store cannot be served or operated."""
    if any(find_spec(name) is None for name in ("fcntl", "resource")):
        raise fail(
            "serve, token, keys, migrate and audit do not run on this system; they need a POSIX one, such as Linux",
            USAGE,
            "the commands that call a service run here",
        )


@contextmanager
def opened(url: str, *, may_be_new: bool = False) -> Generator["Store"]:
    """Open a store for a block. A failure in the block is reported, and ends the process.

    Args:
        url: where the store is.
        may_be_new: whether the store need not exist, or may have the schema of an older version.
    """
    need_posix()
    from gitpod.server.errors import ServiceError
    from gitpod.server.storage.store import Store  # loads the server's libraries
    from gitpod.server.storage.url import sqlite_path

    with reported():
        if url.startswith("sqlite:"):
            path = sqlite_path(url)
            if path is None:
                raise ServiceError("a store in memory ends with the command; use sqlite:///path/to/file.db")
            if not (may_be_new or path.exists()):
                raise ServiceError(f"there is no store at {path}")
        store = Store(url)
        try:
            if not may_be_new:
                _check_schema(store)
            yield store
        finally:
            store.close()


def _check_schema(store: "Store") -> None:
    from gitpod.server.errors import ServiceError
    from gitpod.server.storage.migrations.run import check_known

    if not store.is_current:
        check_known(store.revision())
        raise ServiceError("the store is new, or its schema is not current; run gitpod-secrets migrate")


def principal_name(number: int) -> str:
    """Return the name of a principal in the contract's enum, in lower case; its number if it has none."""
    from gitpod_proto.gitpod.v1.identity_pb import Principal  # loads the messages

    return Principal(number).name.lower() if number in list(Principal) else str(number)


def time_text(microseconds: int, precision: str = "milliseconds") -> str:
    """Format a time, in microseconds since 1970, as ISO 8601 in UTC."""
    return _time(microseconds).isoformat(timespec=precision)


def when(microseconds: int | None) -> str:
    """Say how long ago a time is, or how far ahead, for a table on a terminal; nothing for None."""
    from gitpod.cli.columns import ago  # loads a part of rich, and only for terminals

    return "" if microseconds is None else ago(_time(microseconds))


def _time(microseconds: int) -> datetime:
    # A row that somebody altered must not hide all others.
    return datetime.fromtimestamp(min(max(microseconds / 1_000_000, EARLIEST), LATEST), UTC)
