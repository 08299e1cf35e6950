"""What is refused before anything is sent, and how it is said."""

from typing import Any

import pytest
from tests.support.service import TOKEN

import gitpod
from gitpod import Gitpod, Violation
from gitpod.types import SecretScope

UUID = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
GOOD: dict[str, Any] = {"name": "NAME", "value": "v", "project_id": UUID, "api_only": True}
VALUE = "s3cret-canary"


class Unreadable:
    """A hidden value whose holder fails, and quotes it."""

    def get_secret_value(self) -> str:
        raise RuntimeError(VALUE)


BAD: list[tuple[dict[str, Any], str, str, str]] = [
    ({"file_path": "/k"}, "mount", "oneof", "file_path and api_only were given"),
    (
        {"api_only": False},
        "mount",
        "required",
        "one of environment_variable, file_path, container_registry_basic_auth_host, api_only is",
    ),
    ({"colour": "red"}, "colour", "unknown_field", "is not a parameter; there are name, value"),
    ({"api_only": False, "file_path": "a/b"}, "file_path", "absolute_path", "value must be an absolute path"),
    ({"api_only": False, "file_path": ""}, "file_path", "absolute_path", "value must be an absolute path"),
    ({"api_only": False, "file_path": False}, "file_path", "type", "must be a string"),
    ({"project_id": "my-project"}, "project_id", "string.uuid", "must be a valid UUID"),
    ({"timeout": 0}, "", "", "timeout: must be a number of seconds"),
    ({"extra_headers": {"a b": "c"}}, "", "", "extra_headers: a header's name"),
    ({"name": "ab"}, "name", "string.min_len", "must be at least 3 characters"),
    ({"name": "a" * 128}, "name", "string.max_len", "must be at most 127 characters"),
    ({"name": "a-b"}, "name", "string.pattern", "does not match regex pattern"),
    ({"name": 3}, "name", "type", "must be a string"),
    ({"value": "x" * 10241}, "value", "string.max_len", "must be at most 10240 characters"),
    ({"value": b"bytes"}, "value", "type", "must be a string"),
    ({"value": None}, "value", "type", "must be a string, and is None"),
    ({"value": Unreadable()}, "value", "type", "cannot be read"),
    ({"user_id": UUID}, "user_id", "unknown_field", 'write scope={"user_id": ...}'),
    ({"extra_headers": {"Content-Length": "3"}}, "", "", "extra_headers: 'Content-Length' is for the protocol"),
    ({"value": VALUE + "\ud800"}, "value", "string.utf8", "without lone surrogates"),
    ({"api_only": 1}, "api_only", "type", "must be True or False"),
    ({"scope": {"project_id": UUID, "user_id": UUID}}, "scope", "oneof", "project_id and user_id were given"),
    ({"scope": SecretScope(project_id=UUID, user_id=UUID)}, "scope", "oneof", "project_id and user_id were given"),
    ({"scope": {"project_id": "nonsense"}}, "scope.project_id", "string.uuid", "must be a valid UUID"),
    ({"scope": {"projectId": UUID}}, "scope.projectId", "unknown_field", "there are project_id, user_id"),
    ({"scope": UUID}, "scope", "type", "must be a mapping"),
    (
        {"source": {"oidc_jfrog": {"host": "a b", "provider_name": "p"}}},
        "source.oidc_jfrog.host",
        "host_or_host_port",
        "",
    ),
    ({"source": {"oidc_jfrog": {"host": "a"}}}, "source.oidc_jfrog.provider_name", "string.min_len", ""),
    ({"source": {"verbatim": True, "oidc_jfrog": {}}}, "source", "oneof", "takes only one of verbatim, oidc_jfrog"),
    ({"credential_proxy": {"target_hosts": "a.b"}}, "credential_proxy.target_hosts", "type", "a list of strings"),
    ({"credential_proxy": {"target_hosts": [1]}}, "credential_proxy.target_hosts[0]", "type", "must be a string"),
]


@pytest.fixture
def offline() -> Gitpod:
    """A client whose service does not exist: whatever is sent fails differently."""
    return Gitpod(bearer_token=TOKEN, base_url="http://127.0.0.1:9", max_retries=0)


@pytest.mark.parametrize(("change", "field", "rule_id", "message"), BAD)
def test_bad_input_is_named(offline: Gitpod, change: dict[str, Any], field: str, rule_id: str, message: str) -> None:
    """The error has the field, the rule and its text; nothing was sent."""
    with pytest.raises(gitpod.InvalidRequestError) as caught:
        offline.secrets.create(**{**GOOD, **change})
    assert not field or (field, rule_id) in [(found.field, found.rule_id) for found in caught.value.violations]
    assert message in str(caught.value)
    assert (caught.value.outcome, caught.value.attempts, caught.value.code) == ("not_sent", 0, "invalid_argument")


def test_every_problem_is_listed(offline: Gitpod) -> None:
    """One call tells all that is wrong with it."""
    with pytest.raises(gitpod.InvalidRequestError) as caught:
        offline.secrets.create(name="a!", value=VALUE * 1000, scope={"user_id": ""})
    found = [(violation.field, violation.rule_id) for violation in caught.value.violations]
    assert sorted(found) == [
        ("mount", "required"),
        ("name", "string.min_len"),
        ("name", "string.pattern"),
        ("scope.user_id", "string.uuid_empty"),
        ("value", "string.max_len"),
    ]
    assert str(caught.value).startswith("invalid request: 5 problems\n  ")
    assert VALUE not in repr(caught.value) + str(caught.value) + repr(caught.value.violations)


def test_other_calls_are_checked_too(offline: Gitpod) -> None:
    """Each by the rules of its own message."""
    calls: list[tuple[Any, dict[str, Any], Violation]] = [
        (
            offline.secrets.get_value,
            {},
            Violation("secret_id", "string.uuid_empty", "value is empty, which is not a valid UUID"),
        ),
        (offline.secrets.delete, {"secret_id": "x"}, Violation("secret_id", "string.uuid", "must be a valid UUID")),
        (
            offline.secrets.update_value,
            {"secret_id": UUID, "value": ""},
            Violation("value", "string.min_len", "must be at least 1 characters"),
        ),
        (
            offline.secrets.list,
            {"page_size": 101},
            Violation(
                "pagination.page_size",
                "int32.gte_lte",
                "must be greater than or equal to 0 and less than or equal to 100",
            ),
        ),
        (
            offline.secrets.list,
            {"page_size": "10"},
            Violation("page_size", "type", "must be a whole number of 32 bits"),
        ),
    ]
    for call, params, expected in calls:
        with pytest.raises(gitpod.InvalidRequestError) as caught:
            call(**params)
        assert caught.value.violations == (expected,)
