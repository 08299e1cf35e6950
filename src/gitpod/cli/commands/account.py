"""The commands for the user's token: `login`, `logout` and `whoami`."""

import sys
from typing import TYPE_CHECKING, Any

import click

from gitpod.cli import settings
from gitpod.cli.client import check_service, make_client, named_as_given, with_token
from gitpod.cli.failures import NOT_ALLOWED, NOT_FOUND, USAGE, fail, reported
from gitpod.cli.options import json_option, profile_option
from gitpod.cli.output import hint, inform, json_line, table, warn
from gitpod.cli.sources import tokens
from gitpod.cli.sources.setting import KEYRING, TYPED, Setting, Settings

if TYPE_CHECKING:
    from gitpod import Gitpod

MAX_BYTES = 16 * 1024
"""More on standard input is no token."""
ASKING = {"gitpod-whoami": "1"}
"""Asks a served store to say whose token it is. Other services ignore the header."""
ANSWER = "gitpod-caller"
"""The header of its answer: `role=member subject=user:ID organization=ID`."""
NOT_TOLD = "the service does not tell"


@click.command()
@profile_option
def login() -> None:
    """Keep a token for the service, after the service accepted it.

    The token is typed at a hidden prompt, or read from standard input. It is kept in the system's keyring if the extra
    "keyring" is installed and there is a keyring, else in a file that only you can read. It is sent to this service
    alone, and with --profile only for this profile.
    """
    from importlib.util import find_spec

    from gitpod._extras import needed  # for one hint

    found = settings.load()
    _need_service(found)
    with reported():
        check_service(found)
    given = Setting("api_key", _read_token(found), TYPED)
    with reported(), named_as_given(found | {"api_key": given}):
        with make_client(found | {"api_key": given}) as client:
            is_accepted = _is_accepted(client)
        kept = tokens.keep(found["base_url"].value, settings.profile_of(found), given.value)
    where = "the system's keyring" if kept.source == KEYRING else f"{kept.source}, which only you can read"
    inform(f"the token for {_service(found)} is in {where}")
    if kept.source != KEYRING and find_spec("keyring") is None:
        hint(f"the system's keyring {needed('keyring')}")
    if is_accepted:
        inform("the service accepts it; what it may do, besides listing secrets, was not checked")
    else:
        warn("the service refuses to list secrets, so it was not checked whether it accepts the token")
    _warn_of_others()


@click.command()
@profile_option
def logout() -> None:
    """Remove the token that login keeps for the service. It stays valid until the service revokes it."""
    found = settings.load()
    _need_service(found)
    if not tokens.forget(found["base_url"].value, settings.profile_of(found)):
        raise fail(f"no token is kept for {_service(found)}", NOT_FOUND)
    inform(f"the token for {_service(found)} is removed from this machine; the service still accepts it")
    _warn_of_others()


@click.command()
@profile_option
@json_option("Print one object of JSON.")
def whoami(*, as_json: bool) -> None:
    """Show which service is called, and whose the token is.

    It calls the service, and so shows whether that accepts the token. Not every service tells whose a token is.
    """
    found = settings.load()
    shown = {"service": found["base_url"].shown}
    if "profile" in found:
        shown |= {"profile": found["profile"].value}
    if settings.is_embedded(found):
        shown |= {"subject": "whoever can open the store", "role": "owner"}
    else:
        with reported():
            token = with_token(found)
            shown |= {"token": token["api_key"].shown, "from": token["api_key"].source}
            with named_as_given(token), make_client(token) as client:
                shown |= _told(client)
    if as_json:
        json_line(shown)
    else:
        table(["WHAT", "VALUE"], [[name, value] for name, value in shown.items()])


def _told(client: "Gitpod") -> dict[str, str]:
    """Return what the service tells of the caller. The contract has no call for it, and a served store has a header."""
    from gitpod import PermissionDeniedError

    raw: Any = client.secrets.with_raw_response
    try:
        told = raw.list(page_size=1, extra_headers=ASKING).headers.get(ANSWER, "")
    except PermissionDeniedError:
        return {"accepted": "unknown; the service refuses to list secrets"}
    words = dict(word.split("=", 1) for word in told.split() if "=" in word)
    subject = words.get("subject", "").replace(":", " ") or NOT_TOLD
    shown = {"accepted": "yes", "subject": subject, "role": words.get("role") or NOT_TOLD}
    return shown | ({"organization": words["organization"]} if "organization" in words else {})


def _is_accepted(client: "Gitpod") -> bool:
    """Call the service with the token. False if it refuses in a way that says nothing about the token."""
    from gitpod import AuthenticationError, PermissionDeniedError

    try:
        client.secrets.list(page_size=1)
    except PermissionDeniedError:
        return False
    except AuthenticationError:
        raise fail("the service does not accept the token; nothing is kept", NOT_ALLOWED) from None
    return True


def _service(found: Settings) -> str:
    profile = settings.profile_of(found)
    return found["base_url"].shown + (f" (profile {profile})" if profile else "")


def _need_service(found: Settings) -> None:
    if settings.is_embedded(found):
        raise fail(f"{found['base_url'].given_as}: a store in this process needs no token", USAGE)


def _read_token(found: Settings) -> str:
    """Read the token from a hidden prompt or from standard input. One line break at the end is not part of it."""
    if sys.stdin.isatty():
        return str(click.prompt(f"Token for {_service(found)}", hide_input=True, err=True)).strip()
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if not data.strip() or len(data) > MAX_BYTES:
        raise click.UsageError(f"standard input: must be a token of at most {MAX_BYTES} bytes")
    return data.decode("ascii", "replace").rstrip("\r\n")


def _warn_of_others() -> None:
    """Warn if a token from elsewhere counts more than the one that `login` keeps."""
    other = settings.load().get("api_key")
    if other and other.source not in (KEYRING, str(tokens.file())):
        warn(f"{other.given_as} is set, and counts more than a token that login keeps")
