"""Where the service is: a place that a token may be sent to, or a store to embed it over.

Errors name the option and the rule, never what was given.
"""

import os

from gitpod.errors import GitpodError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ssl import SSLContext
    from typing import Protocol

    from gitpod._options import Path
    from gitpod._options import Protocol as WireProtocol

    class Given(Protocol):
        """The sender of requests by the caller's `http_client`: what other options depend on.

        Attributes:
            is_application: whether it is a WSGI or ASGI application in this process.
            has_trailers: whether it returns the trailers of answers, which gRPC needs.
        """

        is_application: bool
        has_trailers: bool


DEFAULT_HOST = "app.ona.com"
DEFAULT_BASE_URL = f"https://{DEFAULT_HOST}/api"
VARIABLE = "GITPOD_BASE_URL"
EMBEDDED = ("sqlite:", "postgresql:")
"""The schemes of what the embedded service keeps its store in."""
# A colon is followed by a port, else it may be the one before a password.
_SHOWN = r"[a-z]+://([^@/?#]*@)?((?:\[[0-9A-Fa-f:.]+\]|:\d*(?=[,/?]|$)|[^@:/?#\[\]])*(?:/[^@?#]*)?)(\?[^@]*)?"


class Endpoint:
    """Where the service is, and how it is reached: a place that a token may be sent to.

    Args:
        given: the sender of requests by the caller's `http_client` (`_transport/given.py`); None without one.

    Attributes:
        setting: what gave the URL: `base_url`, or the environment variable.
        base_url: without a trailing slash and without a password, so it may be shown.
        address: the URL that requests are sent to.
        host, port: those of a service on the network.
        is_https: whether TLS protects the connection.
        is_embedded: whether the service runs in this process.
        store: the URL of an embedded service's store, with its password.
        http2: whether to speak nothing but HTTP/2.
        ca_cert, client_cert: the contents of the files when the client was made.
        tls_context: the same certificates for the standard library; None without any.
    """

    __slots__ = (
        "address",
        "base_url",
        "ca_cert",
        "client_cert",
        "host",
        "http2",
        "is_embedded",
        "is_https",
        "port",
        "setting",
        "store",
        "tls_context",
    )

    def __init__(
        self,
        *,
        base_url: str | None,
        allow_plaintext: bool | None,
        protocol: "WireProtocol",
        http2: bool,
        ca_cert: "Path | None",
        client_cert: "Path | tuple[Path, Path] | None",
        given: "Given | None" = None,
    ) -> None:
        if given is not None and given.is_application:
            # An application in this process has no other address than its paths.
            base_url = base_url or "http://localhost"
        self.setting = VARIABLE if not base_url and os.environ.get(VARIABLE) else "base_url"
        self.base_url = self._checked(base_url or os.environ.get(VARIABLE) or DEFAULT_BASE_URL, allow_plaintext)
        self.is_embedded = self.base_url.startswith(EMBEDDED)
        if self.is_embedded and not all(map(is_installed, ("alembic", "cryptography", "sqlalchemy"))):
            from gitpod._extras import needed  # for this message alone

            scheme = self.base_url.partition(":")[0]
            raise GitpodError(f"{self.setting}: {scheme}: is the embedded service, which {needed('server')}")
        self.store = self.base_url
        if self.is_embedded:
            self.base_url = shown(self.store)
        # Requests to the embedded service go to a name of its own.
        self.address = "http://embedded" if self.is_embedded else self.base_url
        self.is_https = self.address.startswith("https:")
        self.host, self.port = DEFAULT_HOST, 443
        if self.address != DEFAULT_BASE_URL:
            from urllib.parse import urlsplit  # slow to load

            parts = urlsplit(self.address)
            self.host, self.port = parts.hostname or "", parts.port or (443 if self.is_https else 80)
        if not isinstance(allow_plaintext, bool | None):
            raise GitpodError("allow_plaintext: must be True or False")
        if not isinstance(http2, bool):
            raise GitpodError("http2: must be True or False")
        # gRPC needs HTTP/2.
        self.http2 = http2 or protocol == "grpc"
        self.ca_cert: bytes | None = None
        self.client_cert: tuple[bytes, bytes] | None = None
        self.tls_context: SSLContext | None = None
        own = {"http2": http2 or None, "ca_cert": ca_cert, "client_cert": client_cert, "http_client": given}
        self._check_applicable([name for name, value in own.items() if value is not None])
        if protocol == "grpc" and (self.is_embedded or (given is not None and not given.has_trailers)):
            raise GitpodError('protocol: "grpc" needs HTTP trailers, which there are none of here; use "grpc-web"')
        if ca_cert is not None or client_cert is not None:
            self._load(ca_cert, client_cert)

    def _checked(self, url: str, allow_plaintext: bool | None) -> str:  # noqa: FBT001 # named by its caller
        """Return the URL without a trailing slash: a place that a token may be sent to, or a store."""
        if not isinstance(url, str):
            raise GitpodError(f"{self.setting}: must be a string")
        if url == DEFAULT_BASE_URL or url.startswith(EMBEDDED):
            return url
        from urllib.parse import urlsplit  # slow to load

        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
            _ = parts.port
        except ValueError:
            raise GitpodError(f"{self.setting}: is not a valid URL") from None
        if not url.lower().startswith(("https://", "http://")):
            raise GitpodError(f"{self.setting}: must start with https://, http://, sqlite: or postgresql:")
        if not host:
            raise GitpodError(f"{self.setting}: must have a host after {parts.scheme}://")
        if "[" in parts.netloc and (":" not in host or parts.netloc.rpartition("]")[2].lstrip(":0123456789")):
            raise GitpodError(f"{self.setting}: is not a valid URL")
        if "@" in parts.netloc:
            rule = "must not hold a user name or password; the token goes into bearer_token"
            raise GitpodError(f"{self.setting}: {rule}")
        if any(not "!" <= c <= "~" or c in "?#%" for c in url):
            rule = "must not hold a query, a fragment, escapes, spaces or non-ASCII characters"
            raise GitpodError(f"{self.setting}: {rule}")
        if parts.scheme == "http":
            self._check_plaintext(host, allow_plaintext)
        # The scheme in lower case: other code compares it.
        return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")

    def _check_plaintext(self, host: str, allow_plaintext: bool | None) -> None:  # noqa: FBT001 # named by its caller
        if allow_plaintext is None:
            allow_plaintext = os.environ.get("GITPOD_ALLOW_PLAINTEXT") == "1"
        if not (allow_plaintext or _is_loopback(host)):
            raise GitpodError(
                f"{self.setting}: http:// would show the token and every value on the way to {host}; use https://, "
                "or allow_plaintext=True (GITPOD_ALLOW_PLAINTEXT=1) on a network that you trust"
            )

    def _check_applicable(self, names: "list[str]") -> None:
        """Refuse options of the connection that would be without effect here."""
        for name in names:
            if self.is_embedded:
                raise GitpodError(f"{name}: there is no network between a client and its embedded service")
            if "http_client" in names and name != "http_client":
                raise GitpodError(f"{name}: with http_client=, set this up on that client")
            if name.endswith("_cert") and not self.is_https:
                raise GitpodError(f"{name}: needs an https:// base_url")

    def _load(self, ca_cert: "Path | None", client_cert: "Path | tuple[Path, Path] | None") -> None:
        import ssl  # only for certificates of the caller's own
        from pathlib import Path as File

        self.tls_context = ssl.create_default_context() if ca_cert is None else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if ca_cert is not None:
            try:
                self.ca_cert = File(ca_cert).read_bytes()
                self.tls_context.load_verify_locations(cadata=self.ca_cert.decode())
            except (OSError, ValueError, TypeError):
                raise GitpodError("ca_cert: must be the path of a PEM file of certificates") from None
        if client_cert is None:
            return
        try:
            certificate, key = client_cert if isinstance(client_cert, tuple) else (client_cert, client_cert)
            self.client_cert = File(certificate).read_bytes(), File(key).read_bytes()
            # Without a password it would ask for one on the terminal.
            self.tls_context.load_cert_chain(certificate, key, password="")
        except (OSError, ValueError, TypeError):
            raise GitpodError(
                "client_cert: must be the path of a PEM file that holds a certificate and its key, or a pair of paths, "
                "of the one and the other; the key must not be encrypted"
            ) from None

    def __reduce__(self) -> str:
        raise TypeError("the endpoint of a client holds its key, and is not pickled")


def shown(url: str) -> str:
    """Return a URL without user names, passwords and parameters. What has an unclear end is left out altogether."""
    if url.startswith("sqlite:"):
        return url
    import re  # not for most clients

    scheme, sign, _ = url.partition("://")
    parts = re.fullmatch(_SHOWN, url, re.ASCII)
    if parts is None:
        return f"{scheme}://…" if sign and scheme.isalpha() else "…"
    user, rest, query = parts.groups()
    return f"{scheme}://{'…@' if user else ''}{rest}{'?…' if query else ''}"


def _is_loopback(host: str) -> bool:
    from ipaddress import ip_address  # only for plain http

    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def is_installed(module: str) -> bool:
    from importlib.util import find_spec  # rarely needed

    return find_spec(module) is not None
