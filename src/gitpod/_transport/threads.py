"""Runs calls in daemon threads, and protects them at the end of the interpreter, which does not wait for them."""

import atexit
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from time import monotonic
from typing import TypeVar

from gitpod._transport.failures import unavailable

T = TypeVar("T")

LONGEST_WAIT = 2.0
"""Seconds that the interpreter waits at exit for the calls of daemon threads that must not be cut off."""

_held: set[threading.Event] = set()
"""Set at the end of each block that `held` protects."""


def is_ending() -> bool:
    """Whether the interpreter has begun to end: executors refuse work, and soon no other thread runs.

    Since Python 3.12, no thread can be started from then on either. Callers do such work inline.
    """
    return sys.is_finalizing() or not threading.main_thread().is_alive()


class held:  # noqa: N801 # used like a function
    """A block for which the interpreter waits at exit, if a daemon thread is in it.

    Before Python 3.14 the interpreter unwinds the stacks of daemon threads as it ends, and the process aborts
    where that meets native code in Rust or C++ that calls Python, as in pyqwest and protovalidate.

    Raises:
        APIConnectionError: the interpreter has begun to end, and does not wait for this daemon thread any more.
    """

    __slots__ = ("_done",)

    def __init__(self) -> None:
        self._done: threading.Event | None = None

    def __enter__(self) -> None:
        if threading.current_thread().daemon:
            if is_ending():
                raise unavailable("daemon threads make no calls")
            self._done = threading.Event()
            _held.add(self._done)

    def __exit__(self, *failure: object) -> None:
        if self._done is not None:
            _held.discard(self._done)
            self._done.set()


def _wait_for_held() -> None:
    deadline = monotonic() + LONGEST_WAIT
    for done in list(_held):
        done.wait(max(0.0, deadline - monotonic()))


atexit.register(_wait_for_held)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_held.clear)


def in_thread(function: Callable[[], T]) -> "Future[T]":
    """Call a function in a daemon thread, with the caller's context variables."""
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()
    context = copy_context()

    def work() -> None:
        try:
            result = context.run(function)
        except BaseException as error:  # noqa: BLE001 # Future.result raises it again
            done.set_exception(error)
        else:
            done.set_result(result)

    threading.Thread(target=work, name="gitpod", daemon=True).start()
    return done
