"""The public signatures, for the type checkers; this file is checked and never run."""

from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Literal, assert_type

import httpx
from pydantic import SecretStr
from pyqwest import SyncHTTPTransport

from gitpod import (
    APIResponse,
    AsyncAPIResponse,
    AsyncGitpod,
    Gitpod,
    GitpodError,
    InvalidRequestError,
    SecretValue,
    Violation,
)
from gitpod.pagination import AsyncPaginator, AsyncSecretsPage, SyncSecretsPage
from gitpod.types import (
    ErrorCode,
    Secret,
    SecretCreateParams,
    SecretCreateResponse,
    SecretScope,
    Subject,
)

PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
PARAMS: SecretCreateParams = {"name": "NAME", "value": "v", "project_id": PROJECT, "file_path": "/k"}


def sync_client(client: Gitpod) -> None:
    """Every call of the sync client."""
    response = client.secrets.create(
        name="NAME",
        value="v",
        environment_variable=True,
        file_path="/k",
        container_registry_basic_auth_host="https://registry.example.com",
        api_only=False,
        project_id=PROJECT,
        scope={"project_id": PROJECT},
        credential_proxy={"target_hosts": ["a.example.com"], "header": "Authorization"},
        source={"oidc_jfrog": {"host": "a.jfrog.io", "provider_name": "p"}},
        timeout=5,
        extra_headers={"x-team": "a"},
    )
    assert_type(response, SecretCreateResponse)
    assert_type(response.secret, Secret)
    assert_type(response.to_json(), str)
    assert_type(response.secret.environment_variable, bool | None)
    assert_type(response.secret.file_path, str | None)
    assert_type(response.secret.created_at, datetime | None)
    assert_type(response.secret.creator, Subject | None)
    assert_type(response.secret.scope, SecretScope | None)
    client.secrets.create(**PARAMS)
    client.secrets.create(name="NAME", value="v", file_path=None, scope=None, api_only=True)
    client.secrets.create(name="NAME", scope=SecretScope(user_id=PROJECT), api_only=True)
    page = client.secrets.list(filter={"scope": {"project_id": PROJECT}}, page_size=10, token="t")
    assert_type(page, SyncSecretsPage)
    assert_type(page, SyncSecretsPage[Secret])
    assert_type(iter(page), Iterator[Secret])
    assert_type(page.get_next_page(), SyncSecretsPage)
    assert_type(client.secrets.get_value(secret_id=PROJECT), SecretValue)
    assert_type(client.secrets.get_value(secret_id=PROJECT).reveal(), str)
    put = client.secrets.put(**PARAMS, replace=True, timeout=5)
    assert_type(put.secret, Secret)
    assert_type(put.action, Literal["created", "updated", "replaced"])
    client.secrets.put(name="NAME", value=SecretValue("v"), api_only=True)
    client.secrets.update_value(secret_id=PROJECT, value=SecretStr("v"))
    assert_type(client.with_options(timeout=1, codec="json"), Gitpod)
    with client as entered:
        assert_type(entered, Gitpod)


def raw_responses(client: Gitpod) -> None:
    """The same signatures, with what came beside the result."""
    response = client.secrets.with_raw_response.create(**PARAMS, timeout=5)
    assert_type(response, APIResponse[SecretCreateResponse])
    assert_type(response.parse().secret, Secret)
    assert_type(response.headers["x"], str)
    assert_type(client.secrets.with_raw_response.list().parse(), SyncSecretsPage[Secret])
    client.secrets.with_raw_response.get_value(secret=PROJECT)  # type: ignore[call-arg]


def options(http: httpx.Client, transport: SyncHTTPTransport) -> None:
    """What a client may be made with."""
    Gitpod(protocol="grpc", codec="json", compression="zstd", http2=True, ca_cert="ca.pem", client_cert=("a", "b"))
    Gitpod(http_client=http, default_headers={"a": "b"}, allow_plaintext=True)
    Gitpod(http_client=transport)
    Gitpod(protocol="soap")  # type: ignore[arg-type]


async def async_client(client: AsyncGitpod) -> None:
    """Every call of the async client."""
    assert_type(await client.secrets.create(**PARAMS), SecretCreateResponse)
    assert_type(client.secrets.list(), AsyncPaginator)
    assert_type(await client.secrets.list(), AsyncSecretsPage)
    assert_type(aiter(client.secrets.list()), AsyncIterator[Secret])
    assert_type(await client.secrets.get_value(secret_id=PROJECT), SecretValue)
    assert_type((await client.secrets.put(**PARAMS)).secret, Secret)
    raw = await client.secrets.with_raw_response.list()
    assert_type(raw, AsyncAPIResponse[AsyncSecretsPage[Secret]])
    assert_type(await raw.parse(), AsyncSecretsPage[Secret])
    await client.secrets.update_value(secret_id=PROJECT, value="v")
    await client.secrets.delete(secret_id=PROJECT)
    async with client as entered:
        assert_type(entered, AsyncGitpod)


def errors(error: InvalidRequestError) -> None:
    """What an error knows."""
    assert_type(error.violations, tuple[Violation, ...])
    assert_type(error.code, ErrorCode)
    assert_type(error.attempts, int)
    assert_type(error.request_id, str | None)
    parent: GitpodError = error
    raise parent


def mistakes(client: Gitpod) -> None:
    """What a type checker must refuse: an ignore without an error would be reported."""
    client.secrets.create(value="v")  # type: ignore[call-arg]
    client.secrets.create(name="NAME", colour="red")  # type: ignore[call-arg]
    client.secrets.create(name=3)  # type: ignore[arg-type]
    client.secrets.create(name="NAME", value=None)  # type: ignore[arg-type]
    client.secrets.put(**PARAMS, colour="red")  # type: ignore[call-arg]
    client.secrets.list(use_get=True)  # type: ignore[call-arg]
    client.secrets.create(name="NAME", scope={"projectId": "x"})  # type: ignore[arg-type]
    client.secrets.get_value()  # type: ignore[call-arg]
    Gitpod(codec="xml")  # type: ignore[arg-type]
    client.with_options(base_url="x")  # type: ignore[call-arg]
