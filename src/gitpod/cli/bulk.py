"""Many calls at once: a fixed number of threads, and an end to calls when the service cannot be reached."""

import gc
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

from gitpod.cli.failures import NOT_ALLOWED, SOME_FAILED, UNREACHABLE, Failure, explain_call

if TYPE_CHECKING:
    from gitpod import Gitpod, SecretValue

T = TypeVar("T")
R = TypeVar("R")

MAX_RETRIES = 5
"""Retries of each call: up to 15 seconds of waiting in all, so that a short network fault only costs time."""
WORKERS = 32
"""Calls at once, unless the user says otherwise."""
NOT_TRIED = "not tried, as the service could not be reached"


def nothing() -> None:
    """Ignore that an item is done."""


def map_concurrently(
    work: Callable[[T], R],
    items: Sequence[T],
    workers: int,
    done: Callable[[], object] = nothing,
    *,
    finish: bool = False,
) -> list[R]:
    """Call a function for each item, several at once, and return the results in the order of the items.

    After Ctrl-C, or an error of `work` or `done`, no further item is begun.

    Args:
        work: what to call, in threads.
        items: what to call it with.
        workers: how many calls to make at once.
        done: called after each item, in the caller's thread.
        finish: wait for the calls that are under way, even after Ctrl-C. For calls that change something.
    """
    gc.enable()  # `main` turned it off
    results: dict[int, R] = {}
    todo = deque(enumerate(items))
    ended: SimpleQueue[BaseException | None] = SimpleQueue()

    def run() -> None:
        while todo:
            try:
                index, item = todo.popleft()
            except IndexError:  # another thread took the last one
                return
            try:
                results[index] = work(item)
            except BaseException as error:  # noqa: BLE001 # the caller's thread raises it
                todo.clear()
                ended.put(error)
                return
            ended.put(None)

    threads: list[threading.Thread] = []
    try:
        for _ in range(min(workers, len(items))):
            # Daemon threads: when the process ends, it does not wait for them.
            thread = threading.Thread(target=run, daemon=True)
            thread.start()
            threads.append(thread)
        for _ in items:
            if (error := ended.get()) is not None:
                raise error
            done()
    finally:
        todo.clear()
        if finish:
            for thread in threads:
                thread.join()
    return [results[index] for index in range(len(items))]


class CircuitBreaker:
    """Makes calls until too many in a row did not reach the service; from then on, calls fail without being made."""

    def __init__(self, workers: int) -> None:
        self._lock = threading.Lock()
        self._left = self._limit = 2 * workers

    def call(self, function: Callable[[], R]) -> R | Failure:
        """Return the result of a call, or why it failed."""
        from gitpod.errors import GitpodError  # loads a part of the SDK

        if self._left <= 0:
            return Failure(NOT_TRIED, UNREACHABLE)
        try:
            result: R | Failure = function()
        except GitpodError as error:
            result = explain_call(error)
        is_unreachable = isinstance(result, Failure) and result.status == UNREACHABLE
        with self._lock:
            self._left = self._left - 1 if is_unreachable else self._limit
        return result


def read_values(client: "Gitpod", ids: Sequence[str], workers: int = WORKERS) -> "list[SecretValue | Failure]":
    """Return the value of each secret, or why it cannot be read."""
    breaker = CircuitBreaker(workers)
    return map_concurrently(lambda each: breaker.call(lambda: client.secrets.get_value(secret_id=each)), ids, workers)


def exit_status(statuses: Sequence[int]) -> int:
    """Return one exit status for many: 0 if all are 0; 3 or 6 if all are that; else 1."""
    if not any(statuses):
        return 0
    return next((same for same in (NOT_ALLOWED, UNREACHABLE) if set(statuses) == {same}), SOME_FAILED)
