"""The command `run`."""

import os
import signal
from typing import TYPE_CHECKING, NoReturn

import click

from gitpod.cli.client import connected, listed
from gitpod.cli.environment import inherited
from gitpod.cli.failures import USAGE, Failure, fail, is_debugging, report
from gitpod.cli.files import mounts
from gitpod.cli.files.entries import NUL
from gitpod.cli.options import Scope, need_scope, one_scope, scope_options
from gitpod.cli.output import inform

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from gitpod import Gitpod
    from gitpod.types import Secret

NOT_EXECUTABLE = 126
NO_COMMAND = 127
"""Both as in shells."""


def _complete_file(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> "list[CompletionItem[str]]":
    """Tell the shell to complete the name of a file itself."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


@click.command(context_settings={"allow_interspersed_args": False})
@scope_options
@click.option("--files", is_flag=True, help="Write secrets that are files, too; their variables hold the paths.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, shell_complete=_complete_file)
def run(scopes: list[Scope], command: tuple[str, ...], *, files: bool) -> None:
    """Run a command with secrets in its environment.

    Takes one or more scopes. Put -- before the command. Secrets that are environment variables are set by their
    names. If several scopes have a secret of the same name or path, the user's or service account's is used,
    else the project's, else the organization's. With --files, secrets that are files are written to
    FOLDER/their/path, where only you can read them, and the variable of the secret's name holds that path.
    FOLDER is in memory where the system has such a place, and is removed when the command ends, on Linux also
    when it and gitpod-secrets are killed. Registry logins and api-only secrets are left out.

    Nothing is started unless every value was read. The command is found by your PATH. It gets your environment
    without GITPOD_API_KEY and without what opens an embedded store, and every signal that is sent to
    gitpod-secrets. The exit status is the command's; it is 127 when there is no such command, and 126 when it
    cannot be executed.
    """
    if os.name != "posix":
        raise fail("run needs a POSIX system", USAGE)
    need_scope(scopes)
    folder = None
    if files:
        from gitpod.cli.files import private_folder  # cannot be loaded on Windows

        # Forks; from here on this is the child, which becomes the command.
        folder = private_folder.make()
    with connected() as client:
        secrets = _chosen(client, scopes, files=files)
        paths = {secret.name: secret.file_path for secret in secrets if secret.file_path}
        places = mounts.places(folder, paths) if folder else {}
        values = _values(client, secrets)
    variables = {name: value.encode() for name, value in values.items()}
    if folder:
        for name, place in places.items():
            mounts.write(folder, place, name, values[name])
            variables[name] = mounts.path(folder, place)
    _execute(command, variables)


def _chosen(client: "Gitpod", scopes: list[Scope], *, files: bool) -> "list[Secret]":
    """Return the secrets that the command gets: of those with the same name or path, the one that counts most."""
    chosen: dict[str, Secret] = {}
    for scope in scopes:
        found: dict[str, Secret] = {}
        for secret in listed(client, one_scope([scope])):
            if secret.environment_variable or (files and secret.file_path):
                found[secret.name] = secret
            elif is_debugging():
                inform(f"{secret.name} is left out")
        taken = {mounts.place(secret.file_path) for secret in found.values() if secret.file_path}
        chosen = {
            name: secret
            for name, secret in chosen.items()
            if not secret.file_path or mounts.place(secret.file_path) not in taken
        } | found
    return list(chosen.values())


def _values(client: "Gitpod", secrets: "list[Secret]") -> dict[str, str]:
    """Return the values by name. Ends the process when one cannot be read, or cannot be in an environment."""
    from gitpod.cli.bulk import read_values

    values: dict[str, str] = {}
    for secret, read in zip(secrets, read_values(client, [secret.id for secret in secrets]), strict=True):
        if isinstance(read, Failure):
            report(read._replace(message=f"{secret.name}: {read.message}"))
            raise SystemExit(read.status)
        if secret.environment_variable and "\0" in read.reveal():
            raise fail(f"{secret.name}: {NUL}", USAGE)
        values[secret.name] = read.reveal()
    return values


def _execute(command: tuple[str, ...], variables: dict[str, bytes]) -> NoReturn:
    """Replace this process by the command, which so gets its signals, its terminal and its exit status."""
    environment = {os.fsencode(name): os.fsencode(value) for name, value in inherited().items()}
    environment |= {name.encode(): value for name, value in variables.items()}
    # Python ignores these two, and an ignored signal would stay ignored in the command.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    reason = ""
    # Found by the PATH of this process: a secret PATH is for the command.
    for folder in [""] if "/" in command[0] else os.get_exec_path():
        try:
            os.execve(os.path.join(folder, command[0]), command, environment)  # noqa: PTH118, S606 # Path would drop "./"
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            reason = error.strerror or type(error).__name__
    if reason:
        raise fail(f"{command[0]}: cannot be executed: {reason}", NOT_EXECUTABLE)
    raise fail(f"{command[0]}: there is no such command", NO_COMMAND)
