"""Work in a thread that nobody has to wait for: an event loop or an interpreter can end before it does."""

import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")


def is_ending() -> bool:
    """Whether the interpreter has begun to end: executors take no more work, and soon no thread runs."""
    return sys.is_finalizing() or not threading.main_thread().is_alive()


def in_thread(function: Callable[[], T]) -> "Future[T]":
    """Call a function in a daemon thread, with the caller's context variables."""
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()
    context = copy_context()

    def work() -> None:
        try:
            result = context.run(function)
        except BaseException as error:  # noqa: BLE001 # raised again by whoever waits
            done.set_exception(error)
        else:
            done.set_result(result)

    threading.Thread(target=work, name="gitpod", daemon=True).start()
    return done
