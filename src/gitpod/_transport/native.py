"""Senders over pyqwest: HTTP for `AsyncGitpod`, and HTTP/2 with trailers, which gRPC needs, for both clients.

pyqwest runs threads of its own. A forked process does not have them, and the end of the interpreter stops them.
"""

from typing import TYPE_CHECKING, Any

import pyqwest
from pyqwest import FullResponse, Headers

from gitpod._transport import failures
from gitpod._transport.answers import RequestHeaders
from gitpod._transport.body import Body, known_length
from gitpod._transport.failures import BrokenExchangeError, NotSentError, NotSentTimeoutError
from gitpod._transport.native_threads import refuse_at_the_end, settle_late
from gitpod._transport.pool import CONNECT_TIMEOUT, IDLE_SECONDS
from gitpod._transport.threads import held
from gitpod.errors import GitpodError

if TYPE_CHECKING:
    from gitpod._endpoint import Endpoint
    from gitpod._transport.proxy import Proxy

GRPC_HINT = "; if the port speaks no HTTP/2: gRPC has a port of its own, and other services may speak HTTP/1.1 alone"
HTTP_HINT = "; if the port speaks HTTP/2 alone, as gRPC ports do: use the Connect port"
TLS_HINT = "; if the port speaks TLS: base_url must begin with https://"


class _Native:
    """Sends requests by a transport of pyqwest's kind: its own, one of the caller's, or an application.

    Args:
        transport: a pyqwest.SyncTransport, or a pyqwest.Transport.
        hint: text for the error of a connection that fails before the first answer.

    Attributes:
        is_application: whether the transport calls an application in this process.
    """

    has_trailers = True
    is_application = False

    def __init__(self, transport: Any, hint: str = "") -> None:  # noqa: ANN401 # a protocol of pyqwest's
        self._transport = transport
        self._hint = hint


class SyncNative(_Native):
    """Sends requests by a sync transport."""

    def __init__(self, transport: Any, hint: str = "") -> None:  # noqa: ANN401 # a protocol of pyqwest's
        super().__init__(transport, hint)
        self._client = pyqwest.SyncClient(transport)

    def send(self, method: str, url: str, headers: RequestHeaders, content: bytes, timeout: float) -> FullResponse:
        """Send a request and read the answer, within `timeout` seconds."""
        refuse_at_the_end()
        sent = _without_compression(headers)
        is_answered = False
        try:
            with held(), self._client.stream(method, url, sent, content, timeout=timeout) as response:
                is_answered, self._hint = True, ""
                body = Body(response.headers, unzip=False)
                for chunk in response.content:
                    body.add(chunk)
                return FullResponse(response.status, response.headers, body.end(), response.trailers)
        except Exception as error:  # noqa: BLE001 # translated returns an error that it does not know
            raise translated(error, None if is_answered else self._hint) from None

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()


class AsyncNative(_Native):
    """Sends requests by an async transport. The caller keeps the deadline."""

    async def send(self, method: str, url: str, headers: RequestHeaders, content: bytes) -> FullResponse:
        """Send a request and read the answer."""
        refuse_at_the_end()
        sent = _without_compression(headers)
        is_answered = False
        try:
            with held():
                response = await self._transport.execute(pyqwest.Request(method, url, sent, content))
                is_answered, self._hint = True, ""
                # Trailers come behind the body, and only gRPC has any.
                length = None if "te" in headers else known_length(response.headers)
                body = Body(response.headers, unzip=False)
                if length != 0:
                    async for chunk in response.content:
                        body.add(chunk)
                        if len(body.data) == length:
                            # To wait for the end of the body would take another turn of the event loop.
                            break
                return FullResponse(response.status, response.headers, body.end(), response.trailers)
        except Exception as error:  # noqa: BLE001 # translated returns an error that it does not know
            raise translated(error, None if is_answered else self._hint) from None
        finally:
            settle_late()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


def native_transport(endpoint: "Endpoint", proxy: "Proxy | None", *, is_async: bool) -> SyncNative | AsyncNative:
    """Pyqwest's own transport to a service on the network, for a process in which pyqwest `is_usable`.

    Raises:
        NotSentError: it cannot be made.
    """
    options: dict[str, Any] = {
        # Loading them takes 5 ms.
        "tls_include_system_certs": endpoint.ca_cert is None and endpoint.is_https,
        "connect_timeout": CONNECT_TIMEOUT,
        "pool_idle_timeout": IDLE_SECONDS,
        # A redirect with status 307 would send the secret to the host that the answer names.
        "follow_redirects": False,
        # Both decompress a whole body at once, beyond any bound.
        "enable_brotli": False,
        "enable_zstd": False,
        "enable_otel": False,
        # With an explicit proxy, pyqwest does not read the environment. No request has the scheme of this one.
        "proxy": pyqwest.Proxy("http://127.0.0.1:9", scheme="http" if endpoint.is_https else "https"),
    }
    if endpoint.http2:
        options["http_version"] = pyqwest.HTTPVersion.HTTP2
    if endpoint.ca_cert is not None:
        options["tls_ca_cert"] = endpoint.ca_cert
    if endpoint.client_cert is not None:
        options["tls_cert"], options["tls_key"] = endpoint.client_cert
    hint = (GRPC_HINT if endpoint.http2 else HTTP_HINT) + ("" if endpoint.is_https else TLS_HINT)
    try:
        if proxy is not None:
            options["proxy"] = pyqwest.Proxy(proxy.url, auth=proxy.login)
        if is_async:
            return AsyncNative(pyqwest.HTTPTransport(**options), hint)
        return SyncNative(pyqwest.SyncHTTPTransport(**options), hint)
    except (RuntimeError, ValueError) as error:
        text = failures.NO_AUTHORITIES if "certificates" in str(error) else str(error)
        raise NotSentError(text, permanent=True) from None


def _without_compression(headers: RequestHeaders) -> Headers:
    """Ask for no compression of the whole body unless the caller does. pyqwest would ask for all that it knows."""
    sent = headers if isinstance(headers, Headers) else Headers(headers.items())
    sent.setdefault("accept-encoding", "identity")
    return sent


def translated(error: Exception, hint: str | None) -> Exception:
    """Return the failure of an exchange by pyqwest. `hint` is None after an answer, which proves that it was sent."""
    if isinstance(error, GitpodError | NotSentError | BrokenExchangeError):
        return error
    if hint is not None and (unsent := _unsent(error)) is not None:
        return unsent
    if isinstance(error, TimeoutError):
        return TimeoutError()
    if isinstance(error, pyqwest.StreamError):
        # connectrpc has a code for each kind of them. At the deadline, many services reset the stream.
        return error
    is_wire = isinstance(error, pyqwest.WriteError | pyqwest.RemoteProtocolError)
    return BrokenExchangeError(f"{str(error).removeprefix('Request failed: ')}{hint if hint and is_wire else ''}")


def _unsent(error: Exception) -> NotSentError | None:
    """The failure when pyqwest's error proves that nothing was sent.

    By exact type: pyqwest raises the builtin itself when it cannot connect, and applications in this process
    raise classes of their own that derive from it.
    """
    if type(error) is pyqwest.ConnectTimeout:
        return NotSentTimeoutError("no connection in time")
    if type(error) is ConnectionError:
        return _unconnected(str(error).removeprefix("Request failed: "))
    is_refused = isinstance(error, pyqwest.StreamError) and error.code is pyqwest.StreamErrorCode.REFUSED_STREAM
    is_shut_down = isinstance(error, RuntimeError) and str(error).startswith("cannot schedule new futures")
    return NotSentError(str(error), permanent=is_shut_down) if is_refused or is_shut_down else None


def _unconnected(text: str) -> NotSentError:
    """Return why pyqwest could not connect. Its errors say so in their text only."""
    # The text before it holds the URL, which may contain any of these words.
    reason = text.rpartition("client error (Connect): ")[2]
    if "tunnel error" in reason or "socks proxy" in reason:
        is_lasting = any(word in reason for word in ("authorization", "certificate", "InvalidContentType"))
        return NotSentError(f"the proxy: {reason}", permanent=is_lasting)
    if "invalid peer certificate" in reason:
        is_other = "not valid for name" in reason or "NotValidForName" in reason
        return NotSentError((failures.OTHER_HOST if is_other else failures.UNTRUSTED).format(reason), permanent=True)
    if "certificate" in reason.lower():
        return NotSentError(f"{failures.UNWANTED} ({reason})", permanent=True)
    if "InvalidContentType" in reason:
        return NotSentError(failures.NO_TLS, permanent=True)
    return NotSentError(f"{text}; is base_url right?")
