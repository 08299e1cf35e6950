"""Reads the logins of Docker's config.json as secrets for registries. Nothing here does I/O."""

import json
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from gitpod._secret_value import SecretValue
from gitpod.cli.files.entries import Entry, Invalid, Line

NO_LOGIN = 'has no "auths"'
KEPT_ELSEWHERE = "its password is not in this file; a credential helper may have it"
MOUNT = "container_registry_basic_auth_host"


class _BadLoginError(Exception):
    """An entry that is not a login. Its text is the rule that it breaks, without a value."""


def read(text: str) -> Iterator[Line]:
    """Yield a secret for each login, and a line for each entry that has none. They are counted from 1.

    A secret's name is `DOCKER_` and its host, such as `DOCKER_REGISTRY_EXAMPLE_COM`.
    """
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        yield Invalid(1, "is not valid JSON")
        return
    auths, helpers = (_mapping(config, name) for name in ("auths", "credHelpers"))
    hosts = [*auths, *(host for host in helpers if host not in auths)]
    if not hosts:
        is_helped = bool(_mapping({"": config}, "").get("credsStore"))
        yield Invalid(1, f"{NO_LOGIN}; a credential helper may have the logins" if is_helped else NO_LOGIN)
    found: dict[str, tuple[str, Entry]] = {}
    for number, host in enumerate(hosts, 1):
        shown = _shown(host)
        try:
            entry = _entry(number, host, auths.get(host, {}))
        except _BadLoginError as error:
            yield Invalid(number, f"{shown}: {error}")
            continue
        other, known = found.setdefault(entry.name, (shown, entry))
        if known is entry:
            yield entry
        elif (known.mount, known.value) != (entry.mount, entry.value):
            # The same login under both forms of an address, with and without https://, is stored once.
            yield Invalid(number, f"{shown}: its secret would have the name of the one of {other}: {entry.name}")


def _mapping(config: object, name: str) -> Mapping[str, Any]:
    """Return an object of the file, empty if it is missing or none."""
    found = cast("Mapping[str, object]", config).get(name) if isinstance(config, dict) else None
    return cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}


def _shown(host: str) -> str:
    """Return an address without what may be a user's name and password in it."""
    # A password may hold a slash. A pattern for what stands before the @ would take hours for a key of a megabyte.
    scheme = next((each for each in ("https://", "http://") if host.startswith(each)), "")
    return scheme + re.split("[?#]", host.removeprefix(scheme).rpartition("@")[2], maxsplit=1)[0]


def _entry(number: int, host: str, given: object) -> Entry:
    """Return the secret for an entry of `auths`. Raises `_BadLoginError`."""
    url = host if "://" in host else f"https://{host}"
    if _shown(url) != url or not _has_host(url):
        raise _BadLoginError("its address must be a host with an optional port and path")
    login = _login(given)
    name = "DOCKER_" + re.sub("[^A-Z0-9]+", "_", url.split("://", 1)[1].upper()).strip("_")
    return Entry(number, name, SecretValue(login), {MOUNT: url})


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False


def _login(given: object) -> str:
    """Return `username:password` as Docker reads it: from `auth`, else from the two fields."""
    if not isinstance(given, dict):
        raise _BadLoginError("its entry must be an object")
    fields = cast("Mapping[str, object]", given)
    texts = {name: fields.get(name) or "" for name in ("auth", "username", "password")}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise _BadLoginError(f"{name} must be a string")
    auth, username, password = map(str, texts.values())
    if auth:
        username, colon, password = _decoded(auth).partition(":")
        if not colon:
            raise _BadLoginError("auth must be username:password in base64")
    elif ":" in username:
        raise _BadLoginError("username must not hold a colon")
    password = password.strip("\0")
    if not password and (fields.get("identitytoken") or fields.get("registrytoken")):
        raise _BadLoginError("it has a token in place of a password")
    if not password:
        raise _BadLoginError(KEPT_ELSEWHERE)
    if not username:
        raise _BadLoginError("it has no user name")
    return f"{username}:{password}"


def _decoded(auth: str) -> str:
    try:
        return b64decode("".join(auth.split()), validate=True).decode()
    except ValueError:
        raise _BadLoginError("auth must be username:password in base64") from None
