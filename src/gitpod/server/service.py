"""The service for threads, which clients in the same process call. What a handler waits for is done in its thread."""

from collections.abc import Callable
from typing import TypeVar

from protobuf import Message

from gitpod.server.auth import ADMISSION, Ctx
from gitpod.server.caller import Caller
from gitpod.server.handlers import Handlers, Keys, Read, Refusals, Steps, Write
from gitpod.server.keys.keyring import Keyring
from gitpod.server.rules import check
from gitpod.server.storage.store import Store
from gitpod_proto.gitpod.v1 import secret_connect
from gitpod_proto.gitpod.v1.secret_pb import (
    CreateSecretRequest,
    CreateSecretResponse,
    DeleteSecretRequest,
    DeleteSecretResponse,
    GetSecretValueRequest,
    GetSecretValueResponse,
    ListSecretsRequest,
    ListSecretsResponse,
    UpdateSecretValueRequest,
    UpdateSecretValueResponse,
)

REQ = TypeVar("REQ", bound=Message)
RES = TypeVar("RES")


class SecretService(secret_connect.SecretServiceSync):
    """The RPCs. Safe to call from many threads at once."""

    def __init__(self, handlers: Handlers, store: Store, keyring: Keyring) -> None:
        self._handlers = handlers
        self._store = store
        self._keyring = keyring

    def create_secret(self, request: CreateSecretRequest, ctx: Ctx, /) -> CreateSecretResponse:  # noqa: ARG002
        """Create a secret."""
        return self._run(self._handlers.create_secret, request)

    def update_secret_value(self, request: UpdateSecretValueRequest, ctx: Ctx, /) -> UpdateSecretValueResponse:  # noqa: ARG002
        """Replace a value."""
        return self._run(self._handlers.update_secret_value, request)

    def list_secrets(self, request: ListSecretsRequest, ctx: Ctx, /) -> ListSecretsResponse:  # noqa: ARG002
        """List secrets."""
        return self._run(self._handlers.list_secrets, request)

    def delete_secret(self, request: DeleteSecretRequest, ctx: Ctx, /) -> DeleteSecretResponse:  # noqa: ARG002
        """Delete a secret."""
        return self._run(self._handlers.delete_secret, request)

    def get_secret_value(self, request: GetSecretValueRequest, ctx: Ctx, /) -> GetSecretValueResponse:  # noqa: ARG002
        """Return a value."""
        return self._run(self._handlers.get_secret_value, request)

    def _run(self, handler: Callable[[REQ, Caller], Steps[RES]], request: REQ) -> RES:
        check(request)
        steps = handler(request, ADMISSION.get().caller())
        try:
            step = next(steps)
            while True:
                try:
                    result = self._take(step)
                except Exception as error:  # noqa: BLE001 # the handler raises what it does not handle
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as end:
            answer: RES = end.value
            return answer

    def _take(self, step: Keys | Write | Read | Refusals) -> object:
        match step:
            case Write(record, work):
                return self._store.write(record, work)
            case Read(work):
                return work()
            case Keys(organization_id, key_id):
                self._keyring.load(organization_id, key_id)
            case Refusals():
                self._store.write_refusals()
        return None
