"""Ctrl-C, and any other signal's handler, while the main thread waits for an answer.

Python runs signal handlers in the main thread, and only between its own instructions; a call of pyqwest
is one, however long it takes. So there the call is made by a helper thread, and the main thread waits for
that, which a signal interrupts. What was interrupted ends by its own deadline; nobody waits for it, as the
thread is a daemon. Costs some 30 microseconds a call.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

LONGEST_WAIT = 0.5
"""Seconds. Windows delivers no Ctrl-C while a lock is waited for."""


class _Helper:
    """A thread that makes one call after the other."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        threading.Thread(target=self._run, name="gitpod-http", daemon=True).start()

    def call(self, function: Callable[[], T]) -> "Future[T]":
        """Make a call, and wait until it has returned or raised. Waiting is what a signal interrupts."""
        future: Future[T] = Future()
        done = threading.Lock()
        done.acquire()

        def run() -> None:
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001 # raised again by the caller
                future.set_exception(error)
            done.release()

        self._calls.put(run)
        while not done.acquire(timeout=LONGEST_WAIT):
            pass
        return future

    def _run(self) -> None:
        while True:
            self._calls.get()()


_idle: list[_Helper] = []
"""The helper, unless it is at work. After an interrupt there is none, until the next call."""

if hasattr(os, "register_at_fork"):
    # Threads do not survive a fork.
    os.register_at_fork(after_in_child=_idle.clear)


def interruptibly(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function so that signals get through to the main thread meanwhile."""
    if threading.current_thread() is not threading.main_thread():
        return function(*args, **kwargs)
    helper = _idle.pop() if _idle else _Helper()
    future = helper.call(partial(copy_context().run, function, *args, **kwargs))
    _idle.append(helper)
    return future.result()
