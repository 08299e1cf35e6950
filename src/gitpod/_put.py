"""`secrets.put` as a sequence of RPCs. Nothing here does I/O: `Secrets` and `AsyncSecrets` send the steps."""

from collections.abc import Callable, Generator
from typing import Any, Literal, NamedTuple

from protobuf import Message

from gitpod import _results
from gitpod._params import MOUNTS, ProjectId
from gitpod.errors import APIError, APIResponseValidationError, ConflictError, NotFoundError
from gitpod.types import Secret, SecretPutResponse
from gitpod_proto.gitpod.v1 import pagination_pb, secret_pb

ROUNDS = 3
"""How often to begin anew because somebody else creates and deletes the same name meanwhile."""

FOUND = "a secret of that name exists, and this call did not change it"


class Step(NamedTuple):
    """One RPC: the stub's method, its request, and what reads the answer."""

    rpc: Literal["create_secret", "list_secrets", "update_secret_value", "delete_secret"]
    request: Message
    read: Callable[[Any], Any]


Steps = Generator[Step, Any, SecretPutResponse]


def steps(request: secret_pb.CreateSecretRequest, *, replace: bool) -> Steps:
    """Create; when the name is taken, update the value, or replace a secret of another mount if that is wanted.

    Each step is sent into the generator as what its `read` returns, or thrown into it as an `APIError`.
    """
    is_deleted = False
    create = Step("create_secret", request, _results.create_response)
    taken: APIError | None = None
    for _ in range(ROUNDS):
        try:
            created = yield create
            return SecretPutResponse(secret=created.secret, action="replaced" if is_deleted else "created")
        except APIError as error:
            taken = _taken(error, is_deleted=is_deleted)
        try:
            found = yield from _find(request)
        except APIError as error:
            raise _failed(error, FOUND, in_doubt=taken.outcome == "unknown") from None
        if found is None:
            if not isinstance(taken, ConflictError):
                raise taken
            continue
        if different := _differences(request, found):
            if not replace:
                raise ConflictError(
                    f"already_exists: name: a secret of this name exists with another {' and '.join(different)} "
                    f"(it has {_mount(found)}), which put does not change; replace=True deletes it and creates it anew",
                    code="already_exists",
                    outcome="rejected",
                    attempts=taken.attempts,
                    status_code=taken.status_code,
                    request_id=taken.request_id,
                )
            yield from _delete(found)
            is_deleted = True
            continue
        try:
            update = secret_pb.UpdateSecretValueRequest(secret_id=found.id, value=request.value)
            yield Step("update_secret_value", update, _results.empty_response)
        except NotFoundError:
            continue
        except APIError as error:
            maybe = "it exists; its value is the one before or the new one"
            text = maybe if error.outcome == "unknown" else FOUND
            raise _failed(error, text, in_doubt=is_deleted or taken.outcome == "unknown") from None
        return SecretPutResponse(secret=found, action="replaced" if is_deleted else "updated")
    raise taken or AssertionError


def result(done: StopIteration) -> SecretPutResponse:
    """What the generator returned."""
    value: SecretPutResponse = done.value
    return value


def _taken(error: APIError, *, is_deleted: bool) -> APIError:
    """The error of a create, when it may be that the name is taken; else raises it."""
    # An answer that cannot be read may have been one of success.
    is_doubtful = isinstance(error, APIResponseValidationError) and error.outcome == "unknown"
    if isinstance(error, ConflictError) or is_doubtful:
        return error
    if not is_deleted:
        raise error
    exists = "the new one may exist" if error.outcome == "unknown" else "none of that name exists"
    raise _failed(error, f"the secret that was to be replaced is deleted, and {exists}", in_doubt=True)


def _find(request: secret_pb.CreateSecretRequest) -> Generator[Step, Any, Secret | None]:
    """The secret of this name in this scope."""
    scope = request.scope
    if scope is None:
        scope = secret_pb.SecretScope(scope=ProjectId("project_id", request.project_id))  # pyright: ignore[reportDeprecated] # as in `_params.py`
    chosen = secret_pb.ListSecretsRequest.Filter(scope=scope)
    token: str | None = ""
    while token is not None:
        page = pagination_pb.PaginationRequest(page_size=100, token=token)
        message = secret_pb.ListSecretsRequest(pagination=page, filter=chosen)
        secrets: list[Secret]
        secrets, following = yield Step("list_secrets", message, _results.list_response)
        for secret in secrets:
            if secret.name == request.name:
                return secret
        # A list that leads to itself would never end.
        token = None if following == token else following
    return None


def _delete(found: Secret) -> Generator[Step, Any, None]:
    try:
        yield Step("delete_secret", secret_pb.DeleteSecretRequest(secret_id=found.id), _results.empty_response)
    except NotFoundError:
        return
    except APIError as error:
        maybe = "the secret that was to be replaced exists as it was, or is deleted"
        raise _failed(error, maybe if error.outcome == "unknown" else FOUND, in_doubt=False) from None


def _differences(request: secret_pb.CreateSecretRequest, found: Secret) -> list[str]:
    """What an update of the value would leave other than the request says."""
    wanted = _results.secret(
        secret_pb.Secret(id="?", mount=request.mount, credential_proxy=request.credential_proxy, source=request.source)
    )
    different = ["mount"] if any(getattr(wanted, name) != getattr(found, name) for name in MOUNTS) else []
    asked = [name for name in ("credential_proxy", "source") if getattr(wanted, name) is not None]
    return different + [name for name in asked if getattr(wanted, name) != getattr(found, name)]


def _mount(found: Secret) -> str:
    return next((name for name in MOUNTS if getattr(found, name) is not None), "none that this package knows")


def _failed(error: APIError, text: str, *, in_doubt: bool) -> APIError:
    """The error of a step as that of the whole: what it leaves behind, which is not its own outcome alone."""
    if in_doubt:
        error.outcome = "unknown"
    return error.saying(text)
