"""Parameters to request messages; nothing here does I/O.

Each `*_request` takes the keywords of a call and returns the message, or raises `InvalidRequestError`
with everything that is wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar, cast

import protovalidate
from protobuf import Message, Oneof

from gitpod import types
from gitpod.errors import InvalidRequestError, Violation, violation
from gitpod_proto.gitpod.v1 import pagination_pb, secret_pb

M = TypeVar("M", bound=Message)

MOUNTS = ("environment_variable", "file_path", "container_registry_basic_auth_host", "api_only")
FLAGS = ("environment_variable", "api_only", "verbatim")

HINTS = {
    "project_id": 'write filter={"scope": {"project_id": ...}}',
    "user_id": 'write scope={"user_id": ...}',
    "organization_id": 'write scope={"organization_id": ...}',
    "service_account_id": 'write scope={"service_account_id": ...}',
    "extra_body": "every field has a parameter of its own",
    "extra_query": "every field has a parameter of its own",
}
"""What to write instead of names that are easily taken for parameters."""

# A oneof's member, by name and type. Named, as mypy does not infer the one that a union calls for.
EnvironmentVariable = Oneof[Literal["environment_variable"], bool]
FilePath = Oneof[Literal["file_path"], str]
RegistryHost = Oneof[Literal["container_registry_basic_auth_host"], str]
ApiOnly = Oneof[Literal["api_only"], bool]
Mount = EnvironmentVariable | FilePath | RegistryHost | ApiOnly
ProjectId = Oneof[Literal["project_id"], str]
UserId = Oneof[Literal["user_id"], str]
OrganizationId = Oneof[Literal["organization_id"], str]
ServiceAccountId = Oneof[Literal["service_account_id"], str]
Scope = ProjectId | UserId | OrganizationId | ServiceAccountId
Verbatim = Oneof[Literal["verbatim"], bool]
FromJFrog = Oneof[Literal["oidc_jfrog"], secret_pb.Secret.Source.OidcJFrog]


class _Reader:
    """Reads a mapping of parameters by name and type, and notes whatever does not fit."""

    def __init__(self, params: object, allowed: type, path: str = "", problems: list[Violation] | None = None) -> None:
        self.path = path
        self.problems: list[Violation] = [] if problems is None else problems
        self.read: dict[str, object] = {}
        if is_dataclass(params) and not isinstance(params, type):
            self.read = {field.name: getattr(params, field.name) for field in fields(params)}
        elif isinstance(params, Mapping):
            self.read = {
                name if isinstance(name, str) else "?": value
                for name, value in cast("Mapping[object, object]", params).items()
            }
        elif params is not None:
            self.note("", "type", "must be a mapping")
        known: Mapping[str, object] = allowed.__annotations__
        for name in self.read:
            if name not in known:
                # A text that is no name may be a value in the wrong place.
                shown = name if name.isidentifier() else "?"
                there = HINTS.get(name, f"there are {', '.join(known)}")
                self.note(shown, "unknown_field", f"is not a parameter; {there}")

    def note(self, name: str, rule_id: str, message: str) -> None:
        """Note one problem of the parameter `name`, or of the mapping itself."""
        self.problems.append(Violation(".".join(filter(None, (self.path, name))), rule_id, message))

    def text(self, name: str) -> str:
        value = self.read.get(name)
        return "" if value is None else self._text(name, value)

    def secret(self, name: str) -> str:
        """A text that may come hidden."""
        value = self.read.get(name, "")
        if value is None:
            # As from a variable that is not set: not to be taken for an empty secret.
            self.note(name, "type", "must be a string, and is None")
            return ""
        reveal = None if isinstance(value, str) else getattr(value, "get_secret_value", None)
        if callable(reveal):
            try:
                value = reveal()
            except Exception:  # noqa: BLE001 # its text may hold the value
                self.note(name, "type", "cannot be read: its get_secret_value() failed")
                return ""
        return self._text(name, value)

    def texts(self, name: str) -> list[str]:
        value = self.read.get(name)
        if value is None:
            return []
        if isinstance(value, str) or not isinstance(value, Sequence):
            self.note(name, "type", "must be a list of strings")
            return []
        return [self._text(f"{name}[{index}]", item) for index, item in enumerate(cast("Sequence[object]", value))]

    def flag(self, name: str) -> bool:
        value = self.read.get(name)
        if value is None or isinstance(value, bool):
            return bool(value)
        self.note(name, "type", "must be True or False")
        return False

    def number(self, name: str) -> int:
        value = self.read.get(name)
        if value is None:
            return 0
        if isinstance(value, int) and not isinstance(value, bool) and -(2**31) <= value < 2**31:
            return value
        self.note(name, "type", "must be a whole number of 32 bits")
        return 0

    def nested(self, name: str, allowed: type) -> "_Reader":
        return _Reader(self.read.get(name), allowed, ".".join(filter(None, (self.path, name))), self.problems)

    def has(self, name: str) -> bool:
        """Whether the parameter was given. None means that it was left out, and so does False for a flag."""
        value = self.read.get(name)
        return value is not None and not (value is False and name in FLAGS)

    def one_of(self, oneof: str, *names: str) -> None:
        """Note a problem when more than one of these is given."""
        given = [name for name in names if self.has(name)]
        if len(given) > 1:
            self.note(oneof, "oneof", f"takes only one of {', '.join(names)}; {' and '.join(given)} were given")

    def _text(self, name: str, value: object) -> str:
        if not isinstance(value, str):
            self.note(name, "type", "must be a string")
            return ""
        try:
            value.encode()
        except UnicodeEncodeError:
            self.note(name, "string.utf8", "must be valid Unicode, without lone surrogates")
            return ""
        return value

    def apply_rules(self, message: Message) -> None:
        """Note what the contract's own rules refuse, but for fields that have been noted."""
        noted = {problem.field for problem in self.problems}
        found = [violation(broken.proto) for broken in protovalidate.collect_violations(message)]
        self.problems += [problem for problem in found if problem.field not in noted]

    def checked(self, message: M) -> M:
        """The message, when nothing is wrong with it."""
        self.apply_rules(message)
        if self.problems:
            raise InvalidRequestError.of(self.problems)
        return message


def create_request(params: Mapping[str, Any]) -> secret_pb.CreateSecretRequest:
    """The message of `secrets.create`."""
    read = _Reader(params, types.SecretCreateParams)
    return read.checked(_create_message(read))


def put_request(params: Mapping[str, Any]) -> secret_pb.CreateSecretRequest:
    """The message by which `secrets.put` creates; it must suit the update as well."""
    read = _Reader(params, types.SecretCreateParams)
    message = _create_message(read)
    if not message.value:
        read.note("value", "string.min_len", "must be at least 1 character, as a value can only be updated to such")
    if not (read.has("scope") or read.has("project_id")):
        read.note("scope", "required", "must be given, or project_id, as names are unique within it")
    return read.checked(message)


def _create_message(read: _Reader) -> secret_pb.CreateSecretRequest:
    message = secret_pb.CreateSecretRequest(
        name=read.text("name"),
        value=read.secret("value"),
        mount=_mount(read),
        scope=_scope(read),
        credential_proxy=_credential_proxy(read),
        source=_source(read),
    )
    if project_id := read.text("project_id"):
        # Deprecated in favour of `scope`, and still what the public reference documents.
        message.project_id = project_id  # pyright: ignore[reportDeprecated]
        # The contract has the rule where this is an abbreviation of.
        read.apply_rules(secret_pb.SecretScope(scope=ProjectId("project_id", project_id)))
    return message


def list_request(params: Mapping[str, Any]) -> secret_pb.ListSecretsRequest:
    """The message of `secrets.list`."""
    read = _Reader(params, types.SecretListParams)
    page = read.nested("pagination", types.SecretListPagination)
    chosen = read.nested("filter", types.SecretListFilter)
    scope, project_ids = _scope(chosen), chosen.texts("project_ids")
    message = secret_pb.ListSecretsRequest(
        pagination=pagination_pb.PaginationRequest(
            page_size=(read if read.has("page_size") else page).number("page_size"),
            token=(read if read.has("token") else page).text("token"),
        ),
        filter=secret_pb.ListSecretsRequest.Filter(scope=scope) if scope or project_ids else None,
    )
    if project_ids and message.filter:
        message.filter.project_ids = project_ids  # pyright: ignore[reportDeprecated] # as above
    return read.checked(message)


def next_page_request(request: secret_pb.ListSecretsRequest, token: str) -> secret_pb.ListSecretsRequest:
    """The message for the page that `token` stands for."""
    size = request.pagination.page_size if request.pagination else 0
    page = pagination_pb.PaginationRequest(page_size=size, token=token)
    return secret_pb.ListSecretsRequest(pagination=page, filter=request.filter)


def get_value_request(params: Mapping[str, Any]) -> secret_pb.GetSecretValueRequest:
    """The message of `secrets.get_value`."""
    read = _Reader(params, types.SecretGetValueParams)
    return read.checked(secret_pb.GetSecretValueRequest(secret_id=read.text("secret_id")))


def update_value_request(params: Mapping[str, Any]) -> secret_pb.UpdateSecretValueRequest:
    """The message of `secrets.update_value`."""
    read = _Reader(params, types.SecretUpdateValueParams)
    return read.checked(
        secret_pb.UpdateSecretValueRequest(secret_id=read.text("secret_id"), value=read.secret("value"))
    )


def delete_request(params: Mapping[str, Any]) -> secret_pb.DeleteSecretRequest:
    """The message of `secrets.delete`."""
    read = _Reader(params, types.SecretDeleteParams)
    return read.checked(secret_pb.DeleteSecretRequest(secret_id=read.text("secret_id")))


def _mount(read: _Reader) -> Mount | None:
    read.one_of("mount", *MOUNTS)
    if not any(read.has(name) for name in MOUNTS):
        read.note("mount", "required", f"one of {', '.join(MOUNTS)} is required")
    if read.flag("environment_variable"):
        return EnvironmentVariable("environment_variable", True)
    if read.has("file_path"):
        return FilePath("file_path", read.text("file_path"))
    if read.has("container_registry_basic_auth_host"):
        return RegistryHost("container_registry_basic_auth_host", read.text("container_registry_basic_auth_host"))
    if read.flag("api_only"):
        return ApiOnly("api_only", True)
    return None


def _scope(parent: _Reader) -> secret_pb.SecretScope | None:
    if not parent.has("scope"):
        return None
    read = parent.nested("scope", types.SecretScopeParam)
    read.one_of("", "project_id", "user_id", "organization_id", "service_account_id")
    value: Scope | None = None
    if read.has("project_id"):
        value = ProjectId("project_id", read.text("project_id"))
    elif read.has("user_id"):
        value = UserId("user_id", read.text("user_id"))
    elif read.has("organization_id"):
        value = OrganizationId("organization_id", read.text("organization_id"))
    elif read.has("service_account_id"):
        value = ServiceAccountId("service_account_id", read.text("service_account_id"))
    return secret_pb.SecretScope(scope=value)


def _credential_proxy(parent: _Reader) -> secret_pb.Secret.CredentialProxy | None:
    if not parent.has("credential_proxy"):
        return None
    read = parent.nested("credential_proxy", types.CredentialProxyParam)
    return secret_pb.Secret.CredentialProxy(target_hosts=read.texts("target_hosts"), header=read.text("header"))


def _source(parent: _Reader) -> secret_pb.Secret.Source | None:
    if not parent.has("source"):
        return None
    read = parent.nested("source", types.SourceParam)
    read.one_of("", "verbatim", "oidc_jfrog")
    value: Verbatim | FromJFrog | None = None
    if read.has("oidc_jfrog"):
        jfrog = read.nested("oidc_jfrog", types.OidcJFrogParam)
        value = FromJFrog(
            "oidc_jfrog",
            secret_pb.Secret.Source.OidcJFrog(host=jfrog.text("host"), provider_name=jfrog.text("provider_name")),
        )
    elif read.flag("verbatim"):
        value = Verbatim("verbatim", True)
    return secret_pb.Secret.Source(value=value) if value else None
