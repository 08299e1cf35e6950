"""The options of a client and of a call: where they come from, and what is refused.

Errors name the option and the rule, never what was given.
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gitpod._endpoint import EMBEDDED, service_url, shown
from gitpod.errors import GitpodError

if TYPE_CHECKING:
    from os import PathLike
    from ssl import SSLContext
    from typing import Any, Literal, TypeAlias, TypedDict

    Codec: TypeAlias = Literal["binary", "json"]
    Protocol: TypeAlias = Literal["connect", "grpc", "grpc-web"]
    Compression: TypeAlias = Literal["gzip", "zstd"]
    Path: TypeAlias = str | PathLike[str]

    class ClientOptions(TypedDict, total=False):
        """What `with_options` may change."""

        bearer_token: str
        timeout: float
        max_retries: int
        codec: Codec
        default_headers: Mapping[str, str] | None


CHANGEABLE = ("bearer_token", "timeout", "max_retries", "codec", "default_headers")

LONGEST_TIMEOUT = 9_999_999
"""Seconds; `connect-timeout-ms` has room for ten digits."""
NAME_PUNCTUATION = "!#$%&'*+-.^_`|~"
"""What a header's name may hold beside letters and digits (RFC 9110 section 5.6.2)."""


RESERVED = {
    "accept-encoding",
    "connect-accept-encoding",
    "connect-content-encoding",
    "connect-protocol-version",
    "connect-timeout-ms",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "grpc-accept-encoding",
    "grpc-encoding",
    "grpc-timeout",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
"""Headers by which the protocol and the connection work; a wrong one would cut a request in two."""


class Options:
    """The checked options of a client's calls. Its repr shows no token."""

    __slots__ = ("bearer_token", "codec", "compression", "default_headers", "max_retries", "protocol", "timeout")

    def __init__(
        self,
        *,
        bearer_token: str | None,
        needs_token: bool = True,
        timeout: float,
        max_retries: int,
        protocol: "Protocol",
        codec: "Codec",
        compression: "Compression | None",
        default_headers: Mapping[str, str] | None,
    ) -> None:
        if isinstance(max_retries, bool) or not isinstance(max_retries, int) or max_retries < 0:
            raise GitpodError("max_retries: must be a whole number, 0 or more")
        if protocol not in ("connect", "grpc", "grpc-web"):
            raise GitpodError('protocol: must be "connect", "grpc" or "grpc-web"')
        if codec not in ("binary", "json"):
            raise GitpodError('codec: must be "binary" or "json"')
        if compression not in (None, "gzip", "zstd"):
            raise GitpodError('compression: must be None, "gzip" or "zstd"')
        if compression == "zstd" and not _is_installed("zstandard"):
            raise GitpodError("compression: zstd needs the zstandard package; pip install 'gitpod-connect[zstd]'")
        given = os.environ.get("GITPOD_API_KEY") if bearer_token is None else bearer_token
        self.bearer_token = _token(given if needs_token else given or "embedded")
        self.timeout = seconds(timeout)
        self.max_retries = max_retries
        self.protocol: Protocol = protocol
        self.codec: Codec = codec
        self.compression: Compression | None = compression
        self.default_headers = headers(default_headers, "default_headers")

    def changed(self, changes: "ClientOptions") -> "Options":
        """These options with some changed; headers are added to those that there are."""
        for name in changes:
            if name not in CHANGEABLE:
                raise GitpodError(f"with_options: {name}: is not an option that a copy can change")
        own: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        added = headers(changes.get("default_headers"), "default_headers")
        own.update(changes)
        own["default_headers"] = {**self.default_headers, **added}
        return Options(**own)

    def __reduce__(self) -> str:
        raise TypeError("the options of a client hold its token, and are not pickled")


class Endpoint:
    """Where the service is, and how it is reached: a place that a token may be sent to.

    `base_url` has no trailing slash, and may be shown; `address` is what requests are sent to, `store` what
    an embedded service keeps; `ca_cert` and `client_cert` are what the files held as the client was made.
    """

    __slots__ = (
        "_context",
        "address",
        "base_url",
        "ca_cert",
        "client_cert",
        "http2",
        "http_client",
        "is_embedded",
        "store",
    )

    def __init__(
        self,
        *,
        base_url: str | None,
        allow_plaintext: bool | None,
        protocol: "Protocol",
        http2: bool,
        ca_cert: "Path | None",
        client_cert: "Path | tuple[Path, Path] | None",
        http_client: object,
        is_async: bool,
    ) -> None:
        from gitpod._transport.native import adapt, is_app, is_httpx  # only what a client of its own needs

        in_process = http_client is not None and is_app(http_client, is_async=is_async)
        # An application in this process has no other address than its paths.
        self.base_url = service_url(base_url or "http://localhost" if in_process else base_url, allow_plaintext)
        self.is_embedded = self.base_url.startswith(EMBEDDED)
        if self.is_embedded and not (_is_installed("sqlalchemy") and _is_installed("cryptography")):
            scheme = self.base_url.partition(":")[0]
            raise GitpodError(f"base_url: {scheme}: is the embedded service; pip install 'gitpod-connect[server]'")
        self.store, self.base_url = self.base_url, shown(self.base_url)
        # Requests to the embedded service go to a name of its own.
        self.address = "http://embedded" if self.is_embedded else self.base_url
        if not isinstance(allow_plaintext, bool | None):
            raise GitpodError("allow_plaintext: must be True or False")
        if not isinstance(http2, bool):
            raise GitpodError("http2: must be True or False")
        # gRPC has no other.
        self.http2 = http2 or protocol == "grpc"
        self.ca_cert: bytes | None = None
        self.client_cert: tuple[bytes, bytes] | None = None
        self._context: SSLContext | None = None
        self.http_client = None if http_client is None else adapt(http_client, is_async=is_async)
        own = {"http2": http2 or None, "ca_cert": ca_cert, "client_cert": client_cert, "http_client": http_client}
        for name in (name for name, value in own.items() if value is not None):
            if self.is_embedded:
                raise GitpodError(f"{name}: there is no network between a client and its embedded service")
            if http_client is not None and name != "http_client":
                raise GitpodError(f"{name}: with http_client=, set this up on that client")
        if protocol == "grpc" and (self.is_embedded or is_httpx(http_client, is_async=is_async)):
            raise GitpodError('protocol: "grpc" needs HTTP trailers, which there are none of here; use "grpc-web"')
        if ca_cert is None and client_cert is None:
            return
        if not self.base_url.startswith("https:"):
            raise GitpodError(f"{'client_cert' if ca_cert is None else 'ca_cert'}: needs an https:// base_url")
        self._load(ca_cert, client_cert)

    def tls_context(self) -> "SSLContext":
        """What the certificates amount to, for the standard library."""
        import ssl  # only for TLS that pyqwest does not do

        return self._context or ssl.create_default_context()

    def _load(self, ca_cert: "Path | None", client_cert: "Path | tuple[Path, Path] | None") -> None:
        import ssl  # as above
        from pathlib import Path as File

        self._context = ssl.create_default_context() if ca_cert is None else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if ca_cert is not None:
            try:
                self.ca_cert = File(ca_cert).read_bytes()
                self._context.load_verify_locations(cadata=self.ca_cert.decode())
            except (OSError, ValueError, TypeError):
                raise GitpodError("ca_cert: must be the path of a PEM file of certificates") from None
        if client_cert is None:
            return
        try:
            certificate, key = client_cert if isinstance(client_cert, tuple) else (client_cert, client_cert)
            self.client_cert = File(certificate).read_bytes(), File(key).read_bytes()
            # Without a password it would ask for one on the terminal.
            self._context.load_cert_chain(certificate, key, password="")
        except (OSError, ValueError, TypeError):
            raise GitpodError(
                "client_cert: must be the path of a PEM file that holds a certificate and its key, or a pair of paths, "
                "of the one and the other; the key must not be encrypted"
            ) from None

    def __reduce__(self) -> str:
        raise TypeError("the endpoint of a client holds its key, and is not pickled")


def seconds(timeout: float) -> float:
    """A timeout."""
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= LONGEST_TIMEOUT:
        raise GitpodError(f"timeout: must be a number of seconds, more than 0 and at most {LONGEST_TIMEOUT}")
    return float(timeout)


def headers(given: Mapping[str, str] | None, name: str) -> dict[str, str]:
    """Headers that HTTP can carry, by lower-case name. `name` is the option that they came by."""
    checked: dict[str, str] = {}
    if given is not None and not isinstance(given, Mapping):
        raise GitpodError(f"{name}: must be a mapping of strings to strings")
    for key, value in (given or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise GitpodError(f"{name}: must be a mapping of strings to strings")
        if not key or not all(c.isascii() and (c.isalnum() or c in NAME_PUNCTUATION) for c in key):
            raise GitpodError(f"{name}: a header's name must be an HTTP token, without spaces or colons")
        if key.lower() in RESERVED:
            raise GitpodError(f"{name}: {key!r} is for the protocol to say")
        if not all(" " <= c <= "~" or c == "\t" for c in value) or value != value.strip():
            raise GitpodError(f"{name}: the value of {key!r} must be printable ASCII without surrounding spaces")
        checked[key.lower()] = value
    return checked


def _token(given: str | None) -> str:
    if not given:
        raise GitpodError("bearer_token: missing; pass bearer_token=… or set the environment variable GITPOD_API_KEY")
    if not isinstance(given, str) or not all("!" <= c <= "~" for c in given):
        raise GitpodError("bearer_token: must be printable ASCII without spaces or line breaks")
    return given


def _is_installed(module: str) -> bool:
    from importlib.util import find_spec  # rarely needed

    return find_spec(module) is not None
