"""The tokens that `login` keeps: in the system's keyring, or else in a file that only the user can read.

The file lists the services of all of them, so that nothing else asks the keyring. A token is kept for one service and
one profile, and is sent to no other.
"""

import json
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gitpod.cli.files.owner import OPEN_TO_OTHERS, has_mode, is_of_another
from gitpod.cli.sources.setting import KEYRING, Setting, own_folder
from gitpod.cli.sources.toml import table

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

SERVICE = "gitpod-secrets"
"""The keyring's name for what it keeps for this command."""


def file() -> Path:
    """Return the path of the file, which need not exist."""
    return own_folder() / "tokens.json"


def address(url: str) -> str:
    """Return the form of a service's URL in which two that mean the same service are equal."""
    from urllib.parse import urlsplit  # slow to load

    try:
        parts = urlsplit(url)
        port = {"https": ":443", "http": ":80"}.get(parts.scheme, "")
        return f"{parts.scheme}://{parts.netloc.lower().removesuffix(port)}{parts.path.rstrip('/')}"
    except ValueError:
        return url


def find(url: str, profile: str) -> Setting | None:
    """Return the token that is kept for a service and a profile. A token in the keyring has no value yet.

    Raises:
        click.UsageError: the file is damaged, or open to other users.
    """
    listed = _read()
    key = _key(url, profile) if listed else ""
    if key not in listed:
        return None
    token = listed[key]
    return Setting("api_key", "", KEYRING) if token is None else Setting("api_key", token, str(file()))


def from_keyring(url: str, profile: str) -> str | None:
    """Return a token that the keyring keeps. None if it has none any more, or cannot be reached."""
    backend = _keyring()
    with suppress(Exception):  # of whatever keyring there is
        return backend.get_password(SERVICE, _key(url, profile)) if backend else None
    return None


def keep(url: str, profile: str, token: str) -> Setting:
    """Keep a token, and return it with its source: the keyring, or the file where there is no keyring."""
    _read()  # a damaged file ends this before the keyring has the token
    key, backend = _key(url, profile), _keyring()
    kept: str | None = token
    with suppress(Exception):  # a keyring that is locked or full keeps nothing
        if backend:
            backend.set_password(SERVICE, key, token)  # pyright: ignore[reportUnknownMemberType] # decorated without types
            if backend.get_password(SERVICE, key) == token:
                kept = None
    with _alone():
        _write(_read() | {key: kept})
    return Setting("api_key", token, KEYRING if kept is None else str(file()))


def forget(url: str, profile: str) -> bool:
    """Remove a token. Return whether there was one. Raises `click.ClickException` if it stays in the keyring."""
    key, listed = _key(url, profile), _read()
    if key not in listed:
        return False
    if listed[key] is None:
        _forget_in_keyring(key)
    with _alone():
        _write({other: token for other, token in _read().items() if other != key})
    return True


def _forget_in_keyring(key: str) -> None:
    backend = _keyring()
    if backend is None:
        raise click.ClickException("the token is in the keyring, and there is no keyring here")
    try:
        # The user may have removed it there.
        if backend.get_password(SERVICE, key) is not None:
            backend.delete_password(SERVICE, key)
    except Exception as error:  # noqa: BLE001 # of whatever keyring there is
        raise click.ClickException(f"the keyring does not remove the token: {type(error).__name__}") from None


def _key(url: str, profile: str) -> str:
    return f"{address(url)}#{profile}" if profile else address(url)


def _read() -> dict[str, str | None]:
    """Return the tokens by service and profile: None for one in the keyring."""
    place = file()
    try:
        with place.open("rb") as opened:
            status, data = os.fstat(opened.fileno()), opened.read()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise click.UsageError(f"{place}: {error.strerror}") from None
    if is_of_another(status) or has_mode(status, OPEN_TO_OTHERS):
        raise click.UsageError(f"{place}: holds tokens, and is not yours or open to other users; chmod 600 it")
    try:
        found = table(json.loads(data))
    except (ValueError, RecursionError):
        found = None
    listed = {key: token for key, token in (found or {}).items() if token is None or isinstance(token, str)}
    if listed != found:
        raise click.UsageError(f"{place}: is damaged; remove it, and log in again")
    return listed


@contextmanager
def _alone() -> Generator[None]:
    """Wait until no other process changes the file: it would write back what this one removes. Only POSIX has locks."""
    place = file()
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(place.parent, os.O_RDONLY) if os.name == "posix" else None
    except OSError as error:
        raise click.ClickException(f"{place}: {error.strerror}") from None
    if folder is None:
        yield
        return
    import fcntl  # not there on Windows

    try:
        with suppress(OSError):  # some file systems have no locks
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _write(listed: dict[str, str | None]) -> None:
    from gitpod.cli.files.replacement import replace  # not for commands that read

    place = file()
    try:
        replace(place, json.dumps(listed, indent=1).encode() + b"\n")
    except OSError as error:
        raise click.ClickException(f"{place}: {error.strerror}") from None


def _keyring() -> "KeyringBackend | None":
    """Return the system's keyring. None without one, or without the extra `keyring`."""
    try:
        import keyring  # slow to load
        from keyring.backends import fail, null

        found = keyring.get_keyring()
    except Exception:  # noqa: BLE001 # a keyring that cannot be loaded is none
        return None
    return None if isinstance(found, fail.Keyring | null.Keyring) else found
