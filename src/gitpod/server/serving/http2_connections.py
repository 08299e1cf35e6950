"""The open connections of HTTP/2, on all ports together."""

from collections.abc import Iterator
from operator import itemgetter
from typing import Generic, Protocol, TypeVar


class Connection(Protocol):
    """What is asked of a connection."""

    idle_since: float | None
    """When its last call ended. None: calls are under way."""

    def give_way(self) -> None:
        """Close it in favour of another one."""


C = TypeVar("C", bound=Connection)


class Connections(Generic[C]):
    """The open connections.

    Args:
        most: the most of them. One more ends the one that has been without a call for longest.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: set[C] = set()

    def __iter__(self) -> Iterator[C]:
        """Iterate over a copy, as connections may end meanwhile."""
        return iter([*self._open])

    def enter(self, connection: C) -> bool:
        """Add a connection. Returns whether there is room for it."""
        if len(self._open) >= self._most:
            waiting = [(each.idle_since, each) for each in self._open if each.idle_since is not None]
            if not waiting:
                return False
            oldest = min(waiting, key=itemgetter(0))[1]
            self._open.discard(oldest)
            oldest.give_way()
        self._open.add(connection)
        return True

    def leave(self, connection: C) -> None:
        """Remove a connection, which is closed."""
        self._open.discard(connection)
