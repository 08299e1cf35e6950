"""Response messages to results; nothing here does I/O.

Each `*_response` turns the answer into what the caller gets, or raises `UntrustedResponseError`.
"""

from datetime import datetime
from typing import TypedDict, assert_never

from protobuf import Message
from protobuf.wkt import Timestamp

from gitpod import types
from gitpod._messages.requests import Mount
from gitpod._secret_value import SecretValue
from gitpod_proto.gitpod.v1 import secret_pb


class UntrustedResponseError(Exception):
    """An answer that decodes but does not say what the contract promises."""


def create_response(message: secret_pb.CreateSecretResponse) -> types.SecretCreateResponse:
    """What `secrets.create` returns."""
    if message.secret is None:
        raise UntrustedResponseError("the answer holds no secret")
    return types.SecretCreateResponse(secret=secret(message.secret))


def get_value_response(message: secret_pb.GetSecretValueResponse) -> SecretValue:
    """What `secrets.get_value` returns."""
    return SecretValue(message.value)


def empty_response(message: Message) -> None:  # there is nothing in it
    """What `secrets.update_value` and `secrets.delete` return."""


def list_response(message: secret_pb.ListSecretsResponse) -> tuple[list[types.Secret], str | None]:
    """The secrets of one page of `secrets.list`, and the token of the next page."""
    token = message.pagination.next_token if message.pagination else ""
    return [secret(item) for item in message.secrets], token or None


def secret(message: secret_pb.Secret) -> types.Secret:
    """One secret of an answer."""
    if not message.id:
        raise UntrustedResponseError("the answer holds a secret without an id")
    proxy, creator = message.credential_proxy, message.creator
    return types.Secret(
        id=message.id,
        name=message.name,
        project_id=message.project_id or None,  # pyright: ignore[reportDeprecated] # documented, hence kept
        scope=_scope_result(message.scope),
        credential_proxy=types.CredentialProxy(target_hosts=tuple(proxy.target_hosts), header=proxy.header or None)
        if proxy
        else None,
        source=_source_result(message.source) if message.source else None,
        creator=types.Subject(id=creator.id or None, principal=f"PRINCIPAL_{creator.principal}") if creator else None,
        created_at=_time(message.created_at),
        updated_at=_time(message.updated_at),
        **_mount_result(message.mount),
    )


def _time(message: Timestamp | None) -> datetime | None:
    try:
        return message.to_datetime() if message else None
    except OverflowError:
        raise UntrustedResponseError("the answer holds a time that is out of range") from None


class _MountResult(TypedDict, total=False):
    environment_variable: bool
    file_path: str
    container_registry_basic_auth_host: str
    api_only: bool


def _mount_result(mount: Mount | None) -> _MountResult:
    if mount is None:
        return {}
    if mount.field == "environment_variable":
        return {"environment_variable": mount.value}
    if mount.field == "file_path":
        return {"file_path": mount.value}
    if mount.field == "container_registry_basic_auth_host":
        return {"container_registry_basic_auth_host": mount.value}
    if mount.field == "api_only":
        return {"api_only": mount.value}
    assert_never(mount)


def _scope_result(message: secret_pb.SecretScope | None) -> types.SecretScope | None:
    if message is None or message.scope is None:
        return None
    scope = message.scope
    if scope.field == "project_id":
        return types.SecretScope(project_id=scope.value)
    if scope.field == "user_id":
        return types.SecretScope(user_id=scope.value)
    if scope.field == "organization_id":
        return types.SecretScope(organization_id=scope.value)
    if scope.field == "service_account_id":
        return types.SecretScope(service_account_id=scope.value)
    assert_never(scope)


def _source_result(message: secret_pb.Secret.Source) -> types.Source:
    if message.value is None:
        return types.Source()
    if message.value.field == "verbatim":
        return types.Source(verbatim=message.value.value)
    if message.value.field == "oidc_jfrog":
        jfrog = message.value.value
        return types.Source(oidc_jfrog=types.OidcJFrog(host=jfrog.host, provider_name=jfrog.provider_name))
    assert_never(message.value)
