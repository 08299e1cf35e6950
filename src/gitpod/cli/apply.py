"""Carries out the plan of an import."""

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from gitpod import Gitpod
from gitpod.cli.bulk import MAX_RETRIES, CircuitBreaker, map_concurrently, nothing
from gitpod.cli.failures import NOT_ALLOWED, SOME_FAILED, Failure
from gitpod.cli.plan import CHANGES, PROBLEMS, Item, compared
from gitpod.errors import NotFoundError

NOT_DONE = ("failed", "unknown", "skipped")
"""The outcomes after which something is left to do."""
NOT_DELETED = "not deleted, as not everything before it was done"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an item.

    Attributes:
        item: the item of the plan.
        outcome: the action in the past tense, `unchanged`, or one of `NOT_DONE`.
        error: why it was not done.
        status: the exit status for that; 0 when it was done, or left out on purpose.
    """

    item: Item
    outcome: str
    error: str = ""
    status: int = 0


def compare(client: Gitpod, items: Sequence[Item], workers: int) -> list[Item]:
    """Mark the items as `unchanged` whose value is the stored one. If it cannot be read, the item stays an update."""
    denied = threading.Event()
    breaker = CircuitBreaker(workers)

    def look(item: Item) -> Item:
        # The service records each refusal. A token that may not read one value may probably read none.
        if denied.is_set():
            return item
        stored = breaker.call(lambda: client.secrets.get_value(secret_id=item.secret_id))
        if not isinstance(stored, Failure):
            return compared(item, stored)
        if stored.status == NOT_ALLOWED:
            denied.set()
        return item

    looked = iter(map_concurrently(look, [item for item in items if item.may_be_unchanged], workers))
    return [next(looked) if item.may_be_unchanged else item for item in items]


def apply(client: Gitpod, items: Sequence[Item], workers: int, done: Callable[[], object] = nothing) -> list[Outcome]:
    """Carry out a plan and return the outcome of every item, deletions last.

    An item that fails stops no other, until too many calls in a row did not reach the service. Deletions wait until
    all other items are done: the file may have a secret under a new name, and if that could not be stored, the old
    one must stay.

    Args:
        client: a client of the service.
        items: the plan.
        workers: how many calls to make at once.
        done: called after each item.
    """
    client = client.with_options(max_retries=MAX_RETRIES)
    breaker = CircuitBreaker(workers)
    work: Callable[[Item], Outcome] = partial(_carry_out, client, breaker)
    stores = [item for item in items if item.action != "delete"]
    outcomes = map_concurrently(work, stores, workers, done, finish=True)
    if any(outcome.outcome in NOT_DONE for outcome in outcomes):
        work = _skip
    deletions = [item for item in items if item.action == "delete"]
    return outcomes + map_concurrently(work, deletions, workers, done, finish=True)


def _skip(item: Item) -> Outcome:
    return Outcome(item, "skipped", NOT_DELETED)


def _carry_out(client: Gitpod, breaker: CircuitBreaker, item: Item) -> Outcome:
    if item.action in PROBLEMS:
        return Outcome(item, "failed", item.rule, SOME_FAILED)
    if item.action not in CHANGES:
        return Outcome(item, "unchanged")
    result = breaker.call(partial(_change, client, item))
    if not isinstance(result, Failure):
        return Outcome(item, result)
    outcome = "unknown" if getattr(result.error, "outcome", "") == "unknown" else "failed"
    return Outcome(item, outcome if result.error else "skipped", result.message, result.status)


def _change(client: Gitpod, item: Item) -> str:
    """Make the call for an item, and return what it did."""
    if item.action == "delete":
        with suppress(NotFoundError):  # another client has deleted it
            client.secrets.delete(secret_id=item.secret_id)
        return "deleted"
    if not item.value.reveal():
        # `put` refuses an empty value, as it may have to update, and an update cannot set one.
        client.secrets.create(**item.params)
        return "created"
    return client.secrets.put(replace=item.action == "replace", **item.params).action


def statuses(outcomes: Iterable[Outcome]) -> list[int]:
    """Return the statuses that decide the exit status: of every item that was wrong, or was to be changed."""
    tried = (*CHANGES, *PROBLEMS)
    return [outcome.status for outcome in outcomes if outcome.item.action in tried and outcome.error != NOT_DELETED]
