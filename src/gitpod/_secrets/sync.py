"""The calls of `Gitpod`, a short method for each.

Parameters become a message in `_messages.requests`. The generated stub sends it. The answer becomes a result in
`_messages.results`, or a failure becomes an exception in `_rpc.translate`.
"""

from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import TypeVar, Unpack

from protobuf import Message

from gitpod import types
from gitpod._messages import requests, results
from gitpod._options import Options
from gitpod._rpc.call import Call, Calls, Headers
from gitpod._rpc.steps import run
from gitpod._rpc.tracebacks import without_frames
from gitpod._rpc.unary import UnarySync
from gitpod._secrets import put
from gitpod._secrets.keywords import OMITTED, Nothing, keywords
from gitpod._secrets.raw import raw
from gitpod._transport.connections import SyncConnections
from gitpod.pagination import SyncSecretsPage
from gitpod_proto.gitpod.v1 import secret_pb
from gitpod_proto.gitpod.v1.secret_connect import SecretServiceClientSync

T = TypeVar("T")
RES = TypeVar("RES", bound=Message)


class _Stub(UnarySync, SecretServiceClientSync):
    """The generated stub, over Connect."""


class Secrets(Calls[SecretServiceClientSync]):
    """The calls of `gitpod.v1.SecretService`: `Gitpod().secrets`.

    Every method takes keywords only. Two of them are common to all: `timeout`, the seconds that the whole call
    may take (the client's `timeout` by default), and `extra_headers`, which are sent beside those of the client.

    Every method raises `InvalidRequestError` before anything is sent if the parameters break a rule of the
    contract. A call that fails raises `APIStatusError` or its subclass for the status (`AuthenticationError` 401,
    `PermissionDeniedError` 403, ...), `APIConnectionError`, `APITimeoutError` or `APIResponseValidationError`.
    The error's `outcome` says whether the request was processed. `"unknown"` also means that it may be processed
    later (see `gitpod.APIError`).
    """

    def __init__(self, options: Options, transport: SyncConnections) -> None:
        super().__init__(options, transport, stub=SecretServiceClientSync, unary=_Stub)

    @property
    def with_raw_response(self) -> "SecretsWithRawResponse":
        """The same calls, which return status, headers and trailers too; `.parse()` gives the result."""
        return SecretsWithRawResponse(self)

    @without_frames
    def create(  # noqa: PLR0913 # options by name
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
        timeout: float | None = None,
        extra_headers: Headers | None = None,
        **unknown: Unpack[Nothing],
    ) -> types.SecretCreateResponse:
        """Store a new secret (CreateSecret). Give one mount, and `scope` or `project_id`.

        The request is sent again only if the failure proves that it was not processed. After an error whose
        `outcome` is `"unknown"` the secret may exist; `put` has no such doubt.

        Args:
            name: unique in its scope; 3 to 127 letters, digits and underscores.
            value: at most 10240 characters: a string, a `SecretValue` or pydantic's SecretStr. It may be empty.
                It may be left out only if `source` says that it comes from elsewhere.
            environment_variable: mount: True sets an environment variable of that name. False means left out.
            file_path: mount: the absolute path of a file with the value.
            container_registry_basic_auth_host: mount: the URL of a registry; the value is `username:password`.
            api_only: mount: True gives the secret to no environment. False means left out.
            project_id: the UUID of the project that owns the secret; short for `scope={"project_id": ...}`.
            scope: who owns the secret: the UUID of a `project_id`, `user_id`, `organization_id` or
                `service_account_id`.
            credential_proxy: the hosts and the header to which a proxy adds the value.
            source: where the value comes from; `{"verbatim": True}`, the value itself, by default.
            timeout: seconds for the whole call; those of the client by default.
            extra_headers: sent beside the client's.
            **unknown: nothing; any other name is refused.

        Raises:
            InvalidRequestError: a rule is broken; nothing was sent.
            ConflictError: the name is taken in that scope.
        """
        request, call = requests.create_request(keywords(locals())), Call(self._options, timeout, extra_headers)
        return self._send(self._stub.create_secret, request, results.create_response, call)

    @without_frames
    def put(  # noqa: PLR0913 # options by name
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
        timeout: float | None = None,
        extra_headers: Headers | None = None,
        **unknown: Unpack[Nothing],
    ) -> types.SecretPutResponse:
        """Store a secret, or update its value if the name exists in that scope.

        However often it is sent, it leaves one secret of that name with that value, so it is sent again after
        any transient failure. Sends CreateSecret and, if the name exists, ListSecrets and UpdateSecretValue.

        After an error whose `outcome` is `"unknown"`, the value may also be stored later, over a newer one. Send
        the same value again at any time; before sending another, wait, or delete the secret and create it again.

        Args:
            name: as for `create`.
            value: as for `create`, but at least 1 character and never left out.
            environment_variable: as for `create`.
            file_path: as for `create`.
            container_registry_basic_auth_host: as for `create`.
            api_only: as for `create`.
            project_id: as for `create`; required if there is no `scope`.
            scope: as for `create`; required if there is no `project_id`.
            credential_proxy: as for `create`.
            source: as for `create`.
            replace: if the secret exists with another mount, `credential_proxy` or `source`, delete it and
                create it anew; False by default. If that fails halfway, the error says what exists.
            timeout: seconds for all RPCs together; those of the client by default.
            extra_headers: sent beside the client's, with every RPC.
            **unknown: nothing; any other name is refused.

        Raises:
            InvalidRequestError: a rule is broken; nothing was sent.
            ConflictError: the secret exists with another mount, `credential_proxy` or `source`.
        """
        request, call = requests.put_request(keywords(locals())), Call(self._options, timeout, extra_headers)
        deadline = monotonic() + call.timeout

        def take(step: put.Step) -> object:
            call.timeout = deadline - monotonic()
            return self._send(getattr(self._repeating, step.rpc), step.request, step.read, call)

        return run(put.steps(request, replace=replace), take)

    @without_frames
    def list(
        self,
        *,
        timeout: float | None = None,
        extra_headers: Headers | None = None,
        **params: Unpack[types.SecretListParams],
    ) -> SyncSecretsPage[types.Secret]:
        """List secrets, oldest first and without their values (ListSecrets).

        Returns one page. Iterate over it for every secret from there on; it fetches further pages as needed.

        Args:
            timeout: seconds for each page; those of the client by default.
            extra_headers: sent beside the client's, with every page.
            **params: `filter`, a mapping with `scope` (see `create`); `page_size`, 0 to 100, where 0 means 25;
                `token`, the `next_token` of an earlier page. `pagination` may hold `page_size` and `token` too.
        """
        call = Call(self._options, timeout, extra_headers)
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

        Sends `cache-control: no-store`.

        Raises:
            NotFoundError: no such secret exists.
        """
        request = requests.request(secret_pb.GetSecretValueRequest, params)
        call = Call(self._options, timeout, extra_headers, no_store=True)
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

        After an error whose `outcome` is `"unknown"`, the value may also be stored later, as with `put`.

        Raises:
            NotFoundError: no such secret exists.
        """
        request = requests.request(secret_pb.UpdateSecretValueRequest, params)
        call = Call(self._options, timeout, extra_headers)
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

        After an error whose `outcome` is `"unknown"`, the secret may also be removed later.

        Raises:
            NotFoundError: no such secret exists.
        """
        request = requests.request(secret_pb.DeleteSecretRequest, params)
        call = Call(self._options, timeout, extra_headers)
        self._send(self._stub.delete_secret, request, results.empty_response, call)

    def _send(self, rpc: Callable[..., RES], request: Message, read: Callable[[RES], T], call: Call) -> T:
        try:
            return read(rpc(request, headers=call.headers, timeout_ms=call.timeout_ms))
        except Exception as error:  # noqa: BLE001 # translate returns an error that it does not know
            failure = self._translated(error, request, call)
        raise failure

    @without_frames
    def _page(self, request: secret_pb.ListSecretsRequest, call: Call) -> SyncSecretsPage[types.Secret]:
        secrets, token = self._send(self._stub.list_secrets, request, results.list_response, call)
        return SyncSecretsPage(secrets, token, partial(self._next_page, request, call))

    @without_frames
    def _next_page(
        self, request: secret_pb.ListSecretsRequest, call: Call, token: str
    ) -> SyncSecretsPage[types.Secret]:
        return self._page(requests.next_page_request(request, token), call)


class SecretsWithRawResponse:
    """`Gitpod().secrets.with_raw_response`: the calls of `Secrets`, each of which returns an `APIResponse`."""

    def __init__(self, secrets: Secrets) -> None:
        self.create = raw(secrets.create)
        self.put = raw(secrets.put)
        self.list = raw(secrets.list)
        self.get_value = raw(secrets.get_value)
        self.update_value = raw(secrets.update_value)
        self.delete = raw(secrets.delete)
