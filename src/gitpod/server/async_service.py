"""The handlers of `service.py` for an event loop. Each call runs in a thread, because the store waits for disks."""

from collections.abc import Callable
from contextvars import copy_context
from typing import TypeVar

from gitpod.server.auth import Ctx
from gitpod.server.service import SecretService
from gitpod.server.shares import SHARE
from gitpod.server.threads import Threads, in_thread
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

REQ = TypeVar("REQ")
RES = TypeVar("RES")


class AsyncSecretService(secret_connect.SecretService):
    """Runs the handlers of a `SecretService` in threads."""

    def __init__(self, service: SecretService, threads: Threads) -> None:
        self._service = service
        self._threads = threads

    async def create_secret(self, request: CreateSecretRequest, ctx: Ctx, /) -> CreateSecretResponse:
        """Create a secret."""
        return await self._run(self._service.create_secret, request, ctx)

    async def update_secret_value(self, request: UpdateSecretValueRequest, ctx: Ctx, /) -> UpdateSecretValueResponse:
        """Replace a value."""
        return await self._run(self._service.update_secret_value, request, ctx)

    async def list_secrets(self, request: ListSecretsRequest, ctx: Ctx, /) -> ListSecretsResponse:
        """List secrets."""
        return await self._run(self._service.list_secrets, request, ctx)

    async def delete_secret(self, request: DeleteSecretRequest, ctx: Ctx, /) -> DeleteSecretResponse:
        """Delete a secret."""
        return await self._run(self._service.delete_secret, request, ctx)

    async def get_secret_value(self, request: GetSecretValueRequest, ctx: Ctx, /) -> GetSecretValueResponse:
        """Return a value."""
        return await self._run(self._service.get_secret_value, request, ctx)

    async def _run(self, handler: Callable[[REQ, Ctx], RES], request: REQ, ctx: Ctx) -> RES:
        # The thread needs the context variables of the request, which hold the caller.
        context = copy_context()

        def work() -> RES:
            return context.run(handler, request, ctx)

        share = SHARE.get()
        return await (share.run(work) if share else in_thread(self._threads, work))
