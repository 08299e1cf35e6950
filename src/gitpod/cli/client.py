"""The client that the settings describe, and what commands look up with it."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

import click

from gitpod.cli import settings
from gitpod.cli.failures import NOT_ALLOWED, NOT_FOUND, UNREACHABLE, fail, reported
from gitpod.cli.files.entries import NAME
from gitpod.cli.options import Scope, one_scope, scope_words
from gitpod.cli.output import printable

if TYPE_CHECKING:
    from gitpod import Gitpod
    from gitpod.types import Secret, SecretScope

MAX_LISTED = 100_000
"""Secrets of a scope. More are taken for a list without end, which a faulty service may send."""
LIST = "gitpod-secrets list shows the secrets"


def make_client(found: settings.Settings, **options: Any) -> "Gitpod":  # noqa: ANN401 # options of the client
    """Make a client from settings. Raises `gitpod.GitpodError` when they are wrong."""
    from gitpod import Gitpod  # loads the HTTP stack

    if "ca_cert" in found:
        options["ca_cert"] = found["ca_cert"].value
    token = found["api_key"].value if "api_key" in found else None
    return Gitpod(bearer_token=token, base_url=found["base_url"].value, **options)


@contextmanager
def connected() -> Generator["Gitpod"]:
    """Yield a client from the settings. A failure in the block is reported, and ends the process."""
    with reported():
        from gitpod._endpoint import EMBEDDED  # loads a part of the SDK

        found = settings.load()
        if "api_key" not in found and not found["base_url"].value.startswith(EMBEDDED):
            raise fail("no token given", NOT_ALLOWED, "set GITPOD_API_KEY, or api_key in the configuration file")
        with _named_as_given(found), make_client(found) as client:
            yield client


def target(scopes: list[Scope]) -> str:
    """Return the scopes and the service that a command works on, for questions: `project b0e12f6c… at https://…`."""
    service = settings.load()["base_url"].shown
    return f"{' and '.join(scope_words(*each) for each in scopes)} at {service}" if scopes else service


@contextmanager
def _named_as_given(found: settings.Settings) -> Generator[None]:
    """Raise errors of a client's option with the name of the variable or the file that gave it."""
    from gitpod import GitpodError

    try:
        yield
    except GitpodError as error:
        option, _, rule = str(error).partition(": ")
        setting = found.get("api_key" if option == "bearer_token" else option)
        if type(error) is not GitpodError or setting is None:
            raise
        raise GitpodError(f"{setting.given_as}: {rule}") from None


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


def secret_id(client: "Gitpod", name_or_id: str, scopes: list[Scope], advice: str = LIST) -> str:
    """Return the id for a NAME|ID argument; a name is looked up in the scope. Ends the process if there is none."""
    # A name can be 32 hexadecimal digits, which UUID() accepts too. Only an id has hyphens.
    if "-" in name_or_id:
        try:
            return str(UUID(name_or_id))
        except ValueError:
            raise click.UsageError("NAME|ID: must be a name of letters, digits and underscores, or an id") from None
    return _named(client, name_or_id, scopes, advice).id


def secret_of(client: "Gitpod", name_or_id: str, scopes: list[Scope]) -> "Secret":
    """Return the secret for a NAME|ID argument. An id is looked up in every scope that the token reaches."""
    if "-" not in name_or_id:
        return _named(client, name_or_id, scopes)
    wanted = secret_id(client, name_or_id, scopes)
    found = next((each for each in client.secrets.list(page_size=100) if each.id == wanted), None)
    return found or _none("there is no secret with this id")


def _named(client: "Gitpod", name: str, scopes: list[Scope], advice: str = LIST) -> "Secret":
    found = next((each for each in listed(client, one_scope(scopes)) if each.name == name), None)
    return found or _none(f"there is no secret {name} in this scope", advice)


def _none(message: str, advice: str = LIST) -> NoReturn:
    raise fail(message, NOT_FOUND, advice)
