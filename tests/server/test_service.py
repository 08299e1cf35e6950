"""The other calls, in every flavour, and what the service refuses by itself."""

import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from connectrpc.protocol import ProtocolType
from protobuf import Oneof
from protovalidate import ViolationsPb
from pyqwest import SyncClient, SyncHTTPTransport
from tests.support.caller import EVERY_FLAVOUR, Caller, Flavour
from tests.support.service import TOKEN, Service

import gitpod
from gitpod_proto.gitpod.v1.pagination_pb import PaginationRequest
from gitpod_proto.gitpod.v1.secret_connect import SecretServiceClientSync
from gitpod_proto.gitpod.v1.secret_pb import (
    CreateSecretRequest,
    DeleteSecretRequest,
    GetSecretValueRequest,
    ListSecretsRequest,
    SecretScope,
    UpdateSecretValueRequest,
)

ProjectId = Oneof[Literal["project_id"], str]
SCOPE = SecretScope(scope=ProjectId("project_id", "b0e12f6c-4c67-429d-a4a6-d9838b5da047"))
API_ONLY = Oneof[Literal["api_only"], bool]("api_only", True)
HEADERS = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture(params=EVERY_FLAVOUR, ids="-".join)
def flavour(request: pytest.FixtureRequest) -> Flavour:
    """The kind, codec and store of `client`: all combinations here, and pairs of values elsewhere."""
    chosen: Flavour = request.param
    return chosen


@pytest.fixture
def stub(service: Service) -> Iterator[SecretServiceClientSync]:
    """The generated stub alone, which checks nothing before it sends."""
    with SyncHTTPTransport() as transport:
        yield SecretServiceClientSync(service.url, http_client=SyncClient(transport), timeout_ms=10_000)


def test_a_value_is_replaced(client: Caller, project: str) -> None:
    """The value changes, and `updated_at` with it; the rest stays."""
    made = client.create(name="ROTATED", value="old", project_id=project, environment_variable=True).secret
    client.update_value(secret_id=made.id, value="new")
    assert client.get_value(secret_id=made.id).value == "new"
    [found] = client.list(filter={"scope": {"project_id": project}})
    assert found.created_at == made.created_at
    assert found.updated_at
    assert made.updated_at
    assert found.updated_at > made.updated_at


def test_a_deleted_secret_is_gone(client: Caller, project: str) -> None:
    """Its id is unknown, its name is free."""
    made = client.create(name="GONE", value="v", project_id=project, api_only=True).secret
    client.delete(secret_id=made.id)
    assert client.list(filter={"scope": {"project_id": project}}) == []
    with pytest.raises(gitpod.NotFoundError):
        client.delete(secret_id=made.id)
    client.create(name="GONE", value="v", project_id=project, api_only=True)


def test_unknown_ids_are_not_found(client: Caller) -> None:
    """By every call that takes one."""
    unknown = str(uuid.uuid4())
    for call, more in ((client.get_value, {}), (client.update_value, {"value": "v"}), (client.delete, {})):
        with pytest.raises(gitpod.NotFoundError) as caught:
            call(secret_id=unknown, **more)
        assert (caught.value.code, caught.value.outcome) == ("not_found", "rejected")


def test_pages_hold_every_secret_once_in_creation_order(client: Caller, project: str) -> None:
    """However small the page, and while secrets are added behind it."""
    made = [
        client.create(name=f"NUM{index}", value="v", project_id=project, api_only=True).secret for index in range(7)
    ]
    scope = {"project_id": project}
    for size in (1, 3, 7, 100):
        assert client.list(filter={"scope": scope}, page_size=size) == made
    page = client.page(filter={"scope": scope}, pagination={"page_size": 5})
    assert page.secrets == made[:5]
    assert page.has_next_page()
    late = client.create(name="LATE", value="v", project_id=project, api_only=True).secret
    rest = client.run(page.get_next_page())
    assert rest.secrets == [*made[5:], late]
    assert not rest.has_next_page()
    with pytest.raises(RuntimeError, match="last page"):
        rest.get_next_page()
    token = page.pagination.next_token
    assert client.list(filter={"scope": scope}, token=token) == rest.secrets


def test_filters_keep_their_scopes(client: Caller, project: str) -> None:
    """One scope, several projects, or the projects that a scope leaves."""
    other = str(uuid.uuid4())
    mine = client.create(name="MINE", value="v", project_id=project, api_only=True).secret
    users = client.create(name="USERS", value="v", scope={"user_id": project}, api_only=True).secret
    others = client.create(name="OTHERS", value="v", project_id=other, api_only=True).secret
    assert client.list(filter={"scope": {"user_id": project}}) == [users]
    assert client.list(filter={"project_ids": [other, project]}) == [mine, others]
    assert client.list(filter={"project_ids": [other], "scope": {"project_id": project}}) == []
    everything = client.list(page_size=100)
    assert [secret for secret in everything if secret in (mine, users, others)] == [mine, users, others]


def test_a_list_holds_no_values(stub: SecretServiceClientSync, project: str) -> None:
    """Not in any field of the message, known or not."""
    scope = SecretScope(scope=ProjectId("project_id", project))
    value = f"canary-{project}"
    stub.create_secret(CreateSecretRequest(name="LISTED", value=value, scope=scope, mount=API_ONLY), headers=HEADERS)
    answer = stub.list_secrets(ListSecretsRequest(filter=ListSecretsRequest.Filter(scope=scope)), headers=HEADERS)
    assert len(answer.secrets) == 1
    assert value.encode() not in answer.to_binary()


@pytest.mark.parametrize(
    ("request_", "field", "rule_id"),
    [
        (CreateSecretRequest(name="A!", scope=SCOPE, mount=API_ONLY), "name", "string.min_len"),
        (CreateSecretRequest(name="NAME", scope=SCOPE), "mount", "required"),
        (CreateSecretRequest(name="NAME", scope=SCOPE, mount=Oneof("file_path", "a")), "file_path", "absolute_path"),
        (CreateSecretRequest(name="NAME", mount=API_ONLY), "scope", "required"),
        (CreateSecretRequest(name="NAME", mount=API_ONLY, scope=SecretScope()), "scope", "required"),
        (
            CreateSecretRequest(name="NAME", scope=SCOPE, mount=Oneof("container_registry_basic_auth_host", "a b")),
            "container_registry_basic_auth_host",
            "string.uri",
        ),
    ],
)
def test_the_service_checks_by_the_same_rules(
    stub: SecretServiceClientSync, request_: CreateSecretRequest, field: str, rule_id: str
) -> None:
    """INVALID_ARGUMENT, with the violations as error details."""
    with pytest.raises(ConnectError) as caught:
        stub.create_secret(request_, headers=HEADERS)
    assert caught.value.code is Code.INVALID_ARGUMENT
    [detail] = caught.value.details
    violations = detail.value(ViolationsPb)
    assert violations
    first = violations.violations[0]
    assert first.field
    assert (".".join(element.field_name for element in first.field.elements), first.rule_id) == (field, rule_id)


def test_a_project_that_contradicts_the_scope_is_refused(stub: SecretServiceClientSync, project: str) -> None:
    """The two are one thing said twice; when they differ, neither is guessed to be right."""
    request = CreateSecretRequest(name="NAME", scope=SCOPE, mount=API_ONLY)
    request.project_id = project  # pyright: ignore[reportDeprecated] # what the test is about
    with pytest.raises(ConnectError, match=r"^project_id: contradicts scope; leave it out$"):
        stub.create_secret(request, headers=HEADERS)


def test_a_project_may_be_said_twice(client: Caller, project: str) -> None:
    """Case does not tell UUIDs apart."""
    scope = {"project_id": project.upper()}
    made = client.create(name="NAME", value="v", project_id=project, scope=scope, api_only=True).secret
    assert made.project_id == project


@pytest.mark.parametrize("flag", ["environment_variable", "api_only"])
def test_a_mount_that_is_false_is_refused(stub: SecretServiceClientSync, flag: Any) -> None:
    """It would be a secret that is mounted nowhere, and not said to be."""
    request = CreateSecretRequest(name="NAME", scope=SCOPE, mount=Oneof(flag, False))
    with pytest.raises(ConnectError, match=f"^{flag}: must be true, or left out$") as caught:
        stub.create_secret(request, headers=HEADERS)
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_a_project_that_is_no_uuid_is_refused_by_the_service(stub: SecretServiceClientSync) -> None:
    """By the rule of what it stands for, and under the name that it was given by."""
    request = CreateSecretRequest(name="NAME", mount=API_ONLY)
    request.project_id = "my-project"  # pyright: ignore[reportDeprecated]
    with pytest.raises(ConnectError, match=r"^project_id: must be a valid UUID$"):
        stub.create_secret(request, headers=HEADERS)


def test_what_surrounds_a_value_is_bounded(client: Caller, project: str) -> None:
    """Or a page of a hundred would be an answer that no client takes."""
    with pytest.raises(gitpod.BadRequestError, match="all but its value must take at most 8192 bytes"):
        client.create(name="LONG", value="v", project_id=project, file_path="/" + "x" * 8192)
    client.create(name="LONG", value="v", project_id=project, file_path="/" + "x" * 7000)


def test_an_empty_scope_in_a_filter_is_refused(stub: SecretServiceClientSync) -> None:
    """It is neither every scope nor one of them."""
    request = ListSecretsRequest(filter=ListSecretsRequest.Filter(scope=SecretScope()))
    with pytest.raises(ConnectError, match=r"^filter\.scope: needs one of project_id, user_id"):
        stub.list_secrets(request, headers=HEADERS)


@pytest.mark.parametrize("token", ["nonsense", "?", "1.2", "-1.{}", "99999999999999999999999.{}", "1.{}x", "{}"])
def test_a_made_up_page_token_is_refused(client: Caller, token: str) -> None:
    """And named, however it is made up."""
    made_up = urlsafe_b64encode(token.format(uuid.uuid4()).encode()).decode()
    for each in (token, made_up):
        with pytest.raises(gitpod.BadRequestError, match=r"pagination\.token: is not one that this service gave"):
            client.list(token=each)


def test_grpc_web_reaches_the_same_handlers(service: Service, project: str) -> None:
    """The third protocol that the socket speaks."""
    with SyncHTTPTransport() as transport:
        web = SecretServiceClientSync(
            service.url, protocol=ProtocolType.GRPC_WEB, http_client=SyncClient(transport), timeout_ms=10_000
        )
        scope = SecretScope(scope=ProjectId("project_id", project))
        request = CreateSecretRequest(name="NAME", value="v", scope=scope, mount=API_ONLY)
        made = web.create_secret(request, headers=HEADERS).secret
        assert made
        assert web.get_secret_value(GetSecretValueRequest(secret_id=made.id), headers=HEADERS).value == "v"
        for headers, code in ((HEADERS, Code.ALREADY_EXISTS), ({}, Code.UNAUTHENTICATED)):
            with pytest.raises(ConnectError) as caught:
                web.create_secret(request, headers=headers)
            assert caught.value.code is code


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x"])
def test_a_socket_needs_the_bearer_token(stub: SecretServiceClientSync, authorization: str | None) -> None:
    """Every call is UNAUTHENTICATED without it, whatever else is wrong with it."""
    headers = {} if authorization is None else {"authorization": authorization}
    unknown = str(uuid.uuid4())
    calls: list[Callable[[], object]] = [
        lambda: stub.create_secret(CreateSecretRequest(), headers=headers),
        lambda: stub.update_secret_value(UpdateSecretValueRequest(secret_id=unknown, value="v"), headers=headers),
        lambda: stub.get_secret_value(GetSecretValueRequest(secret_id=unknown), headers=headers),
        lambda: stub.delete_secret(DeleteSecretRequest(secret_id=unknown), headers=headers),
        lambda: stub.list_secrets(ListSecretsRequest(pagination=PaginationRequest(page_size=1)), headers=headers),
    ]
    for call in calls:
        with pytest.raises(ConnectError) as caught:
            call()
        assert caught.value.code is Code.UNAUTHENTICATED
