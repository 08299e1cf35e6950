"""A psycopg connection that waits for each answer for a bounded time."""

import time
from collections.abc import Callable, Generator
from typing import Any

import psycopg

from gitpod.server.storage import limits
from gitpod.server.storage.failures import LostConnectionError


class LostError(LostConnectionError, psycopg.OperationalError):
    """The connection was lost."""


class BoundedConnection(psycopg.Connection[Any]):
    """Is closed when an answer takes longer than `answer_timeout` seconds. Raises `LostError` when it is, or was lost.

    No setting of the server does this: a stopped process keeps no timeout, and the kernel goes on to acknowledge what
    it is sent. Nothing is cancelled: PostgreSQL reports success for a commit whose wait for a standby was cancelled.
    """

    answer_timeout: float | None = None
    """Seconds. None: `limits.ANSWER_TIMEOUT`."""
    settings = b""
    """SQL for settings of each transaction, when the server's session is not this connection's own."""
    on_silence: Callable[[], None] | None = None
    """Is called when it was closed for this reason."""
    has_warned = False
    """Whether the server sent a warning since this was last set to False."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 # as psycopg has it
        super().__init__(*args, **options)
        self.add_notice_handler(self._note)

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **options: Any) -> Any:  # noqa: ANN401 # as psycopg has it
        """Run one exchange with the server (psycopg.Connection)."""
        try:
            return super().wait(self._bounded(gen), *args, **options)
        except psycopg.Error as error:
            if not self.closed or isinstance(error, LostError):
                raise
            lost = LostError(*error.args)
            # PostgreSQL may have said why, as when it was shut down.
            lost.sqlstate = error.sqlstate
            raise lost from None

    def _bounded(self, exchange: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Pass an exchange through. psycopg resumes it when the socket is ready, and every 0.1 s."""
        timeout = limits.ANSWER_TIMEOUT if self.answer_timeout is None else self.answer_timeout
        deadline = time.monotonic() + timeout
        try:
            wanted = next(exchange)
            while True:
                wanted = exchange.send((yield wanted))
                if time.monotonic() > deadline:
                    # Closing sends no statement, so it does not wait for the server.
                    self.close()
                    if self.on_silence:
                        self.on_silence()
                    raise LostError(f"no answer within {timeout:g} s")
        except StopIteration as end:
            return end.value

    def _note(self, notice: psycopg.errors.Diagnostic) -> None:
        self.has_warned |= notice.severity_nonlocalized == "WARNING"
