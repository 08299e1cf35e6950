"""The client that the settings describe, and what commands look up with it."""

import os
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from gitpod.cli import settings
from gitpod.cli.columns import SHORTEST_ID
from gitpod.cli.failures import NOT_ALLOWED, NOT_FOUND, SENT, UNREACHABLE, fail, reported
from gitpod.cli.files.entries import NAME
from gitpod.cli.options import Scope, nothing_is_set, one_scope, scope_words
from gitpod.cli.output import printable
from gitpod.cli.sources import config_file, tokens
from gitpod.cli.sources.setting import DEFAULT, KEYRING, SCOPES, VARIABLES, Setting, Settings

if TYPE_CHECKING:
    from gitpod import Gitpod
    from gitpod.types import Secret, SecretScope

BEGINNING = re.compile(r"[0-9A-Fa-f]{8}-[0-9A-Fa-f-]*")
"""The beginning of an id that cannot be a name."""
MAX_LISTED = 100_000
"""Secrets of a scope. More are taken for a list without end, which a faulty service may send."""
LIST = "gitpod-secrets list shows the secrets"


def make_client(found: Settings, **options: Any) -> "Gitpod":  # noqa: ANN401 # options of the client
    """Make a client from settings. Raises `gitpod.GitpodError` or `click.UsageError` for wrong ones."""
    from gitpod import Gitpod  # loads the HTTP stack

    if ca_cert := found.get("ca_cert"):
        if not Path(ca_cert.value).exists():
            raise click.UsageError(f"{ca_cert.given_as}: there is no file {ca_cert.value}")
        options["ca_cert"] = ca_cert.value
    # Without a token, the client itself would read GITPOD_API_KEY, which may be for another service.
    token = found["api_key"].value if "api_key" in found else ""
    return Gitpod(bearer_token=token, base_url=found["base_url"].value, **options)


@contextmanager
def connected() -> Generator["Gitpod"]:
    """Yield a client from the settings. A failure in the block is reported, and ends the process."""
    with reported():
        found = with_token(settings.load())
        with named_as_given(found), make_client(found) as client:
            yield client


def with_token(found: Settings) -> Settings:
    """Return settings with the token's value, for which the keyring may ask the user. Ends the process without one."""
    token = found.get("api_key")
    if token is None:
        if settings.is_embedded(found):
            return found
        check_service(found)
        if settings.is_empty(found):
            raise nothing_is_set()
        raise fail(f"no token given for {found['base_url'].shown}", NOT_ALLOWED, _hint_for_token(found))
    if token.source != KEYRING:
        context = click.get_current_context(silent=True)
        if context and token.source != str(tokens.file()):
            context.meta[SENT] = token.given_as
        return found
    value = tokens.from_keyring(found["base_url"].value, settings.profile_of(found))
    if not value:
        raise fail("the keyring does not give the token", NOT_ALLOWED, _hint_for_token(found))
    return found | {"api_key": replace(token, value=value)}


def check_service(found: Settings) -> None:
    """Raise `gitpod.GitpodError` if a setting of the service is wrong, before a token is asked for or missed."""
    with named_as_given(found):
        make_client(found | {"api_key": Setting("api_key", "unknown", DEFAULT)}).close()


def _hint_for_token(found: Settings) -> str:
    profile, file = found.get("profile"), config_file.read()
    option = f"--profile {profile.value} " if profile else ""
    hint = f"gitpod-secrets {option}login keeps one" + ("" if profile else ", or set GITPOD_API_KEY")
    if profile and os.environ.get("GITPOD_API_KEY"):
        hint += "; GITPOD_API_KEY is not used with --profile, as it may be for another service"
    if not profile and "api_key" in file.top:
        hint += f"; api_key in {file.path} is for another service"
    return hint


def target(scopes: list[Scope]) -> str:
    """Return the scopes and the service that a command works on, for questions: `project b0e12f6c… at https://…`."""
    service = settings.load()["base_url"].shown
    return f"{' and '.join(scope_words(*each) for each in scopes)} at {service}" if scopes else service


@contextmanager
def named_as_given(found: Settings) -> Generator[None]:
    """Raise errors of a client's option with the name of the variable or the file that gave it."""
    from gitpod import GitpodError

    try:
        yield
    except GitpodError as error:
        option, _, rule = str(error).partition(": ")
        setting = found.get("api_key" if option == "bearer_token" else option)
        if type(error) is not GitpodError or setting is None:
            raise
        raise GitpodError(f"{setting.given_as}: {rule.replace('bearer_token', VARIABLES['api_key'])}") from None


def listed(client: "Gitpod", scope: "SecretScope") -> "Iterator[Secret]":
    """Yield the secrets of a scope. Ends the process when a name breaks the contract's rule, or the list is endless.

    Names become variables and lines of files that shells read, so a faulty service must not choose them freely.
    """
    for number, secret in enumerate(client.secrets.list(filter={"scope": scope}, page_size=100)):
        if not NAME.fullmatch(secret.name):
            message = f"the service lists {printable(secret.name)!r}, which is not a valid name of a secret"
            raise fail(message, UNREACHABLE)
        if number >= MAX_LISTED:
            raise fail(f"the service lists more than {MAX_LISTED} secrets in this scope", UNREACHABLE)
        yield secret


def by_name(client: "Gitpod", scopes: list[Scope]) -> "dict[str, Secret]":
    """Return the secrets of scopes by name. Of those with the same name, the one counts whose scope is last."""
    return {secret.name: secret for scope in scopes for secret in listed(client, one_scope([scope]))}


def secret_id(client: "Gitpod", name_or_id: str, scopes: list[Scope]) -> str:
    """Return the id for a NAME|ID argument, of which a whole id needs no call. Ends the process if there is none."""
    return _whole_id(name_or_id) or find(client, name_or_id, scopes).id


def find(client: "Gitpod", name_or_id: str, scopes: list[Scope], advice: str = LIST) -> "Secret":
    """Return the secret for a NAME|ID argument. Ends the process if there is none.

    A whole id is looked up in every scope that the token reaches, and all else in the one scope: a name, or else the
    beginning of an id, as `list` shows it.
    """
    if whole := _whole_id(name_or_id):
        found = [each for each in islice(client.secrets.list(page_size=100), MAX_LISTED) if each.id == whole]
        where = ""
    else:
        secrets = list(listed(client, one_scope(scopes)))
        is_long_enough = len(name_or_id) >= SHORTEST_ID
        begin = [each for each in secrets if is_long_enough and each.id.startswith(name_or_id.lower())]
        found = [each for each in secrets if each.name == name_or_id] or begin
        where = f" in {target(scopes)}"
    if len(found) > 1:
        raise click.UsageError(f"NAME|ID: {len(found)} ids begin with {name_or_id}; give more of it")
    if not found:
        message = f"there is no secret {name_or_id}{where}"
        raise fail(message, NOT_FOUND, advice)
    return found[0]


def _whole_id(name_or_id: str) -> str | None:
    """Return a NAME|ID argument that is a whole id, in lower case; None for any other."""
    # A name can be 32 hexadecimal digits, which UUID() accepts too. Only an id has hyphens.
    if "-" not in name_or_id:
        return None
    try:
        return str(UUID(name_or_id))
    except ValueError:
        if BEGINNING.fullmatch(name_or_id):
            return None
        raise click.UsageError("NAME|ID: must be a name of letters, digits and underscores, or an id") from None


def scope_of(secret: "Secret") -> list[Scope]:
    """Return the scope of a secret, for `target`."""
    return [(kind, value) for kind in SCOPES if (value := getattr(secret.scope, kind, None))]
