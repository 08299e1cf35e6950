"""The scopes that a request names, and whether its caller reaches them."""

from typing import Literal

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from protobuf import Oneof

from gitpod.server.caller import Caller
from gitpod.server.rules import violation
from gitpod_proto.gitpod.v1.secret_pb import CreateSecretRequest, ListSecretsRequest, SecretScope


def scope_of(request: CreateSecretRequest) -> SecretScope:
    """Return the scope of a new secret: `scope`, or the deprecated `project_id` in its place."""
    project_id = request.project_id.lower()  # pyright: ignore[reportDeprecated] # the reference documents it
    if request.scope and request.scope.scope:
        scope = _lower(request.scope)
        if project_id and owner(scope) != ("project_id", project_id):
            raise violation("scope_agrees", "contradicts scope; leave it out", "project_id")
        return scope
    if not project_id:
        raise violation("required", "is required, or project_id in its place", "scope")
    return SecretScope(scope=Oneof[Literal["project_id"], str]("project_id", project_id))


def _lower(scope: SecretScope) -> SecretScope:
    """Return the scope with its id in lower case, as case does not tell UUIDs apart (RFC 9562 section 4)."""
    kind, scope_id = owner(scope)
    return SecretScope(scope=Oneof(kind, scope_id.lower()))  # type: ignore[arg-type]  # the member it had


def owner(scope: SecretScope, *path: str) -> tuple[str, str]:
    """Return the kind and the id of a scope. `path` names the scope's parent in an error."""
    if scope.scope is None:
        message = "needs one of project_id, user_id, organization_id, service_account_id"
        raise violation("required", message, *path, "scope")
    return scope.scope.field, scope.scope.value


def check_reach(caller: Caller, kind: str, scope_id: str) -> None:
    """Raise PERMISSION_DENIED unless the caller reaches a scope."""
    if not caller.reaches(kind, scope_id):
        raise ConnectError(Code.PERMISSION_DENIED, f"scope: a token of the role {caller.role} does not reach this one")


def scopes(chosen: ListSecretsRequest.Filter | None, caller: Caller) -> list[tuple[str, str]] | None:
    """Return the scopes of a list: those of the filter, or all that the caller reaches. None means every scope."""
    projects = [("project_id", project_id.lower()) for project_id in chosen.project_ids] if chosen else []  # pyright: ignore[reportDeprecated]
    scopes = projects or None
    if chosen and chosen.scope is not None:
        kind, scope_id = owner(chosen.scope, "filter")
        scope = (kind, scope_id.lower())
        check_reach(caller, *scope)
        scopes = [scope] if not projects or scope in projects else []
    for each in projects:
        check_reach(caller, *each)
    return caller.scopes if scopes is None and not caller.reaches_all else scopes
