"""The command `run`: a program with secrets in its environment, and in files that are gone when it ends."""

import os
import signal
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NoReturn

import click
from click.shell_completion import CompletionItem

from gitpod.cli.failures import UNEXPECTED, USAGE, Told, fail, is_debugging, say, show_trace, tell
from gitpod.cli.shared import STRENGTH, at_once, connected, listed, need_scope, one_scope, scope_options

if TYPE_CHECKING:
    from gitpod import Gitpod
    from gitpod.types import Secret

Scopes = list[tuple[str, str]]
NOT_EXECUTABLE = 126
NO_COMMAND = 127
"""Both as shells have them."""


def _file(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """What tells the shell to complete a file's name by itself."""
    return [CompletionItem(incomplete, type="file")]


@click.command(context_settings={"allow_interspersed_args": False})
@scope_options
@click.option("--files", is_flag=True, help="Write secrets that are files too; their variables hold the paths.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, shell_complete=_file)
def run(scopes: Scopes, command: tuple[str, ...], *, files: bool) -> None:
    """Run a command with the secrets of one scope or several in its environment.

    Put -- before the command. Secrets that are environment variables are set by their names. Where scopes
    have the same name or path, a user's or a service account's comes before a project's, and that before an
    organization's. With --files, secrets that are files are written to FOLDER/their/path, each readable by
    you alone, and the variable of the secret's name holds that path. FOLDER is in memory where the system
    has that, and is removed when the command ends. Registry logins and api-only secrets are left out.

    Nothing is started unless every value was read. The command is found by your PATH, and gets the environment
    of this one without GITPOD_API_KEY and what opens an embedded store, and the signals that are sent to this
    one; its exit status is passed on. It is 127 when there is no such command, and 126 when it cannot be
    executed.
    """
    if os.name != "posix":
        raise fail("run needs a POSIX system", USAGE)
    need_scope(scopes)
    folder = None
    if files:
        from gitpod.cli.files.folder import lend  # which nothing else needs

        # It returns in a child, which becomes the command; this process waits for that, and cleans up.
        folder = lend()
    with connected() as client:
        values = _values(client, scopes, files=files)
    _become(command, {each.name: value if folder is None else placed(each, value, folder) for each, value in values})


def _values(client: "Gitpod", scopes: Scopes, *, files: bool) -> "list[tuple[Secret, str]]":
    """The secrets that the command gets, with their values: all of them, or the process ends."""
    chosen: dict[str, Secret] = {}
    for scope in sorted(scopes, key=lambda scope: STRENGTH.index(scope[0])):
        found: dict[str, Secret] = {}
        for secret in listed(client, one_scope([scope])):
            if secret.environment_variable or (files and secret.file_path):
                found[secret.name] = secret
            elif is_debugging():
                click.echo(f"gitpod-secrets: {secret.name} is left out", err=True)
        paths = {secret.file_path for secret in found.values()} - {None}
        chosen = {name: secret for name, secret in chosen.items() if secret.file_path not in paths} | found
    values: list[tuple[Secret, str]] = []
    for secret, read in at_once(lambda each: client.secrets.get_value(secret_id=each.id), list(chosen.values())):
        if isinstance(read, Exception):
            told = tell(read) or Told(f"unexpected: {type(read).__name__}", UNEXPECTED)
            say(told._replace(message=f"{secret.name}: {told.message}"))
            show_trace(read)
            raise SystemExit(told.status)
        if secret.environment_variable and "\0" in read.reveal():
            raise fail(f"{secret.name}: holds a NUL character, which no environment can carry", USAGE)
        values.append((secret, read.reveal()))
    return values


def placed(secret: "Secret", value: str, folder: Path) -> str:
    """What the variable of a secret holds: its value, or the path of the file that it is written to."""
    if not secret.file_path:
        return value
    path = PurePosixPath(secret.file_path)
    file = folder.joinpath(*path.parts[1:])
    # The service checks paths; whoever stands in its place must not write elsewhere.
    if not path.is_absolute() or ".." in path.parts or "\0" in secret.file_path:
        raise fail(f"{secret.name}: its path is not one to write to", USAGE)
    try:
        for parent in reversed(file.relative_to(folder).parents):
            (folder / parent).mkdir(mode=0o700, exist_ok=True)
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:  # noqa: PTH123 # of a descriptor
            opened.write(value.encode())
    except FileExistsError:
        raise fail(f"{secret.name}: another secret is where its path leads", USAGE) from None
    except OSError as error:
        raise fail(f"{secret.name}: cannot write its file: {error.strerror}", USAGE) from None
    return str(file)


def _become(command: tuple[str, ...], variables: dict[str, str]) -> NoReturn:
    """Execute the command in the place of this process, which makes signals, job control and the status its own."""
    environment = {name: value for name, value in os.environb.items() if name not in _its_own()}
    environment |= {name.encode(): value.encode() for name, value in variables.items()}
    # Python ignores them, and what is ignored stays so in the command.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    reason = ""
    # By the PATH of whoever runs this; that of a secret is for the command.
    for folder in [""] if "/" in command[0] else os.get_exec_path():
        try:
            os.execve(os.path.join(folder, command[0]), command, environment)  # noqa: PTH118, S606 # as a shell finds it
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            reason = error.strerror or type(error).__name__
    if reason:
        raise fail(f"{command[0]}: cannot be executed: {reason}", NOT_EXECUTABLE)
    raise fail(f"{command[0]}: there is no such command", NO_COMMAND)


def _its_own() -> set[bytes]:
    """The variables that are for this command alone: the token, and what opens an embedded store."""
    names = {"GITPOD_API_KEY", "GITPOD_SECRETS_KEY", "GITPOD_SECRETS_STORE"}
    kind, _, name = os.environ.get("GITPOD_SECRETS_KEY", "").partition(":")
    if kind == "env":
        names.add(name)
    if "@" in os.environ.get("GITPOD_BASE_URL", ""):
        # The password of a database.
        names.add("GITPOD_BASE_URL")
    return {os.fsencode(each) for each in names}
