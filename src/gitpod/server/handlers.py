"""The handlers of `gitpod.v1.SecretService`: rules and reach over a store and a keyring. No SQL and no HTTP.

A handler is a generator. It yields each thing that it waits for, and is sent the result, so that threads and event
loops share it: `service.py` does what it waits for in place, `async_service.py` awaits it.
"""

import uuid
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from protobuf import DescMessage, merge_from_binary
from protobuf.wkt import Timestamp

from gitpod.server.caller import Caller
from gitpod.server.keys.kek import SealError
from gitpod.server.keys.keyring import KeyNotLoadedError, Keyring
from gitpod.server.log import REQUEST, logger
from gitpod.server.reach import check_reach, owner, scope_of, scopes
from gitpod.server.rules import page_token, position, violation
from gitpod.server.storage.rows import AuditRecord, ListedSecret, StoredSecret, audit_record, columns
from gitpod.server.storage.store import Store
from gitpod.server.storage.transaction import Planned, Transaction
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
"""What a secret has from the request that creates it. `scope_of` reads the two that are left out."""
MAX_METADATA_BYTES = 8192
"""The most bytes of a secret without its value. A page of 100 then stays below the limit of gRPC clients, 4 MiB."""


class Keys(NamedTuple):
    """Wait for `Keyring.prepare`, or for `Keyring.fetch` of one data key."""

    organization_id: str
    key_id: str = ""


class Write(NamedTuple):
    """Wait for `Store.write`. A result that nobody waits for any more is given to `unread`."""

    record: AuditRecord
    work: Callable[[Transaction], Any]
    unread: Callable[[Any], None]


class Read(NamedTuple):
    """Wait for a function that reads from the store."""

    work: Callable[[], Any]


class Refusals:
    """Wait for `Store.write_refusals`."""


Steps = Generator[Keys | Write | Read | Refusals, Any, RES]


class Handlers:
    """The RPCs. Each takes a request that `rules.check` has passed, and its caller."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring

    def create_secret(self, request: CreateSecretRequest, caller: Caller, /) -> Steps[CreateSecretResponse]:
        """Create a secret. ALREADY_EXISTS when the name is taken in the scope."""
        scope = scope_of(request)
        kind, scope_id = owner(scope)
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
        yield from self._prepare(caller)
        new = replace(bare, **columns(self._keyring.seal(request.value, bare)))

        def add(transaction: Transaction, new: StoredSecret) -> StoredSecret:
            stored = transaction.add(new)
            if stored is None:
                raise ConnectError(Code.ALREADY_EXISTS, "name: is taken in this scope")
            return stored

        stored = yield from self._audited(caller, "CreateSecret", new, add)
        return CreateSecretResponse(secret=_message(stored))

    def update_secret_value(
        self, request: UpdateSecretValueRequest, caller: Caller, /
    ) -> Steps[UpdateSecretValueResponse]:
        """Replace a value. NOT_FOUND when there is no such secret; DATA_LOSS when its row was altered."""

        def replace_value(transaction: Transaction, stored: StoredSecret) -> None:
            # Opening checks the row: sealing a new value would make altered metadata look genuine.
            self._open(transaction, stored)
            if not transaction.replace_value(stored, self._keyring.seal(request.value, stored)):
                raise _not_found()

        yield from self._with("UpdateSecretValue", request.secret_id, caller, replace_value)
        return UpdateSecretValueResponse()

    def list_secrets(self, request: ListSecretsRequest, caller: Caller, /) -> Steps[ListSecretsResponse]:
        """List the secrets that the caller reaches: a keyset page in creation order."""
        wanted, token = DEFAULT_PAGE_SIZE, ""
        if request.pagination:
            wanted, token = request.pagination.page_size or wanted, request.pagination.token
        wanted_scopes, after = scopes(request.filter, caller), position(token)

        def read() -> ListSecretsResponse:
            # Reads one row more than the page needs, to learn whether there is a next page.
            found = self._store.page(caller.organization_id, wanted_scopes, after, wanted + 1)
            page = found[:wanted]
            next_token = page_token(page[-1]) if len(found) > wanted else ""
            return ListSecretsResponse(
                pagination=PaginationResponse(next_token=next_token),
                secrets=[message for stored in page if (message := _readable(stored))],
            )

        answer: ListSecretsResponse = yield Read(read)
        return answer

    def delete_secret(self, request: DeleteSecretRequest, caller: Caller, /) -> Steps[DeleteSecretResponse]:
        """Delete a secret. NOT_FOUND when there is no such secret."""

        def remove(transaction: Transaction, stored: StoredSecret) -> None:
            if not transaction.remove(stored):
                raise _not_found()

        yield from self._with("DeleteSecret", request.secret_id, caller, remove)
        return DeleteSecretResponse()

    def get_secret_value(self, request: GetSecretValueRequest, caller: Caller, /) -> Steps[GetSecretValueResponse]:
        """Return a value. NOT_FOUND when there is no such secret; DATA_LOSS when its value does not open."""
        value = yield from self._with("GetSecretValue", request.secret_id, caller, self._open)
        return GetSecretValueResponse(value=value)

    def _open(self, _: Transaction, stored: StoredSecret) -> str:
        try:
            return self._keyring.open(stored)
        except SealError:
            raise ConnectError(Code.DATA_LOSS, "the value was altered, or sealed for another secret") from None

    def _prepare(self, caller: Caller) -> Steps[None]:
        """Load the data keys of the caller's organization, if need be."""
        if not self._keyring.is_prepared(caller.organization_id):
            yield Keys(caller.organization_id)

    def _with(
        self, rpc: str, secret_id: str, caller: Caller, act: Callable[[Transaction, StoredSecret], RES]
    ) -> Steps[RES]:
        """Run `act` with the secret that has an id, as `_audited` does."""
        yield from self._prepare(caller)
        return (yield from self._audited(caller, rpc, secret_id.lower(), act))

    def _audited(
        self,
        caller: Caller,
        rpc: str,
        wanted: str | StoredSecret,
        act: Callable[[Transaction, StoredSecret], RES],
    ) -> Steps[RES]:
        """Run `act` with a secret that the caller reaches, and write the audit record in the same transaction.

        A refused call writes nothing there: it is counted afterwards.

        Args:
            caller: who calls.
            rpc: the action of the audit record.
            wanted: the id of the secret, or a new one, which `act` adds.
            act: does the work, and returns the result. A ConnectError that it raises is a refusal.
        """
        organization_id = caller.organization_id
        # The audit record of a refused create has no id, as there is no secret.
        given_id, new = (wanted, None) if isinstance(wanted, str) else ("", wanted)
        began = audit_record(
            organization_id,
            caller.subject,
            rpc,
            secret_id=given_id,
            request_id=REQUEST.get().id,
            token_id=caller.token_id,
        )

        def work(transaction: Transaction) -> RES | _Refusal:
            record, secret = began, new or transaction.find(organization_id, given_id)
            try:
                if secret is None:
                    raise _not_found()
                record = replace(
                    record, scope_kind=secret.scope_kind, scope_id=secret.scope_id, secret_id=given_id or secret.id
                )
                check_reach(caller, secret.scope_kind, secret.scope_id)
                result = act(transaction, secret)
            except ConnectError as error:
                record = replace(record, outcome=error.code.value, secret_id=given_id)
                # A value that does not open is no refusal: every attempt to read it is on record.
                (transaction.record if error.code is Code.DATA_LOSS else transaction.refuse)(record)
                return _Refusal(error, record)
            transaction.record(record)
            return result

        planned = Planned(work, finds=(organization_id, given_id))
        if new:
            planned = Planned(work, adds=new if caller.reaches(new.scope_kind, new.scope_id) else None)
        result: RES | _Refusal = yield from self._written(Write(began, planned, self._count_unread))
        if not isinstance(result, _Refusal):
            return result
        if result.error.code is not Code.DATA_LOSS and self._store.count_refusal(result.record):
            yield Refusals()
        raise result.error

    def _count_unread(self, result: object) -> None:
        """Count the refusal of a call whose caller left while it was committed."""
        if isinstance(result, _Refusal) and result.error.code is not Code.DATA_LOSS:
            self._store.count_refusal(result.record, is_answered=False)

    @staticmethod
    def _written(write: Write) -> Steps[Any]:
        """Write, and write again after each data key that the work found missing was fetched."""
        while True:
            try:
                return (yield write)
            except KeyNotLoadedError as missing:
                yield Keys(missing.organization_id, missing.key_id)


class _Refusal(NamedTuple):
    """The error of a refused call, and its audit record."""

    error: ConnectError
    record: AuditRecord


def _not_found() -> ConnectError:
    return ConnectError(Code.NOT_FOUND, "secret_id: there is no such secret")


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
