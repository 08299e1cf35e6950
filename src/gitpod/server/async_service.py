"""The service for an event loop, which awaits what a handler waits for. Rules, sealing and answers run on the loop."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from protobuf import Message

from gitpod.server.auth import ADMISSION, Ctx
from gitpod.server.caller import Caller
from gitpod.server.handlers import Handlers, Keys, Read, Refusals, Steps, Write
from gitpod.server.keys.keyring import Keyring
from gitpod.server.rules import check
from gitpod.server.shares import SHARE, Share
from gitpod.server.storage.store import Store
from gitpod.server.threads import CLOSED, Pools, in_thread, to_its_end
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

if TYPE_CHECKING:
    from concurrent.futures import Future

REQ = TypeVar("REQ", bound=Message)
RES = TypeVar("RES")


class AsyncSecretService(secret_connect.SecretService):
    """The RPCs. Threads do only what waits: for the store, or for a KMS."""

    def __init__(self, handlers: Handlers, store: Store, keyring: Keyring, pools: Pools) -> None:
        self._handlers = handlers
        self._store = store
        self._keyring = keyring
        self._pools = pools
        self._loading: dict[Keys, Future[None]] = {}

    async def create_secret(self, request: CreateSecretRequest, ctx: Ctx, /) -> CreateSecretResponse:
        """Create a secret."""
        return await self._run(self._handlers.create_secret, request, ctx)

    async def update_secret_value(self, request: UpdateSecretValueRequest, ctx: Ctx, /) -> UpdateSecretValueResponse:
        """Replace a value."""
        return await self._run(self._handlers.update_secret_value, request, ctx)

    async def list_secrets(self, request: ListSecretsRequest, ctx: Ctx, /) -> ListSecretsResponse:
        """List secrets."""
        return await self._run(self._handlers.list_secrets, request, ctx)

    async def delete_secret(self, request: DeleteSecretRequest, ctx: Ctx, /) -> DeleteSecretResponse:
        """Delete a secret."""
        return await self._run(self._handlers.delete_secret, request, ctx)

    async def get_secret_value(self, request: GetSecretValueRequest, ctx: Ctx, /) -> GetSecretValueResponse:
        """Return a value."""
        return await self._run(self._handlers.get_secret_value, request, ctx)

    async def _run(self, handler: Callable[[REQ, Caller], Steps[RES]], request: REQ, ctx: Ctx) -> RES:
        left = ctx.timeout_ms
        if left is not None and left <= 0:
            # The runtime ends a call only while it waits, and work that began before that would be done.
            raise ConnectError(Code.DEADLINE_EXCEEDED, "the deadline passed")
        # Takes 1 ms at most, whatever the request holds: there is no need for a thread.
        check(request)
        share, admission = SHARE.get(), ADMISSION.get()
        caller = admission.known()
        if caller is None:
            caller = await self._read(share, admission.caller)
        steps = handler(request, caller)
        try:
            step = next(steps)
            while True:
                try:
                    result = await self._take(step, share)
                except Exception as error:  # noqa: BLE001 # the handler raises what it does not handle
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as end:
            answer: RES = end.value
            return answer

    def _take(self, step: Keys | Write | Read | Refusals, share: Share | None) -> Coroutine[Any, Any, object]:
        match step:
            case Write():
                return self._write(step, share)
            case Read(work):
                return self._read(share, work)
            case Keys():
                return self._load(step)
            case Refusals():
                return to_its_end(self._pools.refusals, self._store.write_refusals)

    async def _write(self, step: Write, share: Share | None) -> object:
        if share is None:
            return await self._store.write_async(step.record, step.work, self._pools.writers, None, step.unread)
        await share.enter()
        return await self._store.write_async(step.record, step.work, self._pools.writers, share.give_back, step.unread)

    async def _read(self, share: Share | None, work: Callable[[], RES]) -> RES:
        return await (share.read(work) if share else in_thread(self._pools.readers, work))

    async def _load(self, step: Keys) -> None:
        """Load data keys, once for all who wait for the same ones, as a KMS may take its time."""
        loading = self._loading.get(step)
        if loading is None:
            try:
                loading = self._pools.keys.submit(self._keyring.load, *step)
            except (RuntimeError, MemoryError):
                raise ConnectError(Code.UNAVAILABLE, CLOSED) from None
            self._loading[step] = loading
            loading.add_done_callback(lambda _: self._loading.pop(step, None))
        elif not step.key_id and self._keyring.can_seal(step.organization_id):
            # As in `Keyring.prepare`: one waits for a newer key, and the others use the one that they have. The wait is
            # also for a thread, and a KMS that hangs may hold all of them for other organizations.
            return
        # One caller who leaves must not end the wait of the others.
        await asyncio.shield(asyncio.wrap_future(loading))
