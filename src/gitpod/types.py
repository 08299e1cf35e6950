"""What goes in and what comes out: TypedDicts for parameters, frozen dataclasses for results.

Nothing here knows the wire; `_params.py` and `_results.py` convert to and from its messages.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, Required, TypeAlias, TypedDict, cast

from gitpod._secret_value import SecretValue

__all__ = [
    "CredentialProxy",
    "CredentialProxyParam",
    "ErrorCode",
    "OidcJFrog",
    "OidcJFrogParam",
    "Principal",
    "Secret",
    "SecretCreateParams",
    "SecretCreateResponse",
    "SecretDeleteParams",
    "SecretGetValueParams",
    "SecretGetValueResponse",
    "SecretListFilter",
    "SecretListPagination",
    "SecretListParams",
    "SecretPutResponse",
    "SecretScope",
    "SecretScopeParam",
    "SecretUpdateValueParams",
    "SecretValue",
    "Source",
    "SourceParam",
    "Subject",
    "SupportsSecretValue",
]

Principal: TypeAlias = Literal[
    "PRINCIPAL_UNSPECIFIED",
    "PRINCIPAL_ACCOUNT",
    "PRINCIPAL_USER",
    "PRINCIPAL_RUNNER",
    "PRINCIPAL_ENVIRONMENT",
    "PRINCIPAL_SERVICE_ACCOUNT",
    "PRINCIPAL_RUNNER_MANAGER",
]
"""The kinds of `Subject` that the contract names (`gitpod.v1.Principal`)."""


ErrorCode: TypeAlias = Literal[
    "canceled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
]
"""The names of the Connect error codes, which `APIError.code` holds."""


class _Model:
    """A result: a frozen dataclass that knows the JSON of the public API reference."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """The documented JSON as a dict: camelCase names, RFC 3339 times, unset fields left out."""
        named = ((_camel(name), _json(value)) for name, value in self._set())
        return dict(named)

    def to_json(self, *, indent: int | None = 2) -> str:
        """The documented JSON as text, indented by 2 unless told otherwise."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)

    def _set(self) -> list[tuple[str, Any]]:
        """The fields that are set, by name."""
        every = ((field.name, getattr(self, field.name)) for field in fields(self))  # type: ignore[arg-type]  # every subclass is a dataclass
        return [(name, value) for name, value in every if value is not None]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._set())})"


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.title() for word in rest)


def _json(value: Any) -> Any:  # noqa: ANN401 # any field of any model
    if isinstance(value, _Model):
        return value.to_dict()
    if isinstance(value, datetime):
        # The protobuf JSON mapping: UTC, with no, three or six digits of a second.
        text = value.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00")
        return text.removesuffix("000").removesuffix(".000") + "Z"
    if isinstance(value, tuple):
        return list(cast("tuple[str, ...]", value))
    return value


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SecretScope(_Model):
    """Whose a secret is: one id, a UUID (`gitpod.v1.SecretScope`)."""

    project_id: str | None = None
    user_id: str | None = None
    organization_id: str | None = None
    service_account_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CredentialProxy(_Model):
    """The hosts and the HTTP header to which a proxy adds the secret (`gitpod.v1.Secret.CredentialProxy`)."""

    target_hosts: tuple[str, ...] = ()
    header: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class OidcJFrog(_Model):
    """A JFrog platform that issues the credentials (`gitpod.v1.Secret.Source.OidcJFrog`)."""

    host: str
    provider_name: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Source(_Model):
    """Where a secret's value comes from (`gitpod.v1.Secret.Source`)."""

    verbatim: bool | None = None
    oidc_jfrog: OidcJFrog | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Subject(_Model):
    """Who did something (`gitpod.v1.Subject`).

    A `principal` that is newer than this package ends in its number; in JSON it reads as unspecified.
    """

    id: str | None = None
    principal: Principal | str = "PRINCIPAL_UNSPECIFIED"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Secret(_Model):
    """Everything about a stored secret but its value (`gitpod.v1.Secret`).

    Just one of `environment_variable`, `file_path`, `container_registry_basic_auth_host` and
    `api_only` is set: how environments receive it. Times are aware datetimes in UTC.
    """

    id: str
    name: str
    environment_variable: bool | None = None
    file_path: str | None = None
    container_registry_basic_auth_host: str | None = None
    api_only: bool | None = None
    project_id: str | None = None
    scope: SecretScope | None = None
    credential_proxy: CredentialProxy | None = None
    source: Source | None = None
    creator: Subject | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SecretCreateResponse(_Model):
    """What `secrets.create` returns (`gitpod.v1.CreateSecretResponse`)."""

    secret: Secret


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SecretPutResponse(_Model):
    """What `secrets.put` returns: the secret, and what was done.

    `action` is `"created"`; `"updated"`, when the name existed as the value was written; or `"replaced"`.
    An updated secret is as it was found: `updated_at` is of the change before.
    """

    secret: Secret
    action: Literal["created", "updated", "replaced"]


SecretGetValueResponse = SecretValue
"""`SecretValue`, by the name that gitpod-sdk 0.11 has for what `secrets.get_value` returns."""


class SupportsSecretValue(Protocol):
    """What hides a secret text: a `SecretValue`, or pydantic's SecretStr."""

    def get_secret_value(self) -> str:
        """The text."""
        ...


class SecretScopeParam(TypedDict, total=False):
    """Whose a secret is; set one."""

    project_id: str
    user_id: str
    organization_id: str
    service_account_id: str


class CredentialProxyParam(TypedDict, total=False):
    """The hosts and the HTTP header to which a proxy adds the secret."""

    target_hosts: Sequence[str]
    header: str


class OidcJFrogParam(TypedDict):
    """A JFrog platform that issues the credentials."""

    host: str
    provider_name: str


class SourceParam(TypedDict, total=False):
    """Where a secret's value comes from; set one. Left out means verbatim."""

    verbatim: bool
    oidc_jfrog: OidcJFrogParam | OidcJFrog


class SecretCreateParams(TypedDict, total=False):
    """The parameters of `secrets.create` and `secrets.put`; `proto/gitpod/v1/secret.proto` has every rule."""

    name: Required[str]
    value: str | SupportsSecretValue
    environment_variable: bool
    file_path: str
    container_registry_basic_auth_host: str
    api_only: bool
    project_id: str
    scope: SecretScopeParam | SecretScope
    credential_proxy: CredentialProxyParam | CredentialProxy
    source: SourceParam | Source


class SecretListFilter(TypedDict, total=False):
    """Which secrets to list. `project_ids` is deprecated: use `scope`."""

    scope: SecretScopeParam | SecretScope
    project_ids: Sequence[str]


class SecretListPagination(TypedDict, total=False):
    """Which page to list: at most `page_size` (0 to 100, 0 means 25) secrets, from `token` on."""

    page_size: int
    token: str


class SecretListParams(TypedDict, total=False):
    """The parameters of `secrets.list`. `token` and `page_size` win over those in `pagination`."""

    filter: SecretListFilter
    pagination: SecretListPagination
    page_size: int
    token: str


class SecretGetValueParams(TypedDict):
    """The parameters of `secrets.get_value`."""

    secret_id: str


class SecretUpdateValueParams(TypedDict):
    """The parameters of `secrets.update_value`."""

    secret_id: str
    value: str | SupportsSecretValue


class SecretDeleteParams(TypedDict):
    """The parameters of `secrets.delete`."""

    secret_id: str
