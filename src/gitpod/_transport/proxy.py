"""Which proxy the environment names for an https service. Every transport asks here, so that all agree.

Plain http never goes through a proxy: it would be handed the token and the value in clear.
"""

import os
from base64 import b64encode
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urlsplit

from gitpod._transport.failures import NotSentError

NAMES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
"""The variables that name a proxy, the first that is set wins."""

PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks5": 1080, "socks5h": 1080}
"""The schemes of proxies, with the port that each has by default."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy: its address, and the login that it asks for."""

    scheme: str
    host: str
    port: int
    login: tuple[str, str] | None = field(repr=False)

    @property
    def url(self) -> str:
        """The address without the login."""
        return f"{self.scheme}://{bracketed(self.host)}:{self.port}"

    @property
    def authorization(self) -> str | None:
        """The value of the header Proxy-Authorization (RFC 9110 section 11.7.2)."""
        # Variables hold bytes that are not UTF-8 as lone surrogates.
        login = ":".join(self.login).encode(errors="surrogateescape") if self.login else None
        return None if login is None else f"Basic {b64encode(login).decode()}"


def bracketed(host: str) -> str:
    """A host as URLs write it: an IPv6 address stands in brackets."""
    return f"[{host}]" if ":" in host else host


def proxy_for(host: str, port: int) -> Proxy | None:
    """The proxy between this process and an https service, None for a direct connection.

    Raises:
        NotSentError: the variable that names the proxy cannot be used.
    """
    name = next((name for name in NAMES if os.environ.get(name)), None)
    if name is None or _is_exempt(host, port, os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""):
        return None
    address = os.environ[name].strip()
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        proxy_host, proxy_port = parts.hostname, parts.port
    except ValueError:
        proxy_host = proxy_port = None
    else:
        if proxy_host and parts.scheme in PORTS:
            user = parts.username
            login = None if user is None else (unquote(user), unquote(parts.password or ""))
            return Proxy(parts.scheme, proxy_host, proxy_port or PORTS[parts.scheme], login)
    raise NotSentError(f"{name}: must be the URL of a proxy, such as http://proxy.example:3128", permanent=True)


def _is_exempt(host: str, port: int, exempt: str) -> bool:
    """Whether NO_PROXY names the service: `*`, a host or a suffix of it, a network; each with a port or without."""
    return any(_matches(host.lower(), port, entry.strip().lower()) for entry in exempt.split(",") if entry.strip())


def _matches(host: str, port: int, entry: str) -> bool:
    if entry == "*":
        return True
    name, colon, digits = entry.rpartition(":")
    # The last part of an IPv6 address is no port; behind brackets there may be one.
    if colon and digits.isdigit() and (":" not in name or name.endswith("]")):
        if int(digits) != port:
            return False
        entry = name
    entry = entry.removeprefix("[").removesuffix("]")
    try:
        address = ip_address(host)
    except ValueError:
        suffix = entry.removeprefix("*").removeprefix(".")
        return bool(suffix) and (host == suffix or host.endswith(f".{suffix}"))
    try:
        return address in ip_network(entry, strict=False)
    except ValueError:
        return False
