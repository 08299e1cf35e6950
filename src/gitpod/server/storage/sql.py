"""Statements as text for both databases, and the connections that run them.

What runs for each request is text: to build a statement takes longer than to run it.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import count
from re import sub
from typing import Any, NamedTuple, Protocol


class SQL(NamedTuple):
    """A statement as each driver takes it."""

    sqlite: str
    postgresql: bytes


def sql(text: str, *, postgresql: str = "") -> SQL:
    """Return a statement whose parameters are question marks, and which has no others.

    Args:
        text: the statement.
        postgresql: the statement for PostgreSQL, where it differs.
    """
    numbers = count(1)
    return SQL(text, sub(r"\?", lambda _: f"${next(numbers)}", postgresql or text).encode())


class Session(Protocol):
    """A connection of the driver, which one thread uses at a time."""

    is_sqlite: bool

    def rows(self, statement: SQL, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a query, and return its rows."""
        ...

    def change(self, statement: SQL, values: Sequence[object] = ()) -> int:
        """Run a statement that changes rows, and return their number."""
        ...

    def reset(self) -> bool:
        """End what is under way. Returns whether the connection can be used again."""
        ...

    def close(self) -> None:
        """Close the connection."""


Connected = Callable[[], AbstractContextManager[Session]]
"""Lends a connection for a transaction that is not begun yet."""
