"""Calls made by helper threads, so that whoever waits for them can stop waiting.

Python runs signal handlers in the main thread, and only between its own instructions; a call of pyqwest is
one, however long it takes. So a helper makes it, and the main thread waits for that, which Ctrl-C
interrupts. Some 30 microseconds a call. Nobody waits for a call that was given up: helpers are daemons.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from time import monotonic
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

LONGEST_WAIT = 0.5
"""Seconds. Windows delivers no Ctrl-C while a lock is waited for."""


class _Helper:
    """A thread that makes one call after the other."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        threading.Thread(target=self._run, name="gitpod-http", daemon=True).start()

    def start(self, function: Callable[[], T]) -> "Future[T]":
        future: Future[T] = Future()
        # From now on it cannot be cancelled, only left alone.
        future.set_running_or_notify_cancel()
        self._calls.put((future, function))
        return future

    def _run(self) -> None:
        while True:
            future, function = self._calls.get()
            try:
                result = function()
            except BaseException as error:  # noqa: BLE001 # raised again by whoever waits
                _idle.append(self)
                future.set_exception(error)
                del error
            else:
                _idle.append(self)
                future.set_result(result)
                del result
            # What a thread at rest refers to would live on: an answer with a value in it, a client.
            del future, function


_idle: list[_Helper] = []
"""Helpers that wait for a call; never more than there were calls at once."""

if hasattr(os, "register_at_fork"):
    # Threads do not survive a fork.
    os.register_at_fork(after_in_child=_idle.clear)


def start(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
    """Begin a call, with the context variables of the caller."""
    try:
        helper = _idle.pop()
    except IndexError:
        helper = _Helper()
    return helper.start(partial(copy_context().run, function, *args, **kwargs))


def finish(future: "Future[T]", seconds: float | None = None) -> T:
    """The result of a call. Raises TimeoutError when it takes longer, and leaves it to itself."""
    deadline = monotonic() + (threading.TIMEOUT_MAX if seconds is None else seconds)
    done = threading.Lock()
    done.acquire()
    future.add_done_callback(lambda _: done.release())
    while not done.acquire(timeout=min(LONGEST_WAIT, max(0.0, deadline - monotonic()))):
        if monotonic() >= deadline:
            raise TimeoutError
    return future.result()
