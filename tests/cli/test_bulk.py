"""Many calls at once: reading values, and carrying out the plan of an import, with faults in between."""

import gc
import threading
from collections.abc import Iterator

import pytest
from tests.support.service import TOKEN

from gitpod import Gitpod
from gitpod._rpc import retry
from gitpod.cli.apply import apply, compare, statuses
from gitpod.cli.bulk import MAX_RETRIES, exit_status, map_concurrently, read_values
from gitpod.cli.files.load import load
from gitpod.cli.plan import Item, plan, prunable
from gitpod.testing import FaultKind, FaultPlan
from gitpod.types import SecretScope


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make retries wait no time."""
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.0)


SCOPE = ("project_id", "b0e12f6c-4c67-429d-a4a6-d9838b5da047")


@pytest.fixture
def faults() -> FaultPlan:
    return FaultPlan(seed=3)


@pytest.fixture
def client(faults: FaultPlan) -> Iterator[Gitpod]:
    """A client of a new embedded service, with the faults between them."""
    with faults.aim(Gitpod(bearer_token=TOKEN, base_url="sqlite://")) as client:
        yield client


def stored(client: Gitpod) -> dict[str, str]:
    """Return the names and values in the project."""
    found = client.secrets.list(filter={"scope": SecretScope(project_id=SCOPE[1])})
    return {secret.name: client.secrets.get_value(secret_id=secret.id).reveal() for secret in found}


def planned(client: Gitpod, text: str, *, prune: bool = False) -> list[Item]:
    """Plan what the command would do for a file."""
    there = list(client.secrets.list(filter={"scope": SecretScope(project_id=SCOPE[1])}))
    items = compare(client, plan(load(text), there, SCOPE, can_replace=False), 4)
    return items + (prunable(items, there) if prune else [])


TEXT = "".join(f"NAME_{number}={number}\n" for number in range(40))
WANTED = {f"NAME_{number}": str(number) for number in range(40)}


@pytest.mark.parametrize("kind", ["refuse", "drop_before_reading", "drop_after_commit", "status", "garbage"])
def test_a_fault_during_an_import_only_costs_time(client: Gitpod, faults: FaultPlan, kind: FaultKind) -> None:
    """Each secret is stored in the same run, and no other is."""
    items = planned(client, TEXT)
    # No more than the retries of a call, as all of them may meet the same secret.
    faults.add(kind, times=MAX_RETRIES, chance=0.3, retry_after="0")
    outcomes = apply(client, items, 8)
    assert len(faults.happened) == MAX_RETRIES
    assert exit_status(statuses(outcomes)) == 0
    assert {each.outcome for each in outcomes} <= {"created", "updated"}
    assert stored(client) == WANTED


def test_a_second_run_finishes_what_failed(client: Gitpod, faults: FaultPlan) -> None:
    """The second run stores what the first did not, and repeats nothing."""
    text = f"{TEXT}EMPTY=\n"
    faults.add("status", "CreateSecret", status=403, code="permission_denied", times=25)
    first = apply(client, planned(client, text), 4)
    again = planned(client, text)
    assert [item.line for item in again if item.action == "create"] == [
        each.item.line for each in first if each.outcome == "failed"
    ]
    assert {each.outcome for each in apply(client, again, 4)} == {"created", "unchanged"}
    assert stored(client) == WANTED | {"EMPTY": ""}


def test_an_empty_secret_whose_answer_was_lost_is_unchanged_in_the_next_run(client: Gitpod, faults: FaultPlan) -> None:
    """The contract has no update to an empty value, and the second run needs none."""
    faults.add("drop_after_commit", "CreateSecret")
    (lost,) = apply(client, planned(client, "NAME="), 1)
    assert (lost.outcome, lost.status) == ("unknown", 6)
    assert [item.action for item in planned(client, "NAME=")] == ["unchanged"]


def test_no_more_calls_are_made_when_the_service_is_gone(client: Gitpod, faults: FaultPlan) -> None:
    """The rest is skipped, and the exit status is 6."""
    items = planned(client, TEXT, prune=True)
    faults.add("refuse", times=10_000)
    outcomes = apply(client, items, 4)
    assert exit_status(statuses(outcomes)) == 6
    assert len([each for each in outcomes if each.outcome == "skipped"]) >= 20
    assert len(faults.happened) <= 12 * 6


def test_a_token_that_may_not_read_updates_every_secret(client: Gitpod, faults: FaultPlan) -> None:
    """It is refused once for each worker at most, and reads no more values."""
    apply(client, planned(client, TEXT), 8)
    faults.add("status", "GetSecretValue", status=403, code="permission_denied", times=1000)
    items = planned(client, TEXT)
    assert {item.action for item in items} == {"update"}
    assert len(faults.happened) <= 8


def test_a_token_that_may_not_write_sets_the_exit_status(client: Gitpod, faults: FaultPlan) -> None:
    """The status is 3 if every change was refused, else 1."""
    items = planned(client, TEXT)
    faults.add("status", "CreateSecret", status=403, code="permission_denied", times=50)
    assert exit_status(statuses(apply(client, items, 8))) == 3
    assert exit_status(statuses(apply(client, items, 8))) == 1


def test_deletions_come_last_and_only_if_all_else_was_done(client: Gitpod, faults: FaultPlan) -> None:
    """If another item failed, deletions are skipped."""
    apply(client, planned(client, "OLD=a"), 1)
    faults.add("status", "CreateSecret", status=403, code="permission_denied")
    items = planned(client, "NEW=a", prune=True)
    assert [each.outcome for each in apply(client, items, 4)] == ["failed", "skipped"]
    assert [each.outcome for each in apply(client, items, 4)] == ["created", "deleted"]
    client.secrets.put(name="OLD", value="b", project_id=SCOPE[1], environment_variable=True)
    assert [each.outcome for each in apply(client, items, 4)] == ["updated", "deleted"]


def test_values_that_cannot_be_read_are_failures(client: Gitpod, faults: FaultPlan) -> None:
    """Each failure is returned in the place of the value."""
    apply(client, planned(client, TEXT), 8)
    ids = [secret.id for secret in client.secrets.list()]
    faults.add("status", "GetSecretValue", status=403, code="permission_denied", times=2)
    unread = [value for value in read_values(client, ids) if not hasattr(value, "reveal")]
    assert [getattr(each, "status", 0) for each in unread] == [3, 3]


def test_no_more_values_are_read_when_the_service_is_gone(client: Gitpod, faults: FaultPlan) -> None:
    """A plan has updates for secrets that it could not compare."""
    apply(client, planned(client, TEXT), 8)
    ids = [secret.id for secret in client.secrets.list()]
    faults.add("refuse", "GetSecretValue", times=1000)
    assert {item.action for item in planned(client, TEXT)} == {"update"}
    assert exit_status([getattr(value, "status", 0) for value in read_values(client, ids, 2)]) == 6
    assert len(faults.happened) < 40 * 3


def test_an_interrupt_stops_an_import_between_calls(client: Gitpod) -> None:
    """The calls under way are finished, and no other is made."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apply(client, planned(client, TEXT), 2, interrupt)
    assert 1 <= len(stored(client)) < 40


@pytest.mark.parametrize("finish", [True, False])
def test_an_interrupt_waits_for_changes_and_not_for_reads(finish: bool) -> None:  # noqa: FBT001 # a parameter
    """With `finish`, the calls under way end before the interrupt is raised; without it, they are abandoned."""
    begun: list[int] = []
    ended: list[int] = []
    is_under_way, gate = threading.Event(), threading.Event()

    def work(item: int) -> None:
        begun.append(item)
        if item:
            is_under_way.set()
            gate.wait(60)
        ended.append(item)

    def interrupt() -> None:
        is_under_way.wait(60)
        if finish:
            gate.set()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        map_concurrently(work, range(9), 2, interrupt, finish=finish)
    assert sorted(ended) == (sorted(begun) if finish else [0])
    gate.set()


def test_an_unexpected_error_is_raised_and_ends_the_rest() -> None:
    """No further item is begun."""
    begun: list[int] = []
    gate = threading.Event()

    def work(item: int) -> None:
        begun.append(item)
        if item:
            gate.wait(60)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        map_concurrently(work, range(40), 2)
    gate.set()
    assert len(begun) <= 3


def test_no_items_give_no_results() -> None:
    """The result is empty, and no thread is started."""
    assert map_concurrently(str, [], 16) == []


def test_many_calls_turn_the_search_for_garbage_on() -> None:
    """The command begins without, as most commands are short."""
    gc.disable()
    try:
        map_concurrently(str, range(3), 2)
        assert gc.isenabled()
    finally:
        gc.enable()
