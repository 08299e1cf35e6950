"""`secrets.put`: create, update, replace, and what its errors say of what exists."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pydantic import SecretStr
from tests.support.caller import Caller
from tests.support.peer import Peer, answer, hang_up, in_turn
from tests.support.service import TOKEN

import gitpod
from gitpod import Gitpod, SecretValue
from gitpod._messages import requests
from gitpod._rpc import retry
from gitpod._secrets import put
from gitpod.testing import FaultKind, FaultPlan

PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
PARAMS: dict[str, Any] = {"name": "NAME", "value": "s3cret-one", "project_id": PROJECT, "environment_variable": True}


@pytest.fixture
def plan() -> FaultPlan:
    return FaultPlan()


@pytest.fixture
def caller(kind: Any, plan: FaultPlan, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caller]:
    """A client of a service of its own, with a plan in between, whose retries wait for no time."""
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.0)
    caller = Caller(plan.aim(kind(bearer_token=TOKEN, base_url="sqlite://")), runner)
    yield caller
    caller.close()


def test_put_creates_then_updates(client: Caller, project: str) -> None:
    """One secret, whose value is the last."""
    params = {**PARAMS, "project_id": project}
    first, second = client.put(**params), client.put(**{**params, "value": "s3cret-two"})
    assert (first.action, second.action) == ("created", "updated")
    assert first.secret.id == second.secret.id
    assert client.get_value(secret_id=first.secret.id).reveal() == "s3cret-two"


@pytest.mark.parametrize("scope", ["project_id", "user_id", "organization_id", "service_account_id"])
def test_put_keeps_to_its_scope(caller: Caller, scope: str) -> None:
    """The same name in another scope is another secret."""
    caller.put(**PARAMS)
    own = {"name": "NAME", "value": "v", "environment_variable": True, "scope": {scope: PROJECT[:-1] + "8"}}
    assert [caller.put(**own).action, caller.put(**own).action] == ["created", "updated"]
    assert len(caller.list()) == 2


def test_put_finds_a_secret_behind_many(caller: Caller) -> None:
    """On a later page of its scope."""
    for index in range(103):
        caller.create(**{**PARAMS, "name": f"NAME_{index}"})
    assert caller.put(**{**PARAMS, "name": "NAME_102", "value": "new"}).action == "updated"


@pytest.mark.parametrize(
    ("before", "after", "differs"),
    [
        ({}, {"environment_variable": False, "file_path": "/a"}, r"another mount \(it has environment_variable\)"),
        (
            {"environment_variable": False, "file_path": "/a"},
            {"environment_variable": False, "file_path": "/b"},
            "mount",
        ),
        ({}, {"credential_proxy": {"target_hosts": ["a.example"], "header": "x"}}, "another credential_proxy, which"),
        ({}, {"source": {"oidc_jfrog": {"host": "a.example", "provider_name": "p"}}}, "another source, which"),
    ],
)
def test_what_an_update_cannot_change_is_a_conflict(
    caller: Caller, before: dict[str, Any], after: dict[str, Any], differs: str
) -> None:
    """Nothing is changed, unless it may be replaced."""
    first = caller.put(**{**PARAMS, **before})
    wanted = {**PARAMS, "value": "s3cret-two", **after}
    with pytest.raises(gitpod.ConflictError, match=differs) as caught:
        caller.put(**wanted)
    assert (caught.value.code, caught.value.outcome, caught.value.status_code) == ("already_exists", "rejected", 409)
    assert caller.get_value(secret_id=first.secret.id).reveal() == "s3cret-one"
    replaced = caller.put(**wanted, replace=True)
    assert replaced.action == "replaced"
    assert caller.list() == [replaced.secret]
    assert caller.get_value(secret_id=replaced.secret.id).reveal() == "s3cret-two"


@pytest.mark.parametrize(
    ("rpc", "kind_of_fault", "outcome", "says", "left"),
    [
        ("DeleteSecret", "refuse", "not_sent", "a secret of that name exists, and this call did not change it", 1),
        ("DeleteSecret", "drop_before_reading", "unknown", "exists as it was, or is deleted", 1),
        ("CreateSecret", "refuse", "unknown", "is deleted, and none of that name exists", 0),
        ("CreateSecret", "drop_before_reading", "unknown", "is deleted, and the new one may exist", 0),
    ],
)
def test_a_replacement_that_fails_says_what_exists(
    caller: Caller, plan: FaultPlan, rpc: str, kind_of_fault: FaultKind, outcome: str, says: str, left: int
) -> None:
    """Between the deletion and the creation too."""
    caller.put(**PARAMS)
    if rpc == "CreateSecret":
        # The first create finds the name taken; what follows the deletion fails.
        plan.add("status", "CreateSecret", status=409, code="already_exists")
    plan.add(kind_of_fault, rpc, times=9)
    with pytest.raises(gitpod.APIConnectionError, match=says) as caught:
        caller.put(**{**PARAMS, "environment_variable": False, "api_only": True}, replace=True)
    assert caught.value.outcome == outcome
    assert len(caller.list()) == left


@pytest.mark.parametrize(
    ("rpc", "kind_of_fault", "says"),
    [
        ("ListSecrets", "refuse", "exists, and this call did not change it"),
        ("UpdateSecretValue", "refuse", "exists, and this call did not change it"),
        ("UpdateSecretValue", "drop_before_reading", "its value is the one before or the new one"),
    ],
)
def test_an_update_that_fails_says_what_exists(
    caller: Caller, plan: FaultPlan, rpc: str, kind_of_fault: FaultKind, says: str
) -> None:
    """The error of the RPC that failed, and what that means."""
    caller.put(**PARAMS)
    plan.add(kind_of_fault, rpc, times=9)
    with pytest.raises(gitpod.APIConnectionError, match=says):
        caller.put(**{**PARAMS, "value": "s3cret-two"})


STORED = json.dumps({"id": PROJECT, "name": "NAME", "environmentVariable": True})
TAKEN = answer(409, b'{"code": "already_exists", "message": "taken"}')
GONE = answer(404, b'{"code": "not_found", "message": "gone"}')
LISTED, EMPTY = answer(200, f'{{"secrets": [{STORED}]}}'.encode()), answer(200, b"{}")
CREATED = answer(200, f'{{"secret": {STORED}}}'.encode())


@pytest.mark.parametrize(
    ("scripts", "action", "sent"),
    [
        ([TAKEN, EMPTY, CREATED], "created", 3),  # deleted by somebody before it was found
        ([TAKEN, LISTED, GONE, CREATED], "created", 4),  # and before it was updated
        ([hang_up, TAKEN, LISTED, EMPTY], "updated", 4),  # its own create, whose answer was lost
        ([answer(200, b"{}"), LISTED, EMPTY], "updated", 3),  # an answer without a secret
    ],
)
def test_put_goes_on_whoever_interferes(
    kind: Any, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, scripts: list[Any], action: str, sent: int
) -> None:
    """Somebody else deletes the name meanwhile, or an answer is lost."""
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.0)
    there = Peer(in_turn(*scripts))
    caller = Caller(kind(bearer_token=TOKEN, base_url=there.url, codec="json"), runner)
    assert caller.put(**PARAMS).action == action
    assert len(there.requests) == sent
    caller.close()
    there.close()


def test_put_gives_up_on_a_name_that_comes_and_goes(kind: Any, runner: asyncio.Runner) -> None:
    """After ten rounds, with the conflict."""
    there = Peer(lambda connection, request: (TAKEN if b"/CreateSecret" in request else EMPTY)(connection, request))
    caller = Caller(kind(bearer_token=TOKEN, base_url=there.url, codec="json"), runner)
    with pytest.raises(gitpod.ConflictError, match="taken"):
        caller.put(**PARAMS)
    assert len(there.requests) == 20
    caller.close()
    there.close()


@pytest.mark.slow
def test_the_timeout_is_for_all_of_put(caller: Caller, plan: FaultPlan) -> None:
    """Two RPCs that would each be in time, and together are not."""
    caller.put(**PARAMS)
    plan.add("delay", "CreateSecret", seconds=0.6).add("delay", "ListSecrets", seconds=0.6)
    with pytest.raises(gitpod.APITimeoutError):
        caller.put(**PARAMS, timeout=1)
    assert plan.deliveries["UpdateSecretValue"] == 0


def test_a_put_whose_own_create_is_in_doubt_does_not_deny_it(caller: Caller, plan: FaultPlan) -> None:
    """What exists may be its own work, though looking for it failed."""
    plan.add("drop_after_commit", "CreateSecret").add("refuse", "ListSecrets", times=9)
    with pytest.raises(gitpod.APIConnectionError, match="which this call may have created") as caught:
        caller.put(**PARAMS)
    assert caught.value.outcome == "unknown"


def test_a_put_that_deleted_does_not_deny_it(caller: Caller) -> None:
    """Somebody else's secret took the place of the one that it deleted, and looking for that failed."""
    caller.put(**PARAMS)
    steps = put.steps(requests.put_request({**PARAMS, "environment_variable": None, "api_only": True}), replace=True)
    conflict = gitpod.ConflictError("taken", code="already_exists", outcome="rejected")
    found = caller.list()
    assert next(steps).rpc == "create_secret"
    assert steps.throw(conflict).rpc == "list_secrets"
    assert steps.send((found, None)).rpc == "delete_secret"
    assert steps.send(None).rpc == "create_secret"
    assert steps.throw(conflict).rpc == "list_secrets"
    with pytest.raises(gitpod.APIConnectionError, match="this call deleted the secret of that name") as caught:
        steps.throw(gitpod.APIConnectionError("refused", outcome="not_sent"))
    assert caught.value.outcome == "unknown"


def test_a_put_that_deleted_and_got_noise_says_so(caller: Caller, plan: FaultPlan) -> None:
    """An answer that cannot be read, and no secret there."""
    caller.put(**PARAMS)
    plan.add("status", "CreateSecret", status=409, code="already_exists").add(
        "status", "CreateSecret", status=200, times=9
    )
    with pytest.raises(gitpod.APIResponseValidationError, match="is deleted, and none of that name exists") as caught:
        caller.put(**{**PARAMS, "environment_variable": False, "api_only": True}, replace=True)
    assert (caught.value.outcome, caller.list()) == ("unknown", [])


def test_puts_that_race_leave_one_secret() -> None:
    """Each replaces what the others made; none deletes without creating."""
    with Gitpod(base_url="sqlite://") as client:

        def put(number: int) -> object:
            try:
                path = f"/a{number}"
                return client.secrets.put(name="NAME", value="v", project_id=PROJECT, file_path=path, replace=True)
            except gitpod.APIError as error:
                return error.outcome

        for _ in range(5):
            with ThreadPoolExecutor(4) as pool:
                assert "rejected" not in list(pool.map(put, range(4)))
            assert [secret.name for secret in client.secrets.list()] == ["NAME"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": ""}, "value: must be at least 1 character"),
        ({"project_id": None}, "scope: must be given, or project_id"),
        ({"name": "N"}, "name: "),
        ({"value": SecretStr("x" * 10241)}, "value: "),
        ({"replace_it": True}, "replace_it: is not a parameter"),
    ],
)
def test_bad_input_is_refused_before_anything_is_sent(
    caller: Caller, plan: FaultPlan, change: dict[str, Any], message: str
) -> None:
    """By the rules of both RPCs."""
    with pytest.raises(gitpod.InvalidRequestError, match=message):
        caller.put(**{**PARAMS, **change})
    assert plan.deliveries == {}


def test_an_empty_scope_beside_a_project_is_none(caller: Caller) -> None:
    """A secret whose name is taken is found by the project."""
    actions = [caller.put(**PARAMS, scope={}).action for _ in range(2)]
    assert actions == ["created", "updated"]


@pytest.mark.parametrize("hide", [str, SecretValue, SecretStr])
def test_values_may_come_hidden(gitpod_client: Gitpod, hide: Any) -> None:
    """As a SecretValue, or whatever has a get_secret_value()."""
    params: Any = {"name": "NAME", "project_id": PROJECT, "api_only": True}
    created = gitpod_client.secrets.create(**params, value=hide("one")).secret
    gitpod_client.secrets.update_value(secret_id=created.id, value=hide("two"))
    assert gitpod_client.secrets.get_value(secret_id=created.id).reveal() == "two"
    gitpod_client.secrets.put(**params, value=hide("three"))
    assert gitpod_client.secrets.get_value(secret_id=created.id) == SecretValue("three")
