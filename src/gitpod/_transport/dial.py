"""Connects sockets to a service, and explains why one did not connect: the name, the port, the certificate."""

import select
import ssl
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from socket import AI_NUMERICHOST, IPPROTO_TCP, SOCK_STREAM, TCP_NODELAY, gaierror, getaddrinfo, socket
from time import monotonic
from typing import Any

from gitpod._transport.failures import NO_AUTHORITIES, NO_TLS, OTHER_HOST, UNTRUSTED, NotSentError, NotSentTimeoutError
from gitpod._transport.proxy import Proxy, bracketed
from gitpod._transport.threads import in_thread, is_ending

HTTP_PORT, HTTPS_PORT = 80, 443
HOSTNAME_MISMATCH = (62, 64)
"""OpenSSL's numbers for a certificate of another host, or of another address."""


@dataclass(frozen=True, slots=True)
class Target:
    """The destination of a connection: the service, the proxy to it, and the TLS settings."""

    host: str
    port: int
    context: ssl.SSLContext | None
    proxy: Proxy | None

    @property
    def authority(self) -> str:
        """Host and port, as in a CONNECT request to a proxy."""
        return f"{bracketed(self.host)}:{self.port}"

    @property
    def host_header(self) -> str:
        """The authority, without the port if it is the scheme's default."""
        is_default = self.port == (HTTP_PORT if self.context is None else HTTPS_PORT)
        return bracketed(self.host) if is_default else self.authority


def http1(own: ssl.SSLContext | None) -> ssl.SSLContext:
    """Return the TLS settings for HTTP/1.1: the caller's own, or those with the system's certificate authorities.

    Raises:
        NotSentError: the system has no certificate authorities.
    """
    context = own or ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    folder = ssl.get_default_verify_paths().capath
    # OpenSSL loads authorities from a folder only when it needs them, so they are not counted.
    if not context.cert_store_stats()["x509"] and not (folder and any(Path(folder).iterdir())):
        raise NotSentError(NO_AUTHORITIES, permanent=True)
    return context


def dial(to: Target | Proxy, deadline: float) -> socket:
    """Return a connected socket. Each address of the name gets an equal share of the time that is left.

    Raises:
        NotSentError: the name has no address, or no address answers.
    """
    try:
        addresses = _resolve(to, deadline)
        for index, (family, kind, protocol, _, address) in enumerate(addresses):
            sock = socket(family, kind, protocol)
            try:
                sock.settimeout(max(0.001, (deadline - monotonic()) / (len(addresses) - index)))
                sock.connect(address)
                sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
            except BaseException as error:
                sock.close()
                if index == len(addresses) - 1 or not isinstance(error, OSError):
                    raise
            else:
                return sock
    except BaseException as error:  # noqa: BLE001 # not_sent returns an error that it does not know
        raise not_sent(error, to) from None
    raise NotSentError(f"{to.host} has no address")


def is_ready(sock: socket, seconds: float, *, to_write: bool = False) -> bool:
    """Whether a read, or a write, would return at once. Waits for that at most as many seconds."""
    if not hasattr(select, "poll"):
        # On Windows, select() takes any socket.
        return any(select.select([] if to_write else [sock], [sock] if to_write else [], [], seconds))
    # On other systems, select() fails for descriptors above 1,023.
    watched = select.poll()
    watched.register(sock, select.POLLOUT if to_write else select.POLLIN)
    return bool(watched.poll(seconds * 1000))


def not_sent(error: BaseException, to: Target | Proxy) -> BaseException:
    """Return the error for a connection that was not established. Other errors are returned as they are."""
    if isinstance(error, NotSentError):
        return error
    if isinstance(error, TimeoutError):
        return NotSentTimeoutError(f"no connection to {to.host} in time")
    if isinstance(error, ssl.SSLCertVerificationError):
        text = OTHER_HOST if error.verify_code in HOSTNAME_MISMATCH else UNTRUSTED
        return NotSentError(text.format(error.verify_message), permanent=True)
    if isinstance(error, ssl.SSLError) and error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return NotSentError(NO_TLS, permanent=True)
    if isinstance(error, OSError):
        where = f"the proxy {to.url}" if isinstance(to, Proxy) else to.host
        why = error.strerror or str(error)
        hint = "" if isinstance(to, Proxy) else "; is base_url right?"
        return NotSentError(f"{where}: {why}{hint}")
    return error


def _resolve(to: Target | Proxy, deadline: float) -> "list[Any]":
    """Return the addresses of a name. The resolver has no deadline of its own, so it runs in a thread."""
    try:
        return getaddrinfo(to.host, to.port, type=SOCK_STREAM, flags=AI_NUMERICHOST)
    except gaierror:
        # The host is a name, not an address.
        pass
    look_up = partial(getaddrinfo, to.host, to.port, type=SOCK_STREAM)
    try:
        pending = None if is_ending() else in_thread(look_up)
    except RuntimeError:
        # No more threads can be started.
        pending = None
    return look_up() if pending is None else pending.result(max(0.0, deadline - monotonic()))
