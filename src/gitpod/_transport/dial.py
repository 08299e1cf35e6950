"""Sockets that lead to a service, and why one could not be had: the name, the port, the certificate."""

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
    """Where connections lead: the service, a proxy on the way, and the TLS that protects them."""

    host: str
    port: int
    context: ssl.SSLContext | None
    proxy: Proxy | None

    @property
    def authority(self) -> str:
        """Host and port, as a proxy is asked for them."""
        return f"{bracketed(self.host)}:{self.port}"

    @property
    def host_header(self) -> str:
        """The authority without the port that the scheme has anyway."""
        is_default = self.port == (HTTP_PORT if self.context is None else HTTPS_PORT)
        return bracketed(self.host) if is_default else self.authority


def http1(own: ssl.SSLContext | None) -> ssl.SSLContext:
    """TLS for HTTP/1.1: by certificates of the caller's own, else by the authorities of the system.

    Raises:
        NotSentError: there are none.
    """
    context = own or ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if own is not None:
        return own
    folder = ssl.get_default_verify_paths().capath
    # Those in a folder are loaded when one is needed.
    if not context.cert_store_stats()["x509_ca"] and not (folder and any(Path(folder).iterdir())):
        raise NotSentError(NO_AUTHORITIES, permanent=True)
    return context


def dial(to: Target | Proxy, deadline: float) -> socket:
    """A connected socket. Each address of the name gets its share of the time.

    Raises:
        NotSentError: the name has no address, or none of them answers.
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
    except BaseException as error:  # noqa: BLE001 # not_sent gives back what it does not know
        raise not_sent(error, to) from None
    raise NotSentError(f"{to.host} has no address")


def is_readable(sock: socket) -> bool:
    """Whether a read would not wait."""
    if not hasattr(select, "poll"):
        # Windows, where it takes any socket.
        return bool(select.select([sock], [], [], 0)[0])
    # Elsewhere select() knows no descriptor above 1,023.
    watched = select.poll()
    watched.register(sock, select.POLLIN)
    return bool(watched.poll(0))


def not_sent(error: BaseException, to: Target | Proxy) -> BaseException:
    """The failure to establish a connection, in words; anything else is given back as it is."""
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
    """The addresses of a name. A resolver that does not answer has no deadline of its own, so it gets a thread."""
    try:
        return getaddrinfo(to.host, to.port, type=SOCK_STREAM, flags=AI_NUMERICHOST)
    except gaierror:
        # It is a name.
        pass
    look_up = partial(getaddrinfo, to.host, to.port, type=SOCK_STREAM)
    try:
        pending = None if is_ending() else in_thread(look_up)
    except RuntimeError:
        # The machine has no thread left.
        pending = None
    return look_up() if pending is None else pending.result(max(0.0, deadline - monotonic()))
