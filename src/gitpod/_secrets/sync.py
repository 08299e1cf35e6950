"""The calls of `gitpod.v1.SecretService`, one short method each.

Parameters become a message in `_params.py`, which goes through the generated stub, `_retry.py` and
`_transport.py`; the answer becomes a result in `_results.py`, or a failure an exception in `_translate.py`.
"""

from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, TypeVar, Unpack, cast

from protobuf import Message

from gitpod import types
from gitpod._messages import requests, results
from gitpod._options import Options
from gitpod._rpc.call import Call, Calls, Headers
from gitpod._rpc.tracebacks import without_frames
from gitpod._secrets import put
from gitpod._secrets.raw import SecretsWithRawResponse
from gitpod._transport.connections import SyncConnections
from gitpod.errors import APIError
from gitpod.pagination import SyncSecretsPage
from gitpod_proto.gitpod.v1.secret_connect import SecretServiceClientSync
from gitpod_proto.gitpod.v1.secret_pb import ListSecretsRequest

if TYPE_CHECKING:
    from pyqwest import SyncClient

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

    def __init__(self, options: Options, transport: SyncConnections) -> None:
        super().__init__(options, transport.endpoint.address)
        # connectrpc calls no more of a pyqwest.SyncClient than what stands here in its place.
        http = cast("SyncClient", transport)
        self._stub = SecretServiceClientSync(http_client=http, **self._stub_options())
        self._repeating = SecretServiceClientSync(http_client=http, **self._stub_options(repeat=True))

    @property
    def with_raw_response(self) -> SecretsWithRawResponse:
        """The same calls, which return the status, headers and trailers too; `.parse()` gives the result."""
        return SecretsWithRawResponse(self)

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
        whose `outcome` is `"unknown"` the secret may exist; `put` has no such doubt.

        Args:
            timeout: seconds for the whole call.
            extra_headers: sent beside the client's.
            **params: `name`, 3 to 127 letters, digits and underscores, unique in its scope;
                `value`, at most 10240 characters, as a string, a `SecretValue` or pydantic's SecretStr;
                one mount: `environment_variable=True`, `file_path="/absolute/path"`,
                `container_registry_basic_auth_host="https://…"` (the value is then `username:password`)
                or `api_only=True`, where False is the same as leaving it out; whose it is: `project_id`,
                or `scope` with one of `project_id`, `user_id`, `organization_id`, `service_account_id`;
                `credential_proxy`; `source`.

        Raises:
            ConflictError: the name is taken in that scope.
        """
        request, call = requests.create_request(params), Call(self._options, timeout, extra_headers)
        return self._send(self._stub.create_secret, request, results.create_response, call)

    @without_frames
    def put(
        self,
        *,
        replace: bool = False,
        timeout: float | None = None,
        extra_headers: Headers | None = None,
        **params: Unpack[types.SecretCreateParams],
    ) -> types.SecretPutResponse:
        """Store a secret, or update its value when the name exists in that scope.

        Leaves one secret of that name with that value, however often it is sent, and is retried after
        any transient failure. Takes CreateSecret, and when the name exists ListSecrets and
        UpdateSecretValue.

        Args:
            replace: when the secret exists with another mount, `credential_proxy` or `source`, delete it
                and create it anew. If that fails in between, the error says what exists.
            timeout: seconds for the whole call.
            extra_headers: sent beside the client's.
            **params: those of `create`; `value` is at least 1 character, and `scope` or `project_id` required.

        Raises:
            ConflictError: the secret exists with another mount, `credential_proxy` or `source`.
        """
        steps = put.steps(requests.put_request(params), replace=replace)
        call = Call(self._options, timeout, extra_headers)
        deadline = monotonic() + call.timeout
        try:
            step = next(steps)
            while True:
                try:
                    answer = self._send(getattr(self._repeating, step.rpc), step.request, step.read, call)
                except APIError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
                call.timeout = max(0.0, deadline - monotonic())
        except StopIteration as done:
            return put.result(done)

    @without_frames
    def list(
        self,
        *,
        use_get: bool = False,
        timeout: float | None = None,
        extra_headers: Headers | None = None,
        **params: Unpack[types.SecretListParams],
    ) -> SyncSecretsPage[types.Secret]:
        """List secrets, oldest first and without their values (ListSecrets).

        Iterate over the page for every secret from there on; further pages are fetched as needed.

        Args:
            use_get: send an HTTP GET, which caches and logs on the way may keep, with the scope in its URL.
            timeout: seconds for each page.
            extra_headers: sent beside the client's.
            **params: `filter`, a mapping with `scope` (see `create`); `page_size`, 0 to 100, where 0
                means 25; `token`, the `next_token` of an earlier page; or both of these in `pagination`.
        """
        call = Call(self._options, timeout, extra_headers, use_get=use_get)
        return self._page(requests.list_request(params), call)

    @without_frames
    def get_value(
        self,
        *,
        timeout: float | None = None,
        extra_headers: Headers | None = None,
        **params: Unpack[types.SecretGetValueParams],
    ) -> types.SecretValue:
        """Read the value of the secret `secret_id`, a UUID (GetSecretValue); `.reveal()` gives the text.

        Always an HTTP POST, with `cache-control: no-store`.

        Raises:
            NotFoundError: there is no such secret.
        """
        request, call = requests.get_value_request(params), Call(self._options, timeout, extra_headers, no_store=True)
        return self._send(self._stub.get_secret_value, request, results.get_value_response, call)

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
        request, call = requests.update_value_request(params), Call(self._options, timeout, extra_headers)
        self._send(self._stub.update_secret_value, request, results.empty_response, call)

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
        request, call = requests.delete_request(params), Call(self._options, timeout, extra_headers)
        self._send(self._stub.delete_secret, request, results.empty_response, call)

    def _send(self, rpc: Callable[..., RES], request: Message, read: Callable[[RES], T], call: Call) -> T:
        try:
            return read(rpc(request, **call.options()))
        except Exception as error:  # noqa: BLE001 # translate returns what it does not know
            failure = self._translated(error, request, call)
        raise failure

    @without_frames
    def _page(self, request: ListSecretsRequest, call: Call) -> SyncSecretsPage[types.Secret]:
        secrets, token = self._send(self._stub.list_secrets, request, results.list_response, call)
        return SyncSecretsPage(secrets, token, partial(self._next_page, request, call))

    @without_frames
    def _next_page(self, request: ListSecretsRequest, call: Call, token: str) -> SyncSecretsPage[types.Secret]:
        return self._page(requests.next_page_request(request, token), call)
