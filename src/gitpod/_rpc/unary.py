"""Sends calls over Connect, in place of connectrpc's clients: half a client's work beside the sockets was theirs.

connectrpc prepares each call for every protocol, and copies the headers of the request twice. The generated stubs
inherit `execute_unary` from here. connectrpc still reads every answer that is not a plain success.
"""

from asyncio import CancelledError, timeout
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from connectrpc._compression import resolve_compressions
from connectrpc._protocol import ConnectWireError
from connectrpc._protocol_connect import ConnectClientProtocol
from connectrpc.client import ConnectClient, ConnectClientSync
from connectrpc.code import Code
from connectrpc.codec import Codec
from connectrpc.compression import Compression
from connectrpc.errors import ConnectError
from connectrpc.method import MethodInfo
from connectrpc.request import Headers, RequestContext
from pyqwest import FullResponse
from pyqwest import Headers as HTTPHeaders

from gitpod._rpc.retry import RetryInterceptor
from gitpod._transport.answers import HTTP_OK

if TYPE_CHECKING:
    from gitpod._transport.answers import RequestHeaders
    from gitpod._transport.connections import AsyncConnections, SyncConnections

REQ = TypeVar("REQ")
RES = TypeVar("RES")


class Unary:
    """What both kinds of clients share: requests and answers of unary calls, without I/O.

    Args:
        address: the URL of the service.
        codec: encodes requests and decodes answers.
        send_compression: compresses requests; None for none.
        accept_compression: what answers may be compressed by; None for gzip.

    Attributes:
        codec: the same.
    """

    def __init__(
        self,
        *,
        address: str,
        codec: Codec[Any, Any],
        send_compression: Compression | None,
        accept_compression: list[Compression] | None,
    ) -> None:
        self._address = address
        self.codec = codec
        self._compress = send_compression.compress if send_compression else None
        self._accepted = resolve_compressions(accept_compression)
        self._content_type = f"application/{codec.name()}"
        self._headers = {
            "connect-protocol-version": "1",
            "accept-encoding": ",".join(self._accepted),
            "content-encoding": send_compression.name() if send_compression else "identity",
            "content-type": self._content_type,
        }

    def context(
        self, method: MethodInfo[REQ, RES], headers: Headers | Mapping[str, str] | None, timeout_ms: int | None
    ) -> RequestContext[REQ, RES]:
        """Return the context of a call. Its deadline begins."""
        assert headers is not None and timeout_ms is not None  # noqa: S101, PT018 # `Call` has both
        own = {**self._headers, "connect-timeout-ms": str(timeout_ms)}
        # A dict does unless a name comes twice, which it does in no call of this package.
        sent: Any = {**headers, **own}
        if isinstance(headers, Headers):
            sent = HTTPHeaders(headers.allitems())
            sent.update(own)
        return RequestContext(method=method, http_method="POST", request_headers=sent, timeout_ms=timeout_ms)

    def request(self, request: Any, ctx: RequestContext[Any, Any]) -> tuple[str, "RequestHeaders", bytes, float]:  # noqa: ANN401 # any message
        """Return the URL, the headers and the body of a request, and the seconds that are left.

        Raises:
            ConnectError: none are left.
        """
        left = ctx.timeout_ms or 0
        if left <= 0:
            raise ConnectError(Code.DEADLINE_EXCEEDED, "Request timed out")
        content = self.codec.encode(request)
        if self._compress is not None:
            content = self._compress(content)
        method, headers = ctx.method, cast("Any", ctx.request_headers)
        return f"{self._address}/{method.service_name}/{method.name}", headers, content, left / 1000

    def message(self, answer: FullResponse, kind: type[RES]) -> RES:
        """Return the message of an answer.

        Raises:
            ConnectError: the answer is an error, or cannot be read.
        """
        headers = answer.headers
        if (
            answer.status != HTTP_OK
            or headers.get("content-type") != self._content_type
            or "content-encoding" in headers
        ):
            protocol = ConnectClientProtocol()
            protocol.validate_response(self.codec.name(), answer.status, headers.get("content-type", ""))
            protocol.handle_response_compression(headers, self._accepted, stream=False)
            if answer.status != HTTP_OK:
                raise ConnectWireError.from_response(answer).to_exception()
        try:
            message: RES = self.codec.decode(answer.content, kind)
        except Exception as error:
            raise ConnectError(Code.INVALID_ARGUMENT, f"unmarshal message: {error}") from error
        return message


def _failed(error: BaseException) -> ConnectError:
    """Return the error of connectrpc for an attempt without an answer."""
    if isinstance(error, TimeoutError):
        return ConnectError(Code.DEADLINE_EXCEEDED, "Request timed out")
    if isinstance(error, CancelledError):
        return ConnectError(Code.CANCELED, "Request was cancelled")
    return ConnectError(Code.UNAVAILABLE, str(error))


class UnarySync(ConnectClientSync):
    """What the sync stub inherits: every call is one exchange of `transport`, and `retries` repeats it."""

    def __init__(self, unary: Unary, transport: "SyncConnections", retries: RetryInterceptor) -> None:
        self._unary = unary
        self._transport = transport
        self._retries = retries

    def execute_unary(
        self,
        *,
        request: REQ,
        method: MethodInfo[REQ, RES],
        headers: Headers | Mapping[str, str] | None = None,
        timeout_ms: int | None = None,
        use_get: bool = False,  # noqa: ARG002 # a GET would write the request into the logs of proxies
    ) -> RES:
        """Make a call."""
        ctx = self._unary.context(method, headers, timeout_ms)
        return self._retries.intercept_unary_sync(self._attempt, request, ctx)

    def _attempt(self, request: REQ, ctx: RequestContext[REQ, RES]) -> RES:
        try:
            url, headers, content, seconds = self._unary.request(request, ctx)
            answer = self._transport.post(url, headers, content, seconds)
            return self._unary.message(answer, ctx.method.output)
        except ConnectError:
            raise
        except Exception as error:
            raise _failed(error) from error


class UnaryAsync(ConnectClient):
    """`UnarySync` for asyncio."""

    def __init__(self, unary: Unary, transport: "AsyncConnections", retries: RetryInterceptor) -> None:
        self._unary = unary
        self._transport = transport
        self._retries = retries

    async def execute_unary(
        self,
        *,
        request: REQ,
        method: MethodInfo[REQ, RES],
        headers: Headers | Mapping[str, str] | None = None,
        timeout_ms: int | None = None,
        use_get: bool = False,  # noqa: ARG002 # a GET would write the request into the logs of proxies
    ) -> RES:
        """Make a call."""
        ctx = self._unary.context(method, headers, timeout_ms)
        return await self._retries.intercept_unary(self._attempt, request, ctx)

    async def _attempt(self, request: REQ, ctx: RequestContext[REQ, RES]) -> RES:
        try:
            url, headers, content, seconds = self._unary.request(request, ctx)
            async with timeout(seconds):
                answer = await self._transport.post(url, headers, content)
            return self._unary.message(answer, ctx.method.output)
        except ConnectError:
            raise
        except (Exception, CancelledError) as error:
            raise _failed(error) from error
