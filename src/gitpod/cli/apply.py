"""Many calls at once: reading values, and carrying out a plan. Each takes a client and reports every item."""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from gitpod import Gitpod
from gitpod._secret_value import SecretValue
from gitpod.cli.failures import NOT_ALLOWED, SOME_FAILED, UNREACHABLE, tell
from gitpod.cli.plan import CHANGES, PROBLEMS, Item, compared
from gitpod.errors import GitpodError, NotFoundError, PermissionDeniedError

T = TypeVar("T")
R = TypeVar("R")

PATIENCE = 5
"""Retries of each call: up to 15 seconds of waiting in all, so that a short fault of the network costs time alone."""

BAD = ("failed", "unknown", "skipped")
"""The outcomes that leave something to do."""

NOT_TRIED = "not tried, as the service could not be reached"
KEPT = "not deleted, as not everything before it was done"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an item: the action in the past tense, unchanged, or one of `BAD`."""

    item: Item
    outcome: str
    error: str = ""
    status: int = 0


@dataclass(frozen=True, slots=True)
class Unread:
    """A value that could not be read, and the exit status for it."""

    error: str
    status: int


def nothing() -> None:
    """What to call for each item that is done, where nobody looks."""


def each(work: Callable[[T], R], items: Sequence[T], workers: int, done: Callable[[], object] = nothing) -> list[R]:
    """The results in the order of the items. What is not begun when it is interrupted never is."""
    from concurrent.futures import ThreadPoolExecutor, as_completed

    pool = ThreadPoolExecutor(workers)
    try:
        futures = [pool.submit(work, item) for item in items]
        for _ in as_completed(futures):
            done()
        return [future.result() for future in futures]
    finally:
        pool.shutdown(cancel_futures=True)


def exit_status(statuses: Sequence[int]) -> int:
    """Of several: 0 when all are, the one that all have when the service let nothing happen, else 1."""
    if not any(statuses):
        return 0
    return next((same for same in (NOT_ALLOWED, UNREACHABLE) if set(statuses) == {same}), SOME_FAILED)


class _Breaker:
    """Notes how many calls in a row did not reach the service, and when that is enough."""

    def __init__(self, workers: int) -> None:
        self._lock = threading.Lock()
        self._left = self._limit = 2 * workers

    def note(self, status: int) -> None:
        with self._lock:
            self._left = self._left - 1 if status == UNREACHABLE else self._limit

    @property
    def is_open(self) -> bool:
        return self._left <= 0


def read_values(client: Gitpod, ids: Sequence[str], workers: int = 16) -> list[SecretValue | Unread]:
    """The values of secrets, or why there is none."""
    client = client.with_options(max_retries=PATIENCE)
    breaker = _Breaker(workers)

    def read(secret_id: str) -> SecretValue | Unread:
        if breaker.is_open:
            return Unread(NOT_TRIED, UNREACHABLE)
        status = 0
        try:
            return client.secrets.get_value(secret_id=secret_id)
        except GitpodError as error:
            status = _status(error)
            return Unread(str(error), status)
        finally:
            breaker.note(status)

    return each(read, ids, workers)


def compare(client: Gitpod, items: Sequence[Item], workers: int) -> list[Item]:
    """The items, those `unchanged` whose value is the stored one. A token that may not read leaves them as they are."""
    denied = threading.Event()
    breaker = _Breaker(workers)

    def look(item: Item) -> Item:
        # A service records each refusal, and who is refused one value may read none.
        if not item.may_be_unchanged or denied.is_set() or breaker.is_open:
            return item
        status = 0
        try:
            return compared(item, client.secrets.get_value(secret_id=item.secret_id))
        except PermissionDeniedError:
            denied.set()
        except GitpodError as error:
            # To update it is right, whatever it is.
            status = _status(error)
        finally:
            breaker.note(status)
        return item

    return each(look, items, workers)


def _status(error: GitpodError) -> int:
    told = tell(error)
    return told.status if told else SOME_FAILED


def apply(client: Gitpod, items: Sequence[Item], workers: int, done: Callable[[], object] = nothing) -> list[Outcome]:
    """Carry out a plan and report every item, in its order; none stops the others, unless the service is gone.

    Deletions come last, and only when all else was done: a secret that the file has by a new name must not be
    lost because that name could not be stored.
    """
    client = client.with_options(max_retries=PATIENCE)
    breaker = _Breaker(workers)

    def one(item: Item, *, is_kept: bool = False) -> Outcome:
        if item.action in PROBLEMS:
            return Outcome(item, "failed", item.rule, SOME_FAILED)
        if item.action not in CHANGES:
            return Outcome(item, "unchanged")
        if is_kept or breaker.is_open:
            return Outcome(item, "skipped", KEPT if is_kept else NOT_TRIED, 0 if is_kept else UNREACHABLE)
        outcome = _tried(client, item)
        breaker.note(outcome.status)
        return outcome

    stored = each(one, [item for item in items if item.action != "delete"], workers, done)
    is_kept = any(outcome.outcome in BAD for outcome in stored)
    deleted = each(partial(one, is_kept=is_kept), [item for item in items if item.action == "delete"], workers, done)
    return stored + deleted


def _tried(client: Gitpod, item: Item) -> Outcome:
    try:
        return Outcome(item, _done(client, item))
    except GitpodError as error:
        outcome = "unknown" if getattr(error, "outcome", "") == "unknown" else "failed"
        return Outcome(item, outcome, str(error), _status(error))


def _done(client: Gitpod, item: Item) -> str:
    if item.action == "delete":
        try:
            client.secrets.delete(secret_id=item.secret_id)
        except NotFoundError:
            # Somebody else has deleted it.
            return "deleted"
        return "deleted"
    if not item.value.reveal():
        # `put` takes none that is empty, as it may have to update.
        client.secrets.create(**item.params)
        return "created"
    return client.secrets.put(replace=item.action == "replace", **item.params).action


def statuses(outcomes: Iterable[Outcome]) -> list[int]:
    """What decides the exit status: those of all that was to be done, or was wrong."""
    tried = (*CHANGES, *PROBLEMS)
    return [outcome.status for outcome in outcomes if outcome.item.action in tried and outcome.error != KEPT]
