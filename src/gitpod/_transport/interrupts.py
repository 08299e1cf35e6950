"""Calls made by helper threads, so that whoever waits for them can stop waiting.

Python runs signal handlers in the main thread, and only between its own instructions; a call of pyqwest is
one, however long it takes, and a handler that raises inside of native code leaves the arguments of that in
`sys.unraisablehook`. So a helper makes the call, and the main thread waits for that, which Ctrl-C interrupts.
Some 30 microseconds a call. Nobody waits for a call that was given up: helpers are daemons.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context, ContextVar
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, TypeVar

from gitpod._transport.native import not_in_a_fork

T = TypeVar("T")

LONGEST_WAIT = 0.5
"""Seconds. Windows delivers no Ctrl-C while a lock is waited for."""

RETIREMENT = 60.0
"""Seconds after which a helper without work ends."""

_calls: SimpleQueue[tuple[int, Future[Any], Callable[[], Any]]] = SimpleQueue()
"""Each with the process that it is for."""

_idle: list[None] = []
"""As many as there are helpers that wait; a list, as nothing can come between its operations."""

_GIVEN_UP: ContextVar[list[bool]] = ContextVar("gitpod_given_up")


def _after_in_child() -> None:
    # Threads do not survive a fork, and calls of the parent's must not be made again here.
    global _calls  # noqa: PLW0603 # of the process
    _calls = SimpleQueue()
    _idle.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_in_child)


def is_given_up() -> bool:
    """Whether nobody waits any more for the call that this runs in."""
    return bool(_GIVEN_UP.get([]))


def start(context: Context, function: Callable[..., T], *args: object, **kwargs: object) -> "Future[T]":
    """Begin a call, with these context variables."""
    # A signal handler that forks may come in anywhere below, and return in the child.
    pid = os.getpid()
    future: Future[T] = Future()
    # From now on it cannot be cancelled, only given up.
    future.set_running_or_notify_cancel()
    try:
        _idle.pop()
    except IndexError:
        threading.Thread(target=_help, name="gitpod-http", daemon=True).start()
    _calls.put((pid, future, partial(context.run, function, *args, **kwargs)))
    return future


def wait(seconds: float, context: Context, function: Callable[..., T], *args: object, **kwargs: object) -> T:
    """The result of a call. Raises TimeoutError when it takes longer; then it is given up, as by an interrupt."""
    pid, deadline = os.getpid(), monotonic() + seconds
    done = threading.Lock()
    done.acquire()
    given_up: list[bool] = []
    context.run(_GIVEN_UP.set, given_up)
    future = start(context, function, *args, **kwargs)
    try:
        future.add_done_callback(lambda _: done.release())
        while not done.acquire(timeout=min(LONGEST_WAIT, max(0.0, deadline - monotonic()))):
            if os.getpid() != pid:
                # A signal handler forked, and this is the child.
                raise not_in_a_fork("a call that was under way", outcome="unknown")
            if monotonic() >= deadline:
                raise TimeoutError
        return future.result()
    finally:
        given_up.append(True)
        # Its error refers to this frame.
        del future


def _help() -> None:
    while True:
        try:
            pid, future, function = _calls.get(timeout=RETIREMENT)
        except Empty:
            try:
                _idle.pop()
            except IndexError:
                # Somebody counts on this one.
                continue
            return
        if pid != os.getpid():
            continue
        # What a thread at rest refers to would live on: an answer with a value in it, a client.
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 # raised again by whoever waits
            del function
            _idle.append(None)
            future.set_exception(error)
            del error
        else:
            del function
            _idle.append(None)
            future.set_result(result)
            del result
        del future
