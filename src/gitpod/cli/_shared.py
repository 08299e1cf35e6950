"""What commands have in common: options, and how they fail."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def store_option(command: F) -> F:
    """Where the store is."""
    return click.option(
        "--store",
        required=True,
        metavar="URL",
        envvar="GITPOD_SECRETS_STORE",
        show_envvar=True,
        help="sqlite:///path/to/file.db, sqlite:// (in memory) or postgresql://user@host/database.",
    )(command)


def key_option(command: F) -> F:
    """What the store's data keys are wrapped by."""
    return click.option(
        "--key",
        metavar="KEY",
        envvar="GITPOD_SECRETS_KEY",
        show_envvar=True,
        help="The key-encryption key: file:PATH, env:NAME or command:COMMAND. Default: file.db.key beside the file.",
    )(command)


def hint(message: str) -> None:
    """Say what to do about it."""
    click.echo(f"gitpod-secrets: hint: {message}", err=True)


@contextmanager
def failures() -> Generator[None]:
    """A block whose failures are told in a line, with exit status 2."""
    from sqlalchemy.exc import DBAPIError  # only for what needs a store

    from gitpod.server.errors import ServiceError, StoreUnavailableError

    try:
        yield
    except DBAPIError as error:
        click.echo(f"gitpod-secrets: error: the store failed: {error.orig}", err=True)
        raise SystemExit(2) from None
    except (ServiceError, StoreUnavailableError) as error:
        reason = getattr(error, "reason", "")
        click.echo(f"gitpod-secrets: error: {error}{f': {reason}' if reason else ''}", err=True)
        raise SystemExit(2) from None
