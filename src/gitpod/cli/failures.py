"""How commands fail: a line for what went wrong, one for what to do about it, and an exit status that says which."""

import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from typing import NamedTuple

import click

SOME_FAILED = 1
USAGE = 2
NOT_ALLOWED = 3
NOT_FOUND = 4
CONFLICT = 5
UNREACHABLE = 6
"""Or the outcome is not known."""
UNEXPECTED = 70
"""A defect (sysexits.h, EX_SOFTWARE)."""
INTERRUPTED = 130
"""By Ctrl-C, as shells have it."""


class Told(NamedTuple):
    """What to say of a failure."""

    message: str
    status: int
    next_step: str = ""


@contextmanager
def failures() -> Generator[None]:
    """A block whose failures are told, with the exit status for them."""
    try:
        yield
    except (click.ClickException, click.Abort, click.exceptions.Exit):
        raise
    except Exception as error:
        told = tell(error)
        if told is None:
            raise
        say(told)
        show_trace(error)
        raise SystemExit(told.status) from None


def say(told: Told) -> None:
    """Write it to standard error."""
    note("error", told.message)
    if told.next_step:
        note("hint", told.next_step)


def plain(text: str) -> str:
    """Text that neither ends a line nor controls a terminal, whoever wrote it."""
    return "".join(character if character.isprintable() else "?" for character in text)


def note(kind: str, message: str) -> None:
    """Write a line of a kind to standard error; what is more than a line is set off."""
    click.echo(f"gitpod-secrets: {kind}: " + "\n  ".join(map(plain, message.split("\n"))), err=True)


def is_debugging() -> bool:
    """Whether `--debug` was given, also where click did not get as far."""
    return "--debug" in sys.argv[1:2]


def show_trace(error: BaseException) -> None:
    """With `--debug`, where it happened. Neither values of variables nor the text of the error are shown."""
    if is_debugging():
        click.echo("".join(traceback.format_tb(error.__traceback__)) + type(error).__name__, err=True)


def fail(message: str, status: int, next_step: str = "") -> SystemExit:
    """Tell a failure, and give what ends the process for it to be raised."""
    say(Told(message, status, next_step))
    return SystemExit(status)


def tell(error: Exception) -> Told | None:
    """What an error means; None for one that nobody foresaw."""
    from gitpod import errors  # the exceptions alone, not what makes them

    if isinstance(error, errors.GitpodError):
        return _of_the_client(error)
    # Whatever raised one of the service's own has loaded the module.
    if "gitpod.server.errors" in sys.modules:
        from gitpod.server.errors import ServiceError, StoreUnavailableError

        if isinstance(error, ServiceError):
            return Told(str(error), USAGE)
        if isinstance(error, StoreUnavailableError):
            return Told(f"{error}: {error.reason}" if error.reason else str(error), UNREACHABLE)
    if "sqlalchemy.exc" in sys.modules:
        from sqlalchemy.exc import DBAPIError

        if isinstance(error, DBAPIError):
            return Told(f"the store failed: {error.orig}", USAGE)
    return None


def _of_the_client(error: Exception) -> Told:
    from gitpod import errors  # as above

    invalid = (errors.InvalidRequestError, errors.BadRequestError, errors.UnprocessableEntityError)
    by_put = "put updates the value of a secret that exists"
    anew = "put --replace deletes it and creates it anew"
    context = click.get_current_context(silent=True)
    is_storing = context is not None and context.info_name in ("create", "put")
    by_list = "gitpod-secrets list shows what there is; what reads may be run again"
    again = "run it again with put, which leaves one secret however often it is run" if is_storing else by_list
    steps: list[tuple[bool, int, str]] = [
        (isinstance(error, errors.AuthenticationError), NOT_ALLOWED, "set GITPOD_API_KEY to a token that it knows"),
        (isinstance(error, errors.PermissionDeniedError), NOT_ALLOWED, "use a token whose role and projects allow it"),
        (isinstance(error, errors.NotFoundError), NOT_FOUND, "gitpod-secrets list shows what there is"),
        (isinstance(error, errors.ConflictError), CONFLICT, by_put if "is taken" in str(error) else anew),
        (isinstance(error, invalid) or not isinstance(error, errors.APIError), USAGE, ""),
        (getattr(error, "outcome", "") == "unknown", UNREACHABLE, again),
        (True, UNREACHABLE, "gitpod-secrets config shows which service is called"),
    ]
    return next(Told(_in_words_of_the_command(str(error)), status, step) for holds, status, step in steps if holds)


def _in_words_of_the_command(text: str) -> str:
    """What the package says, which is for programs, by the names that the command has for it."""
    plaintext = "allow_plaintext=True (GITPOD_ALLOW_PLAINTEXT=1)"
    return text.replace(plaintext, "GITPOD_ALLOW_PLAINTEXT=1").replace("replace=True", "--replace")
