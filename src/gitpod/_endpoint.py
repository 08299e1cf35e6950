"""Where the service is: a place that a token may be sent to, or a store to embed it over.

Errors name the option and the rule, never what was given.
"""

import os
from urllib.parse import urlsplit

from gitpod.errors import GitpodError

DEFAULT_BASE_URL = "https://app.ona.com/api"
EMBEDDED = ("sqlite:", "postgresql:")
"""The schemes of what the embedded service keeps its store in."""


def service_url(base_url: str | None, allow_plaintext: bool | None) -> str:  # noqa: FBT001 # named by its caller
    """Where the service is, without a trailing slash: a place that a token may be sent to."""
    url = base_url or os.environ.get("GITPOD_BASE_URL") or DEFAULT_BASE_URL
    if not isinstance(url, str):
        raise GitpodError("base_url: must be a string")
    if url.startswith(EMBEDDED):
        return url
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        raise GitpodError("base_url: is not a valid URL") from None
    if parts.scheme not in ("https", "http") or not host:
        raise GitpodError("base_url: must start with https://, http://, sqlite: or postgresql:")
    if "[" in parts.netloc and (":" not in host or parts.netloc.rpartition("]")[2].lstrip(":0123456789")):
        raise GitpodError("base_url: is not a valid URL")
    if "@" in parts.netloc:
        raise GitpodError("base_url: must not hold a user name or password; the token goes into bearer_token")
    if any(not "!" <= c <= "~" or c in "?#%" for c in url):
        raise GitpodError("base_url: must not hold a query, a fragment, escapes, spaces or non-ASCII characters")
    if parts.scheme == "http":
        _check_plaintext(host, allow_plaintext)
    # With the scheme in lower case, which others decide by.
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")


def shown(url: str) -> str:
    """A URL without the password of a database."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://…@{rest.rpartition('@')[2]}" if scheme == "postgresql" and "@" in rest else url


def _check_plaintext(host: str, allow_plaintext: bool | None) -> None:  # noqa: FBT001 # named by its caller
    if allow_plaintext is None:
        allow_plaintext = os.environ.get("GITPOD_ALLOW_PLAINTEXT") == "1"
    if not (allow_plaintext or _is_loopback(host)):
        raise GitpodError(
            f"base_url: http:// would show the token and every value on the way to {host}; use https://, "
            "or allow_plaintext=True (GITPOD_ALLOW_PLAINTEXT=1) on a network that you trust"
        )


def _is_loopback(host: str) -> bool:
    from ipaddress import ip_address  # only for plain http

    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
