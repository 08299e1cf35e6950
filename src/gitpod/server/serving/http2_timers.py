"""The timers of a connection: at most one of each name."""

import asyncio
from collections.abc import Callable


class Timers:
    """Calls that are due later, unless they are stopped."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._running: dict[str, asyncio.TimerHandle] = {}

    def start(self, name: str, seconds: float, call: Callable[[], object]) -> None:
        """Start a timer, in place of a running one of that name."""
        self.stop(name)
        self._running[name] = self._loop.call_later(seconds, call)

    def start_once(self, name: str, seconds: float, call: Callable[[], object]) -> None:
        """Start a timer, unless one of that name was started and not stopped."""
        if name not in self._running:
            self.start(name, seconds, call)

    def start_since(
        self, name: str, seconds: float, since: Callable[[], float | None], call: Callable[[], object]
    ) -> None:
        """Start a timer that is due so long after the time that `since` returns, which is asked late, not often.

        While `since` returns None, the timer is not due.
        """

        def look() -> None:
            began = since()
            left = seconds if began is None else began + seconds - self._loop.time()
            if left > 0:
                self.start(name, left, look)
            else:
                call()

        self.start(name, seconds, look)

    def stop(self, name: str) -> None:
        """Stop a timer, if it runs."""
        if timer := self._running.pop(name, None):
            timer.cancel()

    def stop_all(self) -> None:
        """Stop all timers."""
        for name in [*self._running]:
            self.stop(name)
