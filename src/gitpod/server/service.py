"""The handlers of `gitpod.v1.SecretService`: rules and reach over a store and a keyring. No SQL and no HTTP."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, NamedTuple, TypeVar

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from protobuf import DescMessage, Oneof, merge_from_binary
from protobuf.wkt import Timestamp

from gitpod.server.auth import Caller, Ctx, current_caller
from gitpod.server.keys.kek import SealError
from gitpod.server.keys.keyring import Keyring
from gitpod.server.log import REQUEST, logger
from gitpod.server.rules import check, page_token, position, violation
from gitpod.server.storage.rows import AuditRecord, ListedSecret, StoredSecret, audit_record, columns
from gitpod.server.storage.store import Store
from gitpod.server.storage.transaction import Transaction
from gitpod_proto.gitpod.v1 import secret_connect
from gitpod_proto.gitpod.v1.pagination_pb import PaginationResponse
from gitpod_proto.gitpod.v1.secret_pb import (
    CreateSecretRequest,
    CreateSecretResponse,
    DeleteSecretRequest,
    DeleteSecretResponse,
    GetSecretValueRequest,
    GetSecretValueResponse,
    ListSecretsRequest,
    ListSecretsResponse,
    Secret,
    SecretScope,
    UpdateSecretValueRequest,
    UpdateSecretValueResponse,
)

RES = TypeVar("RES")
DEFAULT_PAGE_SIZE = 25


def _attributes(message: DescMessage) -> set[str]:
    """The attributes of a message's class: one for each field, and one for all the fields of a oneof."""
    oneofs = {field.name: oneof.local_name for oneof in message.oneofs for field in oneof.fields}
    return {oneofs.get(field.name, field.local_name) for field in message.fields}


TAKEN_OVER = sorted(_attributes(CreateSecretRequest.desc()) & _attributes(Secret.desc()) - {"project_id", "scope"})
"""What a secret has from the request that creates it. `_scope_of` reads the two that are left out."""
MAX_METADATA_BYTES = 8192
"""The most bytes of a secret without its value. A page of 100 then stays below the limit of gRPC clients, 4 MiB."""


class SecretService(secret_connect.SecretServiceSync):
    """The RPCs. Safe to call from many threads at once."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring

    def create_secret(self, request: CreateSecretRequest, ctx: Ctx, /) -> CreateSecretResponse:  # noqa: ARG002
        """Create a secret. ALREADY_EXISTS when the name is taken in the scope."""
        check(request)
        caller, scope = current_caller(), _scope_of(request)
        kind, scope_id = _owner(scope)
        secret = Secret(id=str(uuid.uuid4()), scope=scope, creator=caller.subject)
        for name in TAKEN_OVER:
            setattr(secret, name, getattr(request, name))
        if kind == "project_id":
            secret.project_id = scope_id  # pyright: ignore[reportDeprecated] # the reference shows it in answers
        record = secret.to_binary()
        if len(record) > MAX_METADATA_BYTES:
            raise violation("max_bytes", f"all but its value must take at most {MAX_METADATA_BYTES} bytes")
        bare = StoredSecret(
            organization_id=caller.organization_id,
            id=secret.id,
            scope_kind=kind,
            scope_id=scope_id,
            name=secret.name,
            record=record,
            key_id="",
            ciphertext=b"",
        )
        self._keyring.prepare(caller.organization_id)
        new = replace(bare, **columns(self._keyring.seal(request.value, bare)))

        def add(transaction: Transaction, new: StoredSecret) -> StoredSecret:
            stored = transaction.add(new)
            if stored is None:
                raise ConnectError(Code.ALREADY_EXISTS, "name: is taken in this scope")
            return stored

        return CreateSecretResponse(secret=_message(self._audited(caller, "CreateSecret", "", lambda _: new, add)))

    def update_secret_value(self, request: UpdateSecretValueRequest, ctx: Ctx, /) -> UpdateSecretValueResponse:  # noqa: ARG002
        """Replace a value. NOT_FOUND when there is no such secret; DATA_LOSS when its row was altered."""
        check(request)

        def replace_value(transaction: Transaction, stored: StoredSecret) -> None:
            # Opening checks the row: sealing a new value would make altered metadata look genuine.
            self._open(transaction, stored)
            if not transaction.replace_value(stored, self._keyring.seal(request.value, stored)):
                raise _not_found()

        self._with("UpdateSecretValue", request.secret_id, replace_value)
        return UpdateSecretValueResponse()

    def list_secrets(self, request: ListSecretsRequest, ctx: Ctx, /) -> ListSecretsResponse:  # noqa: ARG002
        """List the secrets that the caller reaches: a keyset page in creation order."""
        check(request)
        wanted, token = DEFAULT_PAGE_SIZE, ""
        if request.pagination:
            wanted, token = request.pagination.page_size or wanted, request.pagination.token
        # Reads one row more than the page needs, to learn whether there is a next page.
        caller = current_caller()
        scopes = _scopes(request.filter, caller)
        found = self._store.page(caller.organization_id, scopes, position(token), wanted + 1)
        page = found[:wanted]
        next_token = page_token(page[-1]) if len(found) > wanted else ""
        return ListSecretsResponse(
            pagination=PaginationResponse(next_token=next_token),
            secrets=[message for stored in page if (message := _readable(stored))],
        )

    def delete_secret(self, request: DeleteSecretRequest, ctx: Ctx, /) -> DeleteSecretResponse:  # noqa: ARG002
        """Delete a secret. NOT_FOUND when there is no such secret."""
        check(request)

        def remove(transaction: Transaction, stored: StoredSecret) -> None:
            if not transaction.remove(stored):
                raise _not_found()

        self._with("DeleteSecret", request.secret_id, remove)
        return DeleteSecretResponse()

    def get_secret_value(self, request: GetSecretValueRequest, ctx: Ctx, /) -> GetSecretValueResponse:  # noqa: ARG002
        """Return a value. NOT_FOUND when there is no such secret; DATA_LOSS when its value does not open."""
        check(request)
        return GetSecretValueResponse(value=self._with("GetSecretValue", request.secret_id, self._open))

    def _open(self, _: Transaction, stored: StoredSecret) -> str:
        try:
            return self._keyring.open(stored)
        except SealError:
            raise ConnectError(Code.DATA_LOSS, "the value was altered, or sealed for another secret") from None

    def _with(self, rpc: str, secret_id: str, act: Callable[[Transaction, StoredSecret], RES]) -> RES:
        """Run `act` with the secret that has an id, as `_audited` does."""
        caller, secret_id = current_caller(), secret_id.lower()
        self._keyring.prepare(caller.organization_id)
        return self._audited(caller, rpc, secret_id, lambda each: each.find(caller.organization_id, secret_id), act)

    def _audited(
        self,
        caller: Caller,
        rpc: str,
        given_id: str,
        find: Callable[[Transaction], StoredSecret | None],
        act: Callable[[Transaction, StoredSecret], RES],
    ) -> RES:
        """Run `act` with a secret that the caller reaches, and write the audit record in the same transaction.

        A refused call writes nothing there: it is counted afterwards.

        Args:
            caller: who calls.
            rpc: the action of the audit record.
            given_id: the secret's id in the audit record of a refusal.
            find: returns the secret, or None for NOT_FOUND.
            act: does the work, and returns the result. A ConnectError that it raises is a refusal.
        """
        began = audit_record(
            caller.organization_id,
            caller.subject,
            rpc,
            secret_id=given_id,
            request_id=REQUEST.get().id,
            token_id=caller.token_id,
        )

        def work(transaction: Transaction) -> RES | _Refusal:
            record, secret = began, find(transaction)
            try:
                if secret is None:
                    raise _not_found()
                record = replace(record, scope_kind=secret.scope_kind, scope_id=secret.scope_id)
                _check_reach(caller, secret.scope_kind, secret.scope_id)
                result = act(transaction, secret)
            except ConnectError as error:
                record = replace(record, outcome=error.code.value)
                # A value that does not open is no refusal: every attempt to read it is on record.
                (transaction.record if error.code is Code.DATA_LOSS else transaction.refuse)(record)
                return _Refusal(error, record)
            transaction.record(replace(record, secret_id=secret.id))
            return result

        result = self._keyring.fetching(lambda: self._store.write(began, work))
        if not isinstance(result, _Refusal):
            return result
        if result.error.code is not Code.DATA_LOSS and self._store.count_refusal(result.record):
            self._store.write_refusals()
        raise result.error


class _Refusal(NamedTuple):
    """The error of a refused call, and its audit record."""

    error: ConnectError
    record: AuditRecord


def _not_found() -> ConnectError:
    return ConnectError(Code.NOT_FOUND, "secret_id: there is no such secret")


def _scope_of(request: CreateSecretRequest) -> SecretScope:
    """Return the scope of a new secret: `scope`, or the deprecated `project_id` in its place."""
    project_id = request.project_id.lower()  # pyright: ignore[reportDeprecated] # the reference documents it
    if request.scope and request.scope.scope:
        scope = _lower(request.scope)
        if project_id and _owner(scope) != ("project_id", project_id):
            raise violation("scope_agrees", "contradicts scope; leave it out", "project_id")
        return scope
    if not project_id:
        raise violation("required", "is required, or project_id in its place", "scope")
    return SecretScope(scope=Oneof[Literal["project_id"], str]("project_id", project_id))


def _lower(scope: SecretScope) -> SecretScope:
    """Return the scope with its id in lower case, as case does not tell UUIDs apart (RFC 9562 section 4)."""
    kind, scope_id = _owner(scope)
    return SecretScope(scope=Oneof(kind, scope_id.lower()))  # type: ignore[arg-type]  # the member it had


def _owner(scope: SecretScope, *path: str) -> tuple[str, str]:
    """Return the kind and the id of a scope. `path` names the scope's parent in an error."""
    if scope.scope is None:
        message = "needs one of project_id, user_id, organization_id, service_account_id"
        raise violation("required", message, *path, "scope")
    return scope.scope.field, scope.scope.value


def _check_reach(caller: Caller, kind: str, scope_id: str) -> None:
    if not caller.reaches(kind, scope_id):
        raise ConnectError(Code.PERMISSION_DENIED, f"scope: a token of the role {caller.role} does not reach this one")


def _scopes(chosen: ListSecretsRequest.Filter | None, caller: Caller) -> list[tuple[str, str]] | None:
    """Return the scopes of a list: those of the filter, or all that the caller reaches. None means every scope."""
    projects = [("project_id", project_id.lower()) for project_id in chosen.project_ids] if chosen else []  # pyright: ignore[reportDeprecated]
    scopes = projects or None
    if chosen and chosen.scope is not None:
        kind, scope_id = _owner(chosen.scope, "filter")
        scope = (kind, scope_id.lower())
        _check_reach(caller, *scope)
        scopes = [scope] if not projects or scope in projects else []
    for each in projects:
        _check_reach(caller, *each)
    return caller.scopes if scopes is None and not caller.reaches_all else scopes


def _readable(stored: ListedSecret) -> Secret | None:
    """Return the secret of a row, None if the row was made unreadable, so that the other secrets are still listed."""
    try:
        return _message(stored)
    except (ValueError, TypeError, OverflowError):
        # The error's message is left out, as it may quote the row.
        logger.error("the row of secret %s cannot be read", stored.id)
        return None


def _message(stored: StoredSecret | ListedSecret) -> Secret:
    secret = Secret(
        created_at=Timestamp.from_nanos(stored.created_at * 1000),
        updated_at=Timestamp.from_nanos(stored.updated_at * 1000),
    )
    merge_from_binary(secret, stored.record)
    return secret
