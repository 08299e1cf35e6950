"""The open connections of a store that no thread uses now."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import BoundedSemaphore

from gitpod.server.errors import StoreUnavailableError
from gitpod.server.storage import limits
from gitpod.server.storage.failures import BUSY, as_unreachable
from gitpod.server.storage.sql import Session


class Pool:
    """Lends each connection to one thread at a time, the one that was used last first. Opens them as needed.

    Args:
        connect: opens a connection.
        most: the most connections at a time.
        lost: is called when a connection was lost, as the others then may be too.
    """

    def __init__(self, connect: Callable[[], Session], most: int, lost: Callable[[], None]) -> None:
        self._connect = connect
        self._free = BoundedSemaphore(most)
        self._lost = lost
        self._idle: list[Session] = []

    @contextmanager
    def session(self) -> Generator[Session]:
        """Lend a connection.

        Raises:
            StoreUnavailableError: none can be opened, or all are in use for `limits.BUSY_TIMEOUT`.
        """
        if not self._free.acquire(timeout=limits.BUSY_TIMEOUT):
            raise StoreUnavailableError(BUSY)
        # `close` puts another list in its place, so that connections in use do not come back.
        idle = self._idle
        try:
            session = self._taken(idle)
            try:
                yield session
            finally:
                if session.reset():
                    idle.append(session)
                else:
                    self._lost()
                if idle is not self._idle:
                    _close(idle)
        finally:
            self._free.release()

    def close(self) -> None:
        """Close the connections that are not in use, and the others once they are given back."""
        idle, self._idle = self._idle, []
        _close(idle)

    def _taken(self, idle: list[Session]) -> Session:
        try:
            # Two threads cannot get the same one.
            return idle.pop()
        except IndexError:
            return self._opened()

    def _opened(self) -> Session:
        try:
            return self._connect()
        except Exception as error:  # noqa: BLE001 # those of no driver are raised as they are
            raise as_unreachable(error) from None


def _close(idle: list[Session]) -> None:
    while True:
        try:
            session = idle.pop()
        except IndexError:
            return
        session.close()
