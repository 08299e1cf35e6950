"""What calls make of the faults of `gitpod.testing`: the exception, the outcome, the deliveries, what is stored."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.caller import Caller, Codec
from tests.support.faults import KINDS
from tests.support.peer import Peer, Script, answer, free_port, hang_up, stall
from tests.support.service import TOKEN

import gitpod
from gitpod import AsyncGitpod, Gitpod
from gitpod._rpc import retry
from gitpod.testing import FaultKind, FaultPlan

pytestmark = pytest.mark.slow

PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
SCOPE: dict[str, Any] = {"scope": {"project_id": PROJECT}}
PARAMS: dict[str, Any] = {"name": "NAME", "value": "s3cret-one", "project_id": PROJECT, "environment_variable": True}
Connection, Status, Untrusted, Timeout = (
    gitpod.APIConnectionError,
    gitpod.InternalServerError,
    gitpod.APIResponseValidationError,
    gitpod.APITimeoutError,
)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries wait for no time."""
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.0)


@pytest.fixture
def plan() -> FaultPlan:
    return FaultPlan(seed=7)


@pytest.fixture
def caller(kind: Any, codec: Codec, plan: FaultPlan, runner: asyncio.Runner) -> Iterator[Caller]:
    """A client of a service of its own, with the plan in between."""
    caller = Caller(plan.aim(kind(bearer_token=TOKEN, base_url="sqlite://", codec=codec)), runner)
    yield caller
    caller.close()


@pytest.mark.parametrize(
    ("kind_of_fault", "error", "outcome", "attempts", "delivered"),
    [
        ("refuse", Connection, "not_sent", 3, 0),
        ("drop_before_reading", Connection, "unknown", 1, 0),
        ("drop_after_commit", Connection, "unknown", 1, 1),
        ("delay", Timeout, "unknown", 1, 1),
        ("status", Status, "rejected", 3, 0),
        ("truncated_body", Connection, "unknown", 1, 1),
        ("wrong_content_type", Untrusted, "unknown", 1, 1),
        ("garbage", Untrusted, "unknown", 1, 1),
    ],
)
def test_a_create_is_sent_at_most_once_into_doubt(
    caller: Caller,
    plan: FaultPlan,
    kind_of_fault: FaultKind,
    error: type[gitpod.APIError],
    outcome: str,
    attempts: int,
    delivered: int,
) -> None:
    """It is sent again only when nothing was done, and the secret exists exactly when it was delivered."""
    # Opens the store, which takes longer than a short deadline on a loaded machine.
    assert caller.list(filter=SCOPE) == []
    plan.add(kind_of_fault, "CreateSecret", times=9, seconds=9, retry_after="0")
    with pytest.raises(gitpod.APIError) as caught:
        caller.create(**PARAMS, timeout=1 if kind_of_fault == "delay" else 20)
    found = caught.value
    assert (type(found), found.outcome, found.attempts) == (error, outcome, attempts)
    assert plan.deliveries["CreateSecret"] == delivered
    assert len(caller.list(filter=SCOPE)) == delivered


@pytest.mark.parametrize(
    ("kind_of_fault", "error", "outcome", "attempts", "delivered"),
    [
        ("refuse", Connection, "not_sent", 3, 0),
        ("drop_before_reading", Connection, "unknown", 1, 0),
        ("drop_after_commit", Connection, "unknown", 1, 1),
        ("status", Status, "rejected", 3, 0),
        ("truncated_body", Connection, "unknown", 1, 1),
        ("wrong_content_type", Untrusted, "unknown", 1, 1),
    ],
)
def test_a_delete_is_sent_at_most_once_into_doubt(
    caller: Caller,
    plan: FaultPlan,
    kind_of_fault: FaultKind,
    error: type[gitpod.APIError],
    outcome: str,
    attempts: int,
    delivered: int,
) -> None:
    """The secret is gone exactly when the delete was delivered."""
    secret = caller.create(**PARAMS).secret
    plan.add(kind_of_fault, "DeleteSecret", times=9, retry_after="0")
    with pytest.raises(gitpod.APIError) as caught:
        caller.delete(secret_id=secret.id)
    found = caught.value
    assert (type(found), found.outcome, found.attempts) == (error, outcome, attempts)
    assert plan.deliveries["DeleteSecret"] == delivered
    assert len(caller.list(filter=SCOPE)) == 1 - delivered


@pytest.mark.parametrize("kind_of_fault", KINDS)
@pytest.mark.parametrize("times", [1, 2])
def test_a_put_leaves_one_secret_whatever_happens(
    caller: Caller, plan: FaultPlan, kind_of_fault: FaultKind, times: int
) -> None:
    """Each of its RPCs may be sent again."""
    for rpc in ("CreateSecret", "ListSecrets", "UpdateSecretValue"):
        plan.add(kind_of_fault, rpc, times=times, retry_after="0")
    first = caller.put(**PARAMS)
    second = caller.put(**{**PARAMS, "value": "s3cret-two"})
    assert (second.action, second.secret.id) == ("updated", first.secret.id)
    assert [secret.name for secret in caller.list(filter=SCOPE)] == ["NAME"]
    assert caller.get_value(secret_id=first.secret.id).reveal() == "s3cret-two"
    assert {happened[1] for happened in plan.happened} == {kind_of_fault}


@pytest.mark.parametrize("kind_of_fault", KINDS)
def test_reads_and_updates_are_sent_again_after_anything(
    caller: Caller, plan: FaultPlan, kind_of_fault: FaultKind
) -> None:
    """Twice, and the third attempt arrives."""
    secret = caller.create(**PARAMS).secret
    for rpc in ("ListSecrets", "UpdateSecretValue", "GetSecretValue"):
        plan.add(kind_of_fault, rpc, times=2, retry_after="0")
    caller.update_value(secret_id=secret.id, value="s3cret-two")
    assert caller.get_value(secret_id=secret.id).reveal() == "s3cret-two"
    assert caller.list(filter=SCOPE) != []
    assert len(plan.happened) == 6


def test_a_retried_delete_that_finds_nothing_has_succeeded(caller: Caller, plan: FaultPlan) -> None:
    """Somebody has deleted it, and be it this very call; a first attempt says that there is none."""
    secret = caller.create(**PARAMS).secret
    caller.delete(secret_id=secret.id)
    with pytest.raises(gitpod.NotFoundError):
        caller.delete(secret_id=secret.id)
    plan.add("status", "DeleteSecret", retry_after="0")
    caller.delete(secret_id=secret.id)
    assert plan.deliveries["DeleteSecret"] == 3


def test_a_late_answer_in_time_is_an_answer(caller: Caller, plan: FaultPlan) -> None:
    """A delay alone breaks nothing."""
    plan.add("delay", seconds=0.05)
    assert caller.create(**PARAMS).secret.name == "NAME"
    assert plan.happened == [("CreateSecret", "delay")]


def test_a_copy_meets_the_same_faults(plan: FaultPlan) -> None:
    """`with_options` shares the connections, and what is around them."""
    plan.add("refuse", "ListSecrets")
    with plan.aim(Gitpod(bearer_token=TOKEN, base_url="sqlite://")) as client:
        with pytest.raises(gitpod.APIConnectionError, match="as planned"):
            client.with_options(max_retries=0).secrets.list()
        assert list(client.secrets.list()) == []


@pytest.mark.parametrize(("kind_of_fault", "rpc"), [("nope", None), ("refuse", "create")])
def test_a_plan_that_can_never_happen_is_refused(plan: FaultPlan, kind_of_fault: Any, rpc: str | None) -> None:
    """A test that relies on it would pass in vain."""
    with pytest.raises(ValueError, match="must be one of"):
        plan.add(kind_of_fault, rpc)


def test_a_client_in_use_is_not_aimed_at(plan: FaultPlan) -> None:
    """Its connections are what they are."""
    with Gitpod(base_url="sqlite://") as client:
        client.secrets.list()
        with pytest.raises(ValueError, match="aim before the first"):
            plan.aim(client)


def test_a_seed_repeats_itself() -> None:
    """The same faults meet the same calls."""

    def run(seed: int) -> list[tuple[str, FaultKind]]:
        plan = FaultPlan(seed=seed).add("refuse", chance=0.5, times=99).add("drop_after_commit", chance=0.5, times=99)
        with plan.aim(Gitpod(bearer_token=TOKEN, base_url="sqlite://", max_retries=0)) as client:
            for index in range(12):
                params: Any = {**PARAMS, "name": f"NAME_{index}"}
                try:
                    client.secrets.create(**params)
                except gitpod.APIError as error:
                    assert error.outcome in ("not_sent", "unknown")  # noqa: PT017 # of either kind of fault
        return plan.happened

    assert run(1) == run(1) != run(2)


def test_the_fixtures_are_for_users(
    gitpod_client: Gitpod, gitpod_async_client: AsyncGitpod, gitpod_faults: FaultPlan, runner: asyncio.Runner
) -> None:
    """Both clients obey the plan that a test adds to."""
    for client in (gitpod_client, gitpod_async_client):
        gitpod_faults.add("drop_after_commit", "CreateSecret")
        with pytest.raises(gitpod.APIConnectionError) as caught:
            Caller(client, runner).create(**PARAMS)
        assert caught.value.outcome == "unknown"
    assert gitpod_faults.deliveries == {"CreateSecret": 2}


def cut_short(connection: socket.socket, _request: bytes) -> None:
    """Promise more of an answer than there is."""
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{")


REAL: dict[FaultKind, Script | None] = {
    "refuse": None,
    "drop_before_reading": hang_up,
    "drop_after_commit": hang_up,
    "delay": stall(2),
    "status": answer(503, b'{"code": "unavailable", "message": "as planned"}', "retry-after: 0"),
    "truncated_body": cut_short,
    "wrong_content_type": answer(200, b"{}", content_type="text/html"),
    "garbage": answer(200, b"\xff\xfe\xfd"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind_of_fault", REAL)
@pytest.mark.parametrize("rpc", ["create", "put", "get_value"])
def test_a_planned_fault_is_like_the_real_one(
    caller: Caller, kind: Any, runner: asyncio.Runner, plan: FaultPlan, rpc: str, kind_of_fault: FaultKind
) -> None:
    """The same error, outcome and attempts as on a socket where it happens."""
    stored = caller.create(**{**PARAMS, "name": "OTHER"}).secret
    params: Any = {"secret_id": stored.id} if rpc == "get_value" else PARAMS
    script = REAL[kind_of_fault]
    there = Peer(script or hang_up)
    plan.add(kind_of_fault, times=99, seconds=9, retry_after="0")
    url = there.url if script else f"http://127.0.0.1:{free_port()}"
    real = Caller(kind(bearer_token=TOKEN, base_url=url, codec="json"), runner)
    seen: list[tuple[type[gitpod.APIError], str, str, int]] = []
    for each in (caller, real):
        with pytest.raises(gitpod.APIError) as caught:
            getattr(each, rpc)(**params, timeout=0.5 if kind_of_fault == "delay" else 20)
        seen.append((type(caught.value), caught.value.outcome, caught.value.code, caught.value.attempts))
    there.close()
    real.close()
    assert seen[0] == seen[1]
