"""The answer to probes: whether the service is ready. Probes hold no thread of the calls."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from gitpod.server.threads import Threads

if TYPE_CHECKING:
    from concurrent.futures import Future

LONGEST_CHECK = 4.0
"""Seconds after which a check without a result counts as failed."""


class Readiness:
    """Awaitable as a function. Probes that come while a check runs share its result.

    Args:
        check: tells whether the service is ready. It may wait for the store.
        threads: run the check, and nothing else.
    """

    def __init__(self, check: Callable[[], bool], threads: Threads) -> None:
        self._check = check
        self._threads = threads
        self._running: Future[bool] | None = None

    async def __call__(self) -> bool:
        """Return what the check finds, False if it takes longer than `LONGEST_CHECK` or cannot be run."""
        try:
            if self._running is None or self._running.done():
                self._running = self._threads.submit(self._check)
            # A probe that leaves must not end the check of the others.
            async with asyncio.timeout(LONGEST_CHECK):
                return await asyncio.shield(asyncio.wrap_future(self._running))
        except (TimeoutError, RuntimeError):
            # RuntimeError: the pool was shut down, or starts no thread.
            return False
