"""The calls of `AsyncGitpod`: those of `Secrets`, awaited. Parameters and errors are documented there."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic
from typing import TypeVar, Unpack

from protobuf import Message

from gitpod import types
from gitpod._messages import requests, results
from gitpod._options import Options
from gitpod._rpc.call import Call, Calls, Headers
from gitpod._rpc.steps import run_async
from gitpod._rpc.tracebacks import without_frames, without_frames_async
from gitpod._rpc.unary import UnaryAsync
from gitpod._secrets import put
from gitpod._secrets.keywords import OMITTED, Nothing, keywords
from gitpod._secrets.raw import araw
from gitpod._transport.connections import AsyncConnections
from gitpod.errors import GitpodError
from gitpod.pagination import AsyncPaginator, AsyncSecretsPage
from gitpod_proto.gitpod.v1 import secret_pb
from gitpod_proto.gitpod.v1.secret_connect import SecretServiceClient

T = TypeVar("T")
RES = TypeVar("RES", bound=Message)


class _Stub(UnaryAsync, SecretServiceClient):
    """The generated stub, over Connect."""


class AsyncSecrets(Calls[SecretServiceClient]):
    """The calls of `gitpod.v1.SecretService`: `AsyncGitpod().secrets`. `Secrets` documents parameters and errors."""

    def __init__(self, options: Options, transport: AsyncConnections) -> None:
        super().__init__(options, transport, stub=SecretServiceClient, unary=_Stub)

    @property
    def with_raw_response(self) -> "AsyncSecretsWithRawResponse":
        """The same calls, which return status, headers and trailers too; `await .parse()` gives the result."""
        return AsyncSecretsWithRawResponse(self)

    @without_frames_async
    async def create(  # noqa: PLR0913 # options by name
        self,
        *,
        name: str,
        value: str | types.SupportsSecretValue = OMITTED,
        environment_variable: bool | None = None,
        file_path: str | None = None,
        container_registry_basic_auth_host: str | None = None,
        api_only: bool | None = None,
        project_id: str | None = None,
        scope: types.SecretScopeParam | types.SecretScope | None = None,
        credential_proxy: types.CredentialProxyParam | types.CredentialProxy | None = None,
        source: types.SourceParam | types.Source | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 # travels to the service as its deadline
        extra_headers: Headers | None = None,
        **unknown: Unpack[Nothing],
    ) -> types.SecretCreateResponse:
        """`Secrets.create`, awaited."""
        request, call = requests.create_request(keywords(locals())), Call(self._options, timeout, extra_headers)
        return await self._send(self._stub.create_secret, request, results.create_response, call)

    @without_frames_async
    async def put(  # noqa: PLR0913 # options by name
        self,
        *,
        name: str,
        value: str | types.SupportsSecretValue = OMITTED,
        environment_variable: bool | None = None,
        file_path: str | None = None,
        container_registry_basic_auth_host: str | None = None,
        api_only: bool | None = None,
        project_id: str | None = None,
        scope: types.SecretScopeParam | types.SecretScope | None = None,
        credential_proxy: types.CredentialProxyParam | types.CredentialProxy | None = None,
        source: types.SourceParam | types.Source | None = None,
        replace: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109 # travels to the service as its deadline
        extra_headers: Headers | None = None,
        **unknown: Unpack[Nothing],
    ) -> types.SecretPutResponse:
        """`Secrets.put`, awaited."""
        request, call = requests.put_request(keywords(locals())), Call(self._options, timeout, extra_headers)
        deadline = monotonic() + call.timeout

        def take(step: put.Step) -> Awaitable[object]:
            call.timeout = deadline - monotonic()
            return self._send(getattr(self._repeating, step.rpc), step.request, step.read, call)

        return await run_async(put.steps(request, replace=replace), take)

    @without_frames
    def list(
        self,
        *,
        timeout: float | None = None,
        extra_headers: Headers | None = None,
        **params: Unpack[types.SecretListParams],
    ) -> AsyncPaginator[types.Secret]:
        """`Secrets.list`: await it for the first page, or `async for` over every secret."""
        call = Call(self._options, timeout, extra_headers)
        return self._pages(requests.list_request(params), call)

    @without_frames_async
    async def get_value(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 # travels to the service as its deadline
        extra_headers: Headers | None = None,
        **params: Unpack[types.SecretGetValueParams],
    ) -> types.SecretValue:
        """`Secrets.get_value`, awaited."""
        request = requests.request(secret_pb.GetSecretValueRequest, params)
        call = Call(self._options, timeout, extra_headers, no_store=True)
        return await self._send(self._stub.get_secret_value, request, results.get_value_response, call)

    @without_frames_async
    async def update_value(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 # travels to the service as its deadline
        extra_headers: Headers | None = None,
        **params: Unpack[types.SecretUpdateValueParams],
    ) -> None:
        """`Secrets.update_value`, awaited."""
        request = requests.request(secret_pb.UpdateSecretValueRequest, params)
        call = Call(self._options, timeout, extra_headers)
        await self._send(self._stub.update_secret_value, request, results.empty_response, call)

    @without_frames_async
    async def delete(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 # travels to the service as its deadline
        extra_headers: Headers | None = None,
        **params: Unpack[types.SecretDeleteParams],
    ) -> None:
        """`Secrets.delete`, awaited."""
        request = requests.request(secret_pb.DeleteSecretRequest, params)
        call = Call(self._options, timeout, extra_headers)
        await self._send(self._stub.delete_secret, request, results.empty_response, call)

    async def _send(
        self, rpc: Callable[..., Awaitable[RES]], request: Message, read: Callable[[RES], T], call: Call
    ) -> T:
        _require_asyncio()
        try:
            return read(await rpc(request, headers=call.headers, timeout_ms=call.timeout_ms))
        except Exception as error:  # noqa: BLE001 # translate returns an error that it does not know
            failure = self._translated(error, request, call)
        raise failure

    def _pages(self, request: secret_pb.ListSecretsRequest, call: Call) -> AsyncPaginator[types.Secret]:
        return AsyncPaginator(partial(self._page, request, call))

    @without_frames_async
    async def _page(self, request: secret_pb.ListSecretsRequest, call: Call) -> AsyncSecretsPage[types.Secret]:
        secrets, token = await self._send(self._stub.list_secrets, request, results.list_response, call)
        return AsyncSecretsPage(secrets, token, partial(self._next_page, request, call))

    @without_frames
    def _next_page(self, request: secret_pb.ListSecretsRequest, call: Call, token: str) -> AsyncPaginator[types.Secret]:
        return self._pages(requests.next_page_request(request, token), call)


class AsyncSecretsWithRawResponse:
    """`AsyncGitpod().secrets.with_raw_response`: the calls of `AsyncSecrets`, which give an `AsyncAPIResponse`."""

    def __init__(self, secrets: AsyncSecrets) -> None:
        self.create = araw(secrets.create)
        self.put = araw(secrets.put)
        self.list = araw(secrets.list)
        self.get_value = araw(secrets.get_value)
        self.update_value = araw(secrets.update_value)
        self.delete = araw(secrets.delete)


def _require_asyncio() -> None:
    """Raise under other event loops, where connectrpc's client fails with errors that look like an outage."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise GitpodError("AsyncGitpod needs a running asyncio event loop; trio is not supported") from None
