"""What is refused before anything is sent, and how it is said."""

from typing import Any

import pytest
from tests.support.service import TOKEN

import gitpod
from gitpod import Gitpod, SecretValue, Violation
from gitpod._messages import requests
from gitpod.types import SecretScope, Source
from gitpod_proto.gitpod.v1 import pagination_pb

UUID = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
GOOD: dict[str, Any] = {"name": "NAME", "value": "v", "project_id": UUID, "api_only": True}
VALUE = "s3cret-canary"
JFROG: dict[str, Any] = {"oidc_jfrog": {"host": "a.jfrog.io", "provider_name": "ci"}}


class Unreadable:
    """A hidden value whose holder fails, and quotes it."""

    def get_secret_value(self) -> str:
        raise RuntimeError(VALUE)


class Holder:
    """Something with a `get_secret_value()` that gives what is no text."""

    def __init__(self, held: object) -> None:
        self.get_secret_value = lambda: held


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
    ({"value": None, "source": JFROG}, "value", "type", "must be a string, and is None"),
    (
        {"source": {"oidc_jfrog": {**JFROG["oidc_jfrog"], "user_id": 1}}},
        "source.oidc_jfrog.user_id",
        "unknown_field",
        "",
    ),
    ({"organization_id": UUID}, "organization_id", "unknown_field", 'write scope={"organization_id": ...}'),
    ({"header": "x"}, "header", "unknown_field", 'write credential_proxy={"header": ...}'),
    ({"host": "x"}, "host", "unknown_field", 'write source={"oidc_jfrog": {"host": ...}}'),
    ({"extra_query": {}}, "extra_query", "unknown_field", "every field has a parameter of its own"),
    ({"a value": 1}, "?", "unknown_field", "?: is not a parameter"),
    ({"value": Unreadable()}, "value", "type", "cannot be read"),
    ({"value": Holder(None)}, "value", "type", "must be a string, and is None"),
    ({"value": Holder(b"bytes")}, "value", "type", "must be a string"),
    ({"value": Holder(VALUE + "\udfff")}, "value", "string.utf8", "without lone surrogates"),
    ({"user_id": UUID}, "user_id", "unknown_field", 'write scope={"user_id": ...}'),
    ({"extra_headers": {"Content-Length": "3"}}, "", "", "extra_headers: 'Content-Length' is for the protocol"),
    ({"value": VALUE + "\ud800"}, "value", "string.utf8", "without lone surrogates"),
    ({"api_only": 1}, "api_only", "type", "must be True or False"),
    ({"scope": {"project_id": UUID, "user_id": UUID}}, "scope", "oneof", "project_id and user_id were given"),
    ({"scope": SecretScope(project_id=UUID, user_id=UUID)}, "scope", "oneof", "project_id and user_id were given"),
    ({"scope": {"project_id": "nonsense"}}, "scope.project_id", "string.uuid", "must be a valid UUID"),
    ({"scope": {"projectId": UUID}}, "scope.projectId", "unknown_field", "there are project_id, user_id"),
    ({"scope": UUID}, "scope", "type", "must be a mapping"),
    ({"project_id": None}, "scope", "required", "scope: must be given, or project_id, as names are unique within it"),
    ({"project_id": None, "scope": {}}, "scope", "required", "scope: must be given, or project_id"),
    ({"project_id": "", "scope": SecretScope()}, "scope", "required", "scope: must be given, or project_id"),
    ({"scope": {"user_id": UUID}}, "project_id", "scope_agrees", "contradicts scope; leave it out"),
    (
        {"scope": {"project_id": UUID.replace("b", "c")}},
        "project_id",
        "scope_agrees",
        "contradicts scope; leave it out",
    ),
    (
        {"api_only": False, "container_registry_basic_auth_host": "registry.example.com"},
        "container_registry_basic_auth_host",
        "string.uri",
        "must be a valid URI",
    ),
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
        (
            offline.secrets.list,
            {"pagination": {"page_size": 2**31}},
            Violation("pagination.page_size", "type", "must be a whole number of 32 bits"),
        ),
        (
            offline.secrets.list,
            {"filter": {"scope": {}}},
            Violation(
                "filter.scope", "required", "needs one of project_id, user_id, organization_id, service_account_id"
            ),
        ),
        (
            offline.secrets.list,
            {"filter": {"scope": {"projectId": UUID}}},
            Violation(
                "filter.scope.projectId",
                "unknown_field",
                "is not a parameter; there are project_id, user_id, organization_id, service_account_id",
            ),
        ),
        (
            offline.secrets.list,
            {"project_id": UUID},
            Violation("project_id", "unknown_field", 'is not a parameter; write filter={"scope": {"project_id": ...}}'),
        ),
    ]
    for call, params, expected in calls:
        with pytest.raises(gitpod.InvalidRequestError) as caught:
            call(**params)
        assert caught.value.violations == (expected,)


@pytest.mark.parametrize("source", [None, {}, {"verbatim": True}, {"verbatim": False}, Source(verbatim=True)])
def test_a_value_may_only_be_left_out_if_it_comes_from_elsewhere(offline: Gitpod, source: Any) -> None:
    """Nobody stores an empty secret by forgetting its value."""
    params = {name: given for name, given in GOOD.items() if name != "value"}
    with pytest.raises(gitpod.InvalidRequestError) as caught:
        offline.secrets.create(**params, source=source)
    assert caught.value.violations == (
        Violation("value", "required", "must be given, unless source says where it comes from"),
    )


@pytest.mark.parametrize("given", [{"value": ""}, {"value": SecretValue("")}, {"source": JFROG}])
def test_a_value_may_be_empty_or_come_from_elsewhere(given: dict[str, Any]) -> None:
    """Both are stored."""
    params = {name: good for name, good in GOOD.items() if name != "value"}
    with Gitpod(base_url="sqlite://") as client:
        made = client.secrets.create(**params, **given).secret
        assert client.secrets.get_value(secret_id=made.id).reveal() == ""


def test_a_name_that_is_missing_is_a_type_error(offline: Gitpod) -> None:
    """As for every Python function, and not blamed on this package."""
    for create in (offline.secrets.create, offline.secrets.put, offline.secrets.with_raw_response.create):
        with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'name'") as caught:
            create(value=VALUE, api_only=True)  # type: ignore[call-arg]
        assert not hasattr(caught.value, "__notes__")


def test_a_flag_of_the_wrong_type_is_the_only_problem(offline: Gitpod) -> None:
    """The mount is wrong, but not missing."""
    wrong: dict[str, Any] = {"api_only": "yes"}
    with pytest.raises(gitpod.InvalidRequestError) as caught:
        offline.secrets.create(**{**GOOD, **wrong})
    assert [found.field for found in caught.value.violations] == ["api_only"]


def test_page_size_and_token_win_over_those_in_pagination() -> None:
    """Each of its own, and 0 too."""
    request = requests.list_request({"page_size": 0, "pagination": {"page_size": 7, "token": "t"}})
    assert request.pagination == pagination_pb.PaginationRequest(page_size=0, token="t")
    request = requests.list_request({"token": "u", "pagination": {"page_size": 7, "token": "t"}})
    assert request.pagination == pagination_pb.PaginationRequest(page_size=7, token="u")
