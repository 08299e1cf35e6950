"""`secrets.put` as a sequence of RPCs. Nothing here does I/O: `Secrets` and `AsyncSecrets` send the steps."""

from collections.abc import Callable, Generator
from typing import Any, Literal, NamedTuple

from protobuf import DescOneof, Message

from gitpod._messages import results
from gitpod._messages.requests import MOUNTS, ProjectId
from gitpod.errors import APIError, APIResponseValidationError, ConflictError, NotFoundError
from gitpod.types import Secret, SecretPutResponse
from gitpod_proto.gitpod.v1 import pagination_pb, secret_pb

ROUNDS = 10
"""How often `put` starts over while others create and delete a secret of the same name."""

FOUND_BY = {"name", "scope", "project_id"}
"""The fields by which `put` finds a secret."""

GONE = "the secret that was to be replaced is deleted, and none of that name exists"
MAYBE_DELETED = "the secret that was to be replaced exists as it was, or is deleted"
MAYBE_UPDATED = "a secret of that name exists, and its value is the one before or the new one"
UNTOUCHED = "a secret of that name exists, and this call did not change it"


class Step(NamedTuple):
    """One RPC: the name of the stub's method, the request, and the function that reads the answer."""

    rpc: Literal["create_secret", "list_secrets", "update_secret_value", "delete_secret"]
    request: Message
    read: Callable[[Any], Any]


Steps = Generator[Step, Any, SecretPutResponse]


def steps(request: secret_pb.CreateSecretRequest, *, replace: bool) -> Steps:
    """Create a secret. If the name is taken, update its value; if it differs otherwise, replace it or raise.

    Yields each RPC as a `Step`. The caller sends back what the step's `read` returned, or throws the `APIError`
    with which the RPC failed.
    """
    is_deleted = is_doubtful = False
    create = Step("create_secret", request, results.create_response)
    taken: APIError | None = None
    for left in reversed(range(ROUNDS)):
        try:
            created = yield create
            return SecretPutResponse(secret=created.secret, action="replaced" if is_deleted else "created")
        except APIError as error:
            taken = _taken(error, is_deleted=is_deleted, is_doubtful=is_doubtful)
        is_doubtful = is_doubtful or taken.outcome == "unknown"
        there, in_doubt = _there(is_deleted=is_deleted, is_doubtful=is_doubtful)
        try:
            found = yield from _find(request)
        except APIError as error:
            raise _failed(error, there, in_doubt=in_doubt) from None
        if found is None:
            if not isinstance(taken, ConflictError):
                raise _failed(taken, GONE, in_doubt=True) if is_deleted else taken
            continue
        if different := _differences(request, found):
            if not replace:
                raise _another(taken, found, different)
            if not left:
                # Do not delete the secret: no round is left to create it anew.
                break
            delete = secret_pb.DeleteSecretRequest(secret_id=found.id)
            step = Step("delete_secret", delete, results.empty_response)
            is_deleted = (yield from _change(step, MAYBE_DELETED, there, in_doubt=in_doubt)) or is_deleted
            continue
        update = secret_pb.UpdateSecretValueRequest(secret_id=found.id, value=request.value)
        step = Step("update_secret_value", update, results.empty_response)
        if (yield from _change(step, MAYBE_UPDATED, there, in_doubt=in_doubt)):
            return SecretPutResponse(secret=found, action="replaced" if is_deleted else "updated")
    text = "others create and delete secrets of that name meanwhile, or the list does not show it"
    deleted = f"this call deleted one; {text}" if is_deleted else text
    raise _failed(taken or ConflictError("the name is taken"), deleted, in_doubt=is_deleted or is_doubtful)


def _taken(error: APIError, *, is_deleted: bool, is_doubtful: bool) -> APIError:
    """Return the error of a create after which the name may be taken. Raise any other error."""
    # An answer that cannot be read may have meant success.
    is_unreadable = isinstance(error, APIResponseValidationError) and error.outcome == "unknown"
    if isinstance(error, ConflictError) or is_unreadable:
        return error
    if is_doubtful and not is_deleted:
        raise _failed(error, "an earlier attempt of this call may have created a secret of that name", in_doubt=True)
    if not is_deleted:
        raise error
    maybe = "the secret that was to be replaced is deleted, and the new one may exist"
    raise _failed(error, maybe if error.outcome == "unknown" else GONE, in_doubt=True)


def _there(*, is_deleted: bool, is_doubtful: bool) -> tuple[str, bool]:
    """Say what exists once a create found the name taken, and whether this call may have caused it."""
    if is_deleted:
        return "this call deleted the secret of that name, and there is another now", True
    if is_doubtful:
        return "a secret of that name exists, which this call may have created", True
    return UNTOUCHED, False


def _another(taken: APIError, found: Secret, different: list[str]) -> ConflictError:
    """Make the error for a secret that differs from the request in more than its value."""
    mount = next((name for name in MOUNTS if getattr(found, name) is not None), "none that this package knows")
    has = f" (it has {mount})" if "mount" in different else ""
    return ConflictError(
        f"already_exists: name: a secret of this name exists with another {' and '.join(different)}{has}, "
        "which put does not change; replace=True deletes it and creates it anew",
        code="already_exists",
        outcome="rejected",
        attempts=taken.attempts,
        status_code=taken.status_code,
        request_id=taken.request_id,
    )


def _find(request: secret_pb.CreateSecretRequest) -> Generator[Step, Any, Secret | None]:
    """Find the secret of this name in this scope."""
    scope = request.scope
    if scope is None:
        scope = secret_pb.SecretScope(scope=ProjectId("project_id", request.project_id))  # pyright: ignore[reportDeprecated] # the public reference documents it
    chosen = secret_pb.ListSecretsRequest.Filter(scope=scope)
    token: str | None = ""
    seen: set[str] = set()
    # If a token came twice, the list would never end.
    while token is not None and token not in seen:
        seen.add(token)
        page = pagination_pb.PaginationRequest(page_size=100, token=token)
        message = secret_pb.ListSecretsRequest(pagination=page, filter=chosen)
        secrets: list[Secret]
        secrets, token = yield Step("list_secrets", message, results.list_response)
        for secret in secrets:
            if secret.name == request.name:
                return secret
    return None


def _change(step: Step, maybe: str, there: str, *, in_doubt: bool) -> Generator[Step, Any, bool]:
    """Update or delete the secret that was found. Returns False if somebody else has deleted it.

    `maybe` and `there` say what exists if the step fails: whether it took effect is unknown, or it took none.
    """
    try:
        yield step
    except NotFoundError:
        return False
    except APIError as error:
        raise _failed(error, maybe if error.outcome == "unknown" else there, in_doubt=in_doubt) from None
    return True


def _differences(request: secret_pb.CreateSecretRequest, found: Secret) -> list[str]:
    """Return what differs from the request and an update of the value would not change."""
    of_secret = {member.name for member in secret_pb.Secret.desc().members}
    members = [member for member in request.desc().members if member.name in of_secret - FOUND_BY]
    same = {member.local_name: getattr(request, member.local_name) for member in members}
    wanted = results.secret(secret_pb.Secret(id="?", **same))
    different: list[str] = []
    for member in members:
        names = [field.name for field in member.fields] if isinstance(member, DescOneof) else [member.name]
        # A field that the request leaves out may have any value.
        is_asked = any(getattr(wanted, name) for name in names)
        if is_asked and any(getattr(wanted, name) != getattr(found, name) for name in names):
            different.append(member.name)
    return different


def _failed(error: APIError, text: str, *, in_doubt: bool) -> APIError:
    """Turn the error of a step into the error of the whole call, which says what exists now.

    `in_doubt` means that an earlier step may have changed something, so the outcome of the call is unknown.
    """
    if in_doubt:
        error.outcome = "unknown"
    return error.saying(text)
