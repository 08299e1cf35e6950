"""How a command fails: a message, a hint at the next step, and an exit status for each kind of failure."""

import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import click

from gitpod.cli import output

if TYPE_CHECKING:
    from gitpod.errors import GitpodError

SOME_FAILED = 1
USAGE = 2
NOT_ALLOWED = 3
NOT_FOUND = 4
CONFLICT = 5
UNREACHABLE = 6
"""The service cannot be reached, or it failed, or the outcome is unknown."""
UNEXPECTED = 70
"""A defect of the command (EX_SOFTWARE in sysexits.h)."""
MISSING = ' needs the extra "'
"""Part of the messages about an extra that is not installed (`gitpod._extras.needed`)."""
SENT = "gitpod.cli.sent"
"""The key of the setting that gave the token, in what contexts of click share. There is none if `login` keeps it."""
INTERRUPTED = 130
"""Ended by Ctrl-C: 128 and the signal's number, as in shells."""


class Failure(NamedTuple):
    """What the user is told about a failure.

    Attributes:
        message: what went wrong; it holds no value of a secret.
        status: the exit status.
        hint: the next step, empty when there is none.
        error: the exception behind it; `--debug` shows where that was raised.
    """

    message: str
    status: int
    hint: str = ""
    error: BaseException | None = None


@contextmanager
def reported() -> Generator[None]:
    """Report the exceptions of a block that `explain` knows, and end the process with their exit status."""
    try:
        yield
    except (click.ClickException, click.Abort, click.exceptions.Exit):
        raise
    except Exception as error:
        failure = explain(error)
        if failure is None:
            raise
        report(failure)
        raise SystemExit(failure.status) from None


def report(failure: Failure) -> None:
    """Write a failure to standard error; with `--debug`, its stack without variables and without the error's text."""
    message, hint = failure.message, failure.hint
    if MISSING in message:
        # The SDK and the service put the command that adds the extra behind a colon.
        message, mark, command = message.partition('": ')
        message, hint = message + mark[:1], command or hint
    output.note("error", message)
    if hint:
        output.hint(hint)
    if failure.error and is_debugging():
        stack = traceback.format_tb(failure.error.__traceback__)
        click.echo("".join(stack) + type(failure.error).__name__, err=True)


def is_debugging() -> bool:
    """Tell whether `--debug` is the first argument. Works also when click could not parse the arguments."""
    return "--debug" in sys.argv[1:2]


def fail(message: str, status: int, hint: str = "") -> SystemExit:
    """Report a failure, and return the exception for the caller to raise, which ends the process."""
    report(Failure(message, status, hint))
    return SystemExit(status)


def explain(error: Exception) -> Failure | None:
    """Say what an exception means to the user. None for an unexpected one, which is a defect."""
    from gitpod import errors  # the exceptions alone, without the client

    if isinstance(error, errors.GitpodError):
        return explain_call(error)
    # An exception of the server or of a database is only possible when its module is loaded, and loading is slow.
    if "gitpod.server.errors" in sys.modules:
        from gitpod.server.errors import ServiceError, StoreUnavailableError

        if isinstance(error, ServiceError):
            return Failure(str(error), USAGE, error=error)
        if isinstance(error, StoreUnavailableError):
            message = f"{error}: {error.reason}" if error.reason else str(error)
            return Failure(message, UNREACHABLE, error=error)
    if "gitpod.server.storage.failures" in sys.modules:
        from gitpod.server.storage.failures import is_of_database, reason

        if is_of_database(error):
            return Failure(f"the store failed: {reason(error)}", USAGE, error=error)
    return None


def explain_call(error: "GitpodError") -> Failure:
    """Say what an exception of the SDK means to the user."""
    status, hint = _status_and_hint(error)
    # The SDK names its Python parameters; the command has a variable and a hint for them.
    plaintext = "allow_plaintext=True (GITPOD_ALLOW_PLAINTEXT=1)"
    message = str(error).replace(plaintext, "GITPOD_ALLOW_PLAINTEXT=1")
    message = message.replace("; replace=True deletes it and creates it anew", "")
    return Failure(message, status, hint, error)


def _status_and_hint(error: "GitpodError") -> tuple[int, str]:
    from gitpod import errors  # the exceptions alone, without the client

    match error:
        case errors.AuthenticationError():
            found = NOT_ALLOWED, _hint_for_unknown_token()
        case errors.PermissionDeniedError():
            found = NOT_ALLOWED, "use a token whose role and projects allow it"
        case errors.NotFoundError():
            found = NOT_FOUND, "gitpod-secrets list shows the secrets"
        case errors.ConflictError() if "is taken" in str(error):
            found = CONFLICT, "put updates the value of a secret that exists"
        case errors.ConflictError():
            found = CONFLICT, "put --replace deletes the secret and creates it again"
        case errors.InvalidRequestError() | errors.BadRequestError() | errors.UnprocessableEntityError():
            found = USAGE, ""
        case errors.APIError(outcome="unknown"):
            found = UNREACHABLE, _hint_for_unknown_outcome()
        case errors.APIError():
            found = UNREACHABLE, "gitpod-secrets config shows which service is called"
        case _:
            found = USAGE, ""
    return found


def _hint_for_unknown_token() -> str:
    context = click.get_current_context(silent=True)
    if given := context and context.meta.get(SENT):
        return f"{given}: must be a token that the service knows; it counts more than one that login keeps"
    return "gitpod-secrets login keeps a token that the service knows"


def _hint_for_unknown_outcome() -> str:
    context = click.get_current_context(silent=True)
    match context and context.info_name:
        case "create":
            return "run it again with put, which leaves one secret however often it is run"
        case "put" | "update" | "edit":
            late = "wait some minutes, or delete the secret and create it again: this value may come late"
            return f"run it again with the same value; before you store another, {late}"
        case "delete":
            return "it may also be deleted later; gitpod-secrets list shows the secrets"
        case _:
            return "gitpod-secrets list shows the secrets; a command that only reads can be run again"
