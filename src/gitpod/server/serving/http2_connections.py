"""The open connections of HTTP/2, on all ports together."""

from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitpod.server.serving.http2 import HTTP2


class Connections:
    """The open connections.

    Args:
        most: the most of them. One more ends the one that has been without a call for longest.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: set[HTTP2] = set()

    def __iter__(self) -> "Iterator[HTTP2]":
        """Iterate over a copy, as connections may end meanwhile."""
        return iter([*self._open])

    def enter(self, connection: "HTTP2") -> bool:
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

    def leave(self, connection: "HTTP2") -> None:
        """Remove a connection, which is closed."""
        self._open.discard(connection)
