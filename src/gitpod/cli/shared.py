"""What commands have in common: options, the client, output, and how they fail."""

import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import click

from gitpod.cli import settings
from gitpod.cli.failures import NOT_ALLOWED, NOT_FOUND, UNREACHABLE, fail, failures, note, plain

if TYPE_CHECKING:
    from gitpod import Gitpod
    from gitpod.types import Secret, SecretScope

MOST_LISTED = 100_000
"""Secrets of a scope; a list may have no end."""
WIDEST = 1000
"""Columns of a table."""
STRENGTH = ("organization_id", "project_id", "service_account_id", "user_id")
"""Scopes, of which a later one's secret hides that of an earlier one with the same name."""
F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
R = TypeVar("R")


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


def scope_options(command: F) -> F:
    """Whose secrets: the command gets `scopes`, a list of `(kind, id)`, those of the settings by default."""
    return _folded(
        command,
        "scopes",
        {
            "project": "The project's id. Default: GITPOD_PROJECT_ID, or the configuration file's scope.",
            "user": "The user's id.",
            "organization": "The organization's id.",
            "service-account": "The service account's id.",
        },
        given_scopes,
    )


def _folded(command: F, name: str, options: Mapping[str, str], fold: Callable[[dict[str, Any]], object]) -> F:
    """A command with several options that it gets as one argument."""
    from functools import wraps

    @wraps(command)
    def folded(**given: Any) -> Any:  # noqa: ANN401 # as click has them
        own = {name: given.pop(name) for name in (option.replace("-", "_") for option in options)}
        return command(**given, **{name: fold(own)})

    wrapped: Any = folded
    for option, text in reversed(list(options.items())):
        wrapped = click.option(f"--{option}", type=click.UUID, metavar="ID", help=text)(wrapped)
    return wrapped  # type: ignore[no-any-return] # a command as before, with more options


def given_scopes(given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The scopes among the options of a command, by their names in Python; else the one of the settings."""
    chosen = [(name, str(given[option])) for name in settings.SCOPES if given.get(option := name.removesuffix("_id"))]
    if chosen:
        return chosen
    found = settings.settings()
    return [(name, found[name].value) for name in settings.SCOPES if name in found]


def need_scope(scopes: list[tuple[str, str]]) -> None:
    """Raise `click.UsageError` unless there is a scope."""
    if not scopes:
        raise click.UsageError("whose? name one of --project, --user, --organization, --service-account")


def one_scope(scopes: list[tuple[str, str]]) -> "SecretScope":
    """The only scope of a command that works in one. Raises `click.UsageError`."""
    from gitpod.types import SecretScope  # which loads the package

    need_scope(scopes)
    if len(scopes) > 1:
        raise click.UsageError("--project, --user, --organization, --service-account: one of them, not several")
    return SecretScope(**dict(scopes))


@contextmanager
def connected() -> Generator["Gitpod"]:
    """A client of the service that the settings name; what goes wrong is told, and ends the process."""
    with failures():
        from gitpod import Gitpod  # which loads the HTTP stack
        from gitpod._endpoint import EMBEDDED

        chosen = {name: setting.value for name, setting in settings.settings().items()}
        if "api_key" not in chosen and not chosen.get("base_url", "").startswith(EMBEDDED):
            raise fail("there is no token", NOT_ALLOWED, "set GITPOD_API_KEY, or api_key in the configuration file")
        options: dict[str, Any] = {"ca_cert": chosen["ca_cert"]} if "ca_cert" in chosen else {}
        with Gitpod(bearer_token=chosen.get("api_key"), base_url=chosen.get("base_url"), **options) as client:
            yield client


def listed(client: "Gitpod", scope: "SecretScope") -> "Iterator[Secret]":
    """The secrets of a scope. Ends the process when the service lists what no service should.

    Names become variables, and lines of files that shells read.
    """
    from gitpod.cli.files.entries import NAME  # the contract's rule

    for number, secret in enumerate(client.secrets.list(filter={"scope": scope}, page_size=100)):
        if not NAME.fullmatch(secret.name):
            raise fail(f"the service lists {plain(secret.name)!r}, which is no name of a secret", UNREACHABLE)
        if number >= MOST_LISTED:
            raise fail(f"the service lists more than {MOST_LISTED} secrets in this scope", UNREACHABLE)
        yield secret


def secret_id(client: "Gitpod", name_or_id: str, scopes: list[tuple[str, str]]) -> str:
    """The id that a NAME|ID stands for; an id is taken as it is. Ends the process when there is none."""
    # A name may be 32 hexadecimal digits, which UUID() takes too; it has no hyphens.
    if "-" in name_or_id:
        try:
            return str(UUID(name_or_id))
        except ValueError:
            raise click.UsageError("NAME|ID: must be a name of letters, digits and underscores, or an id") from None
    found = next((each for each in listed(client, one_scope(scopes)) if each.name == name_or_id), None)
    if found is None:
        raise fail(
            f"there is no secret {name_or_id} in this scope", NOT_FOUND, "gitpod-secrets list shows what there is"
        )
    return found.id


def at_once(function: Callable[[T], R], items: Sequence[T], threads: int = 16) -> Iterator[tuple[T, R | Exception]]:
    """Each item with what a function made of it, or the error, as they come.

    By daemons, as nobody who interrupts the command waits for what is under way.
    """
    from queue import Empty, SimpleQueue
    from threading import Thread

    todo: SimpleQueue[T] = SimpleQueue()
    done: SimpleQueue[tuple[T, R | Exception]] = SimpleQueue()

    def work() -> None:
        while True:
            try:
                item = todo.get_nowait()
            except Empty:
                return
            try:
                done.put((item, function(item)))
            except Exception as error:  # noqa: BLE001 # whoever takes it looks at it
                done.put((item, error))

    for item in items:
        todo.put(item)
    for _ in range(min(threads, len(items))):
        Thread(target=work, daemon=True).start()
    for _ in items:
        yield done.get()


def table(names: list[str], rows: Iterable[list[str]], *, err: bool = False) -> None:
    """Print rows, on standard error if that is asked for: a table on a terminal, else separated by tabs."""
    if not (sys.stderr if err else sys.stdout).isatty():
        for row in rows:
            click.echo("\t".join(map(plain, row)), err=err)
        return
    from rich.console import Console  # only for terminals
    from rich.table import Table
    from rich.text import Text

    shown = Table(*names, box=None, pad_edge=False)
    for row in rows:
        shown.add_row(*(Text(plain(cell)) for cell in row))
    # As wide as it is: the terminal breaks its lines, and an id can be copied.
    Console(stderr=err, width=WIDEST).print(shown)


def hint(message: str) -> None:
    """Say what to do about it."""
    note("hint", message)


def warn(message: str) -> None:
    """Say what may not be meant."""
    note("warning", message)
