"""The calls of `gitpod.v1.SecretService`, one short method each.

Parameters become a message in `_params.py`, which goes through the generated stub, `_retry.py` and
`_transport.py`; the answer becomes a result in `_results.py`, or a failure an exception in `errors.py`.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar, Unpack

from protobuf import Message
from pyqwest import Client, SyncClient

from gitpod import _params, _results, types
from gitpod._call import Calls, Headers, HiddenHeaders
from gitpod._options import Options
from gitpod._transport import AsyncTransport, SyncTransport
from gitpod.errors import without_frames, without_frames_async
from gitpod.pagination import AsyncPaginator, AsyncSecretsPage, SyncSecretsPage
from gitpod_proto.gitpod.v1.secret_connect import SecretServiceClient, SecretServiceClientSync
from gitpod_proto.gitpod.v1.secret_pb import ListSecretsRequest

T = TypeVar("T")
RES = TypeVar("RES", bound=Message)


class Secrets(Calls):
    """`Gitpod().secrets`.

    Every method takes keywords only, and beside its own: `timeout`, the seconds that the call may take
    in all (the client's by default), and `extra_headers`, sent beside the client's.

    Every method raises `InvalidRequestError` for what the contract's rules refuse, before anything is
    sent; then `APIStatusError` or the class of it for the status (`AuthenticationError` 401,
    `PermissionDeniedError` 403, ...), `APIConnectionError`, `APITimeoutError` and
    `APIResponseValidationError`. The error's `outcome` says whether the request was processed.
    """

    def __init__(self, options: Options, transport: SyncTransport) -> None:
        super().__init__(options, transport.address)
        self._stub = SecretServiceClientSync(http_client=SyncClient(transport), **self._stub_options)

    @without_frames
    def create(
        self,
        *,
        timeout: float | None = None,
        extra_headers: Headers | None = None,
        **params: Unpack[types.SecretCreateParams],
    ) -> types.SecretCreateResponse:
        """Store a new secret (CreateSecret).

        A create is sent again only when the failure proves that it was not processed. After an error
        whose `outcome` is `"unknown"` the secret may exist.

        Args:
            timeout: seconds for the whole call.
            extra_headers: sent beside the client's.
            **params: `name`, 3 to 127 letters, digits and underscores, unique in its scope;
                `value`, at most 10240 characters; one mount: `environment_variable=True`,
                `file_path="/absolute/path"`, `container_registry_basic_auth_host="https://…"` (the
                value is then `username:password`) or `api_only=True`, where False is the same as
                leaving it out; whose it is: `project_id`, or `scope` with one of `project_id`,
                `user_id`, `organization_id`, `service_account_id`; `credential_proxy`; `source`.

        Raises:
            ConflictError: the name is taken in that scope.
        """
        request = _params.create_request(params)
        return self._send(self._stub.create_secret, request, _results.create_response, timeout, extra_headers)

    @without_frames
    def list(
        self,
        *,
        timeout: float | None = None,
        extra_headers: Headers | None = None,
        **params: Unpack[types.SecretListParams],
    ) -> SyncSecretsPage:
        """List secrets, oldest first and without their values (ListSecrets).

        Iterate over the page for every secret from there on; further pages are fetched as needed.

        Args:
            timeout: seconds for each page.
            extra_headers: sent beside the client's.
            **params: `filter`, a mapping with `scope` (see `create`); `page_size`, 0 to 100, where 0
                means 25; `token`, the `next_token` of an earlier page; or both of these in `pagination`.
        """
        return self._page(_params.list_request(params), timeout, extra_headers)

    @without_frames
    def get_value(
        self,
        *,
        timeout: float | None = None,
        extra_headers: Headers | None = None,
        **params: Unpack[types.SecretGetValueParams],
    ) -> types.SecretGetValueResponse:
        """Read the value of the secret `secret_id`, a UUID (GetSecretValue).

        Raises:
            NotFoundError: there is no such secret.
        """
        request = _params.get_value_request(params)
        return self._send(self._stub.get_secret_value, request, _results.get_value_response, timeout, extra_headers)

    @without_frames
    def update_value(
        self,
        *,
        timeout: float | None = None,
        extra_headers: Headers | None = None,
        **params: Unpack[types.SecretUpdateValueParams],
    ) -> None:
        """Replace the value of the secret `secret_id` by `value`, 1 to 10240 characters (UpdateSecretValue).

        Raises:
            NotFoundError: there is no such secret.
        """
        request = _params.update_value_request(params)
        self._send(self._stub.update_secret_value, request, _results.empty_response, timeout, extra_headers)

    @without_frames
    def delete(
        self,
        *,
        timeout: float | None = None,
        extra_headers: Headers | None = None,
        **params: Unpack[types.SecretDeleteParams],
    ) -> None:
        """Remove the secret `secret_id` and its value for good (DeleteSecret).

        Raises:
            NotFoundError: there is no such secret.
        """
        request = _params.delete_request(params)
        self._send(self._stub.delete_secret, request, _results.empty_response, timeout, extra_headers)

    def _send(
        self,
        rpc: Callable[..., RES],
        request: Message,
        read: Callable[[RES], T],
        timeout: float | None,
        extra_headers: Headers | None,
    ) -> T:
        options = self._call_options(timeout, extra_headers)
        try:
            return read(rpc(request, **options))
        except Exception as error:  # noqa: BLE001 # translate returns what it does not know
            raise self._translated(error, request, extra_headers) from None

    @without_frames
    def _page(
        self, request: ListSecretsRequest, timeout: float | None, extra_headers: Headers | None
    ) -> SyncSecretsPage:
        secrets, token = self._send(self._stub.list_secrets, request, _results.list_response, timeout, extra_headers)
        hidden = HiddenHeaders(extra_headers or {})
        # No lambda, whose frame would show them.
        return SyncSecretsPage(secrets, token, partial(self._next_page, request, timeout, hidden))

    @without_frames
    def _next_page(
        self, request: ListSecretsRequest, timeout: float | None, extra_headers: Headers | None, token: str
    ) -> SyncSecretsPage:
        return self._page(_params.next_page_request(request, token), timeout, extra_headers)


class AsyncSecrets(Calls):
    """`AsyncGitpod().secrets`: `Secrets`, awaited. `Secrets` documents parameters and errors."""

    def __init__(self, options: Options, transport: AsyncTransport) -> None:
        super().__init__(options, transport.address)
        self._stub = SecretServiceClient(http_client=Client(transport), **self._stub_options)

    @without_frames_async
    async def create(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 # travels to the service as its deadline
        extra_headers: Headers | None = None,
        **params: Unpack[types.SecretCreateParams],
    ) -> types.SecretCreateResponse:
        """`Secrets.create`, awaited."""
        request = _params.create_request(params)
        return await self._send(self._stub.create_secret, request, _results.create_response, timeout, extra_headers)

    @without_frames
    def list(
        self,
        *,
        timeout: float | None = None,
        extra_headers: Headers | None = None,
        **params: Unpack[types.SecretListParams],
    ) -> AsyncPaginator:
        """`Secrets.list`: await it for the first page, or `async for` over every secret."""
        return self._pages(_params.list_request(params), timeout, extra_headers)

    @without_frames_async
    async def get_value(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 # as above
        extra_headers: Headers | None = None,
        **params: Unpack[types.SecretGetValueParams],
    ) -> types.SecretGetValueResponse:
        """`Secrets.get_value`, awaited."""
        request = _params.get_value_request(params)
        return await self._send(
            self._stub.get_secret_value, request, _results.get_value_response, timeout, extra_headers
        )

    @without_frames_async
    async def update_value(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 # as above
        extra_headers: Headers | None = None,
        **params: Unpack[types.SecretUpdateValueParams],
    ) -> None:
        """`Secrets.update_value`, awaited."""
        request = _params.update_value_request(params)
        await self._send(self._stub.update_secret_value, request, _results.empty_response, timeout, extra_headers)

    @without_frames_async
    async def delete(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 # as above
        extra_headers: Headers | None = None,
        **params: Unpack[types.SecretDeleteParams],
    ) -> None:
        """`Secrets.delete`, awaited."""
        request = _params.delete_request(params)
        await self._send(self._stub.delete_secret, request, _results.empty_response, timeout, extra_headers)

    async def _send(
        self,
        rpc: Callable[..., Awaitable[RES]],
        request: Message,
        read: Callable[[RES], T],
        timeout: float | None,  # noqa: ASYNC109 # as above
        extra_headers: Headers | None,
    ) -> T:
        options = self._call_options(timeout, extra_headers)
        try:
            return read(await rpc(request, **options))
        except Exception as error:  # noqa: BLE001 # translate returns what it does not know
            raise self._translated(error, request, extra_headers) from None

    def _pages(
        self, request: ListSecretsRequest, timeout: float | None, extra_headers: Headers | None
    ) -> AsyncPaginator:
        return AsyncPaginator(partial(self._page, request, timeout, HiddenHeaders(extra_headers or {})))

    @without_frames_async
    async def _page(
        self,
        request: ListSecretsRequest,
        timeout: float | None,  # noqa: ASYNC109 # as above
        extra_headers: Headers | None,
    ) -> AsyncSecretsPage:
        rpc = self._stub.list_secrets
        secrets, token = await self._send(rpc, request, _results.list_response, timeout, extra_headers)
        hidden = HiddenHeaders(extra_headers or {})
        return AsyncSecretsPage(secrets, token, partial(self._next_page, request, timeout, hidden))

    @without_frames
    def _next_page(
        self, request: ListSecretsRequest, timeout: float | None, extra_headers: Headers | None, token: str
    ) -> AsyncPaginator:
        return self._pages(_params.next_page_request(request, token), timeout, extra_headers)
