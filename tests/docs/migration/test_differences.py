"""What differs from gitpod-sdk 0.11 differs as docs/migrating.md says."""

import dataclasses
import json
from datetime import datetime
from typing import Any

import httpx
import pytest
from tests.support.migration import Application, section, violations
from tests.support.service import TOKEN

from gitpod import APIError, BadRequestError, Gitpod, GitpodError, InvalidRequestError
from gitpod.types import Secret


def test_two_mounts_are_refused_before_anything_is_sent(client: Gitpod, project: str) -> None:
    """With the rule; and not as what the service answers."""
    with pytest.raises(InvalidRequestError) as caught:
        client.secrets.create(
            name="API_TOKEN", project_id=project, value="x", environment_variable=True, file_path="/home/gitpod/token"
        )
    assert violations(caught) == [("mount", "oneof")]
    assert (caught.value.outcome, caught.value.attempts, caught.value.status_code) == ("not_sent", 0, None)
    assert not isinstance(caught.value, BadRequestError)


@pytest.mark.parametrize("method", ["create", "list", "get_value", "update_value", "delete"])
@pytest.mark.parametrize("option", ["extra_query", "extra_body"])
def test_queries_and_bodies_are_refused(client: Gitpod, project: str, method: str, option: str) -> None:
    """By every call, as parameters that there are not."""
    own: dict[str, dict[str, Any]] = {
        "create": {"name": "API_TOKEN", "value": "x", "project_id": project, "api_only": True},
        "list": {},
        "update_value": {"secret_id": project, "value": "x"},
    }
    with pytest.raises(InvalidRequestError) as caught:
        getattr(client.secrets, method)(**own.get(method, {"secret_id": project}), **{option: {"dryRun": "1"}})
    assert violations(caught) == [(option, "unknown_field")]


@pytest.mark.parametrize("seconds", [httpx.Timeout(5), None])
def test_a_timeout_is_a_number(client: Gitpod, seconds: Any) -> None:
    """For a client and for its copies."""
    with pytest.raises(GitpodError, match="timeout: must be a number of seconds"):
        Gitpod(bearer_token=TOKEN, timeout=seconds)
    with pytest.raises(GitpodError, match="timeout: must be a number of seconds"):
        client.with_options(timeout=seconds)


def test_the_timeout_of_a_call_is_a_number_or_none(client: Gitpod, secret: Secret) -> None:
    """None is the client's."""
    assert client.secrets.get_value(secret_id=secret.id, timeout=None).value == "s3cret-value"
    limit: Any = httpx.Timeout(5)
    with pytest.raises(InvalidRequestError, match="timeout: must be a number of seconds"):
        client.secrets.get_value(secret_id=secret.id, timeout=limit)


@pytest.mark.parametrize("option", ["default_query", "_strict_response_validation"])
def test_a_client_does_not_take(option: str) -> None:
    """What the guide says is gone."""
    gone: dict[str, Any] = {option: {}}
    with pytest.raises(TypeError, match=option):
        Gitpod(bearer_token=TOKEN, **gone)
    assert f"`{option}`" in section("What differs on purpose")


@pytest.mark.parametrize("option", ["set_default_headers", "base_url"])
def test_a_copy_does_not_take(client: Gitpod, option: str) -> None:
    """What would make it another client."""
    gone: dict[str, Any] = {option: "https://secrets.example.com"}
    with pytest.raises(GitpodError, match=f"{option}: is not an option"):
        client.with_options(**gone)


def test_a_value_does_not_show(client: Gitpod, secret: Secret) -> None:
    """But by its names."""
    value = client.secrets.get_value(secret_id=secret.id)
    assert "s3cret" not in f"{value} {value!r} {[value]}"
    assert value.value == value.reveal() == "s3cret-value"


def test_results_are_the_documented_json(secret: Secret) -> None:
    """With times as text; they are not set, but replaced."""
    assert secret.created_at
    assert datetime.fromisoformat(secret.to_dict()["createdAt"]) == secret.created_at
    assert json.loads(secret.to_json()) == secret.to_dict()
    assert dataclasses.replace(secret, name="OTHER").name == "OTHER"
    with pytest.raises(dataclasses.FrozenInstanceError):
        secret.name = "OTHER"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue] # which is the point


def test_changes_return_nothing(client: Gitpod, secret: Secret) -> None:
    """Where 0.11 returned an empty object."""
    update, delete = (getattr(client.secrets, name) for name in ("update_value", "delete"))
    assert update(secret_id=secret.id, value="second") is None
    assert delete(secret_id=secret.id) is None


def test_a_keyword_that_is_none_was_left_out(client: Gitpod, project: str) -> None:
    """As NOT_GIVEN and omit said it."""
    unset: dict[str, Any] = {"file_path": None, "scope": None, "container_registry_basic_auth_host": None}
    made = client.secrets.create(name="API_TOKEN", project_id=project, value="x", api_only=True, **unset)
    assert (made.secret.api_only, made.secret.file_path) == (True, None)


@pytest.mark.parametrize(
    ("url", "rule"), [(httpx.URL("https://secrets.example.com"), "string"), ("http://secrets.example.com", "http://")]
)
def test_addresses_are_text_and_safe(url: Any, rule: str) -> None:
    """Neither objects of httpx nor plain text on the network."""
    with pytest.raises(GitpodError, match=rule):
        Gitpod(bearer_token=TOKEN, base_url=url)


@pytest.mark.parametrize("status", ["408 Request Timeout", "409 Conflict", "500 Internal Server Error"])
def test_a_create_that_may_have_been_done_is_sent_once(project: str, status: str) -> None:
    """Where 0.11 sends it again; the error says what is known."""
    application = Application(status, b"{}")
    client = Gitpod(bearer_token=TOKEN, http_client=application)
    with pytest.raises(APIError) as caught:
        client.secrets.create(name="API_TOKEN", value="x", project_id=project, api_only=True)
    assert len(application.requests) == caught.value.attempts == 1
    assert caught.value.outcome == ("rejected" if status.startswith("409") else "unknown")


def test_put_takes_the_place_of_a_retried_create(client: Gitpod, project: str) -> None:
    """Once it creates, then it updates."""
    done = [
        client.secrets.put(name="API_TOKEN", value=value, project_id=project, api_only=True).action
        for value in ("first", "second")
    ]
    assert done == ["created", "updated"]
