"""The types of parameters and results: TypedDicts go in, frozen dataclasses come out.

They have the fields of the messages of `gitpod.v1`, and a test compares both. `_messages.requests` and
`_messages.results` convert between them by name.
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
"""The names of the Connect error codes, as in `APIError.code`."""


class _Model:
    """A result: a frozen dataclass that can be written as the JSON of the public API reference."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the documented JSON as a dict: camelCase names, RFC 3339 times, no fields that are not set."""
        named = ((_camel(name), _json(value)) for name, value in self._set())
        return dict(named)

    def to_json(self, *, indent: int | None = 2) -> str:
        """Return the documented JSON as text. `indent` is in spaces, 2 by default; None puts it on one line."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)

    def _set(self) -> list[tuple[str, Any]]:
        """Return the names and values of the fields that are set."""
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
    """Who owns a secret (`gitpod.v1.SecretScope`): one of these ids is set, a UUID."""

    project_id: str | None = None
    user_id: str | None = None
    organization_id: str | None = None
    service_account_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CredentialProxy(_Model):
    """How a proxy adds the secret to requests (`gitpod.v1.Secret.CredentialProxy`): to which hosts, in which header."""

    target_hosts: tuple[str, ...] = ()
    header: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class OidcJFrog(_Model):
    """A JFrog platform that issues the credentials (`gitpod.v1.Secret.Source.OidcJFrog`). `host` may have a port."""

    host: str
    provider_name: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Source(_Model):
    """Where a secret's value comes from (`gitpod.v1.Secret.Source`): `verbatim`, as given, or `oidc_jfrog`."""

    verbatim: bool | None = None
    oidc_jfrog: OidcJFrog | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Subject(_Model):
    """Who called the service (`gitpod.v1.Subject`): `id`, a UUID or None, and `principal`, the kind of caller.

    A `principal` that is newer than this package ends in its number. The JSON codec reads it as unspecified.
    """

    id: str | None = None
    principal: Principal | str = "PRINCIPAL_UNSPECIFIED"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Secret(_Model):
    """A stored secret, without its value (`gitpod.v1.Secret`).

    Exactly one of `environment_variable`, `file_path`, `container_registry_basic_auth_host` and `api_only` is set:
    it says how environments receive the secret. Ids are UUIDs. Times are aware datetimes in UTC.
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
    """The result of `secrets.create` (`gitpod.v1.CreateSecretResponse`): the secret as it was stored."""

    secret: Secret


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SecretPutResponse(_Model):
    """The result of `secrets.put`: the secret, and what `put` did.

    `action` is `"created"`, `"updated"` if a secret of that name existed and got the value, or `"replaced"`.
    After an update, `secret` is as it was found, so its `updated_at` is the time of the change before.
    """

    secret: Secret
    action: Literal["created", "updated", "replaced"]


SecretGetValueResponse = SecretValue
"""`SecretValue`, under the name that gitpod-sdk 0.11 has for the result of `secrets.get_value`."""


class SupportsSecretValue(Protocol):
    """A value that hides its text, such as a `SecretValue` or pydantic's SecretStr."""

    def get_secret_value(self) -> str:
        """Return the text."""
        ...


class SecretScopeParam(TypedDict, total=False):
    """Who owns a secret (`gitpod.v1.SecretScope`). Set one id, a UUID."""

    project_id: str
    user_id: str
    organization_id: str
    service_account_id: str


class CredentialProxyParam(TypedDict, total=False):
    """How a proxy adds the secret to requests: to which `target_hosts`, in which HTTP `header`."""

    target_hosts: Sequence[str]
    header: str


class OidcJFrogParam(TypedDict):
    """A JFrog platform that issues the credentials; see `OidcJFrog`."""

    host: str
    provider_name: str


class SourceParam(TypedDict, total=False):
    """Where a secret's value comes from. Set one; `verbatim` is the default."""

    verbatim: bool
    oidc_jfrog: OidcJFrogParam | OidcJFrog


class SecretCreateParams(TypedDict, total=False):
    """The parameters of `secrets.create` and `secrets.put`, for `create(**params)`; `create` documents them."""

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
    """Which secrets to list: those of one `scope`. `project_ids`, at most 25 UUIDs, is deprecated."""

    scope: SecretScopeParam | SecretScope
    project_ids: Sequence[str]


class SecretListPagination(TypedDict, total=False):
    """Which page to list: at most `page_size` secrets (0 to 100, 0 means 25), from the `next_token` before on."""

    page_size: int
    token: str


class SecretListParams(TypedDict, total=False):
    """The parameters of `secrets.list`. `page_size` and `token` win over those in `pagination`."""

    filter: SecretListFilter
    pagination: SecretListPagination
    page_size: int
    token: str


class SecretGetValueParams(TypedDict):
    """The parameters of `secrets.get_value`. `secret_id` is a UUID."""

    secret_id: str


class SecretUpdateValueParams(TypedDict):
    """The parameters of `secrets.update_value`. `secret_id` is a UUID; `value` has 1 to 10240 characters."""

    secret_id: str
    value: str | SupportsSecretValue


class SecretDeleteParams(TypedDict):
    """The parameters of `secrets.delete`. `secret_id` is a UUID."""

    secret_id: str
