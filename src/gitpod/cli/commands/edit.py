"""The command `edit`."""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gitpod.cli.client import connected, find, scope_of, target
from gitpod.cli.commands.secrets import name_or_id_argument
from gitpod.cli.failures import CONFLICT, SOME_FAILED, USAGE, Failure, explain_call, fail, report
from gitpod.cli.files.entries import NAME
from gitpod.cli.options import Scope, scope_options
from gitpod.cli.output import hint, inform, printable
from gitpod.cli.values import MAX_BYTES

if TYPE_CHECKING:
    from gitpod import Gitpod
    from gitpod.cli.editor import Editor
    from gitpod.types import Secret

AT_ONCE = 1.0
"""Seconds. An editor that ends sooner, without a change, has probably only told a window to open."""

CREATE = "gitpod-secrets create stores a new secret; gitpod-secrets list shows those that exist"


@click.command()
@name_or_id_argument
@scope_options
def edit(name_or_id: str, scopes: list[Scope]) -> None:
    """Change the value of a secret in an editor.

    The editor is the command in VISUAL or EDITOR, else vi. One that opens a window must wait until it is closed:
    EDITOR='code --wait'. The value is in a file that only you can read, in memory where the system has such a place.
    The file is removed at the end, also if gitpod-secrets or the editor is killed.

    Nothing is sent if the value is unchanged, or if the editor fails. A line break that the editor adds at the end is
    left out.
    """
    if os.name != "posix":
        raise fail("edit needs a POSIX system", USAGE)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise fail("edit needs a terminal", USAGE, "put and update read the value from a pipe, a file or a variable")
    from gitpod.cli import editor
    from gitpod.cli.files import private_folder  # cannot be loaded on Windows

    chosen = editor.find()
    editor.allow_no_core_dump()
    with connected() as client:
        secret = find(client, name_or_id, scopes, CREATE)
        edited = _Edited(client, secret)
        with private_folder.opened() as folder:
            file = folder / (secret.name if NAME.fullmatch(secret.name) else "value")
            _write(file, edited.stored)
            while (failure := edited.edit(chosen, file)) is not None:
                report(failure)
                if not click.confirm("Edit again? Otherwise your text is lost.", err=True):
                    raise fail("your text is not kept", failure.status)


class _Edited:
    """A secret whose value is edited."""

    def __init__(self, client: "Gitpod", secret: "Secret") -> None:
        self._client = client
        self._shown = printable(secret.name)
        self._id = secret.id
        self._where = target(scope_of(secret))
        self.stored = self._read()
        # The values that the service may have unless somebody else changes it.
        self._expected = {self.stored}

    def edit(self, chosen: "Editor", file: Path) -> Failure | None:
        """Let the user edit the file, and send the value if it changed. Returns why it is not stored."""
        from gitpod.cli import editor

        began = time.monotonic()
        if status := editor.run(chosen, file):
            how = f"by signal {-status}" if status < 0 else f"with status {status}"
            raise fail(f"the editor ended {how}; nothing is sent", SOME_FAILED)
        text = _read(file)
        if isinstance(text, Failure):
            return text
        value = without_added_break(self.stored, text)
        if value == self.stored and len(self._expected) == 1:
            inform(f"{self._shown} is unchanged; nothing is sent")
            if time.monotonic() - began < AT_ONCE:
                hint("an editor that opens a window must wait until it is closed, such as EDITOR='code --wait'")
            return None
        if not value:
            return Failure("the value is empty, and an update cannot set an empty one", USAGE)
        return self._send(value, "" if value == text else ", without the line break that the editor added")

    def _send(self, value: str, note: str) -> Failure | None:
        from gitpod.errors import GitpodError  # loads a part of the SDK

        try:
            now = self._read()
            if now != value:
                if now not in self._expected and not self._may_overwrite():
                    return Failure(f"{self._shown} is not updated", CONFLICT)
                self._expected |= {now, value}
                self._client.secrets.update_value(secret_id=self._id, value=value)
        except GitpodError as error:
            return explain_call(error)
        inform(f"updated {self._shown}{note}")
        return None

    def _may_overwrite(self) -> bool:
        question = f"{self._shown} got another value while you edited it. Overwrite that in {self._where}?"
        return click.confirm(question, err=True)

    def _read(self) -> str:
        return self._client.secrets.get_value(secret_id=self._id).reveal()


def without_added_break(before: str, after: str) -> str:
    """Return the edited text without the line break at its end if the text before the edit had none.

    Nearly every editor adds one, as a file of text ends in a line break and a value rarely does.
    """
    if before.endswith("\n"):
        return after
    is_crlf = after.endswith("\r\n") and not before.endswith("\r")
    return after.removesuffix("\r\n" if is_crlf else "\n")


def _write(file: Path, value: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as opened:  # noqa: PTH123 # takes a descriptor
            opened.write(value.encode())
    except OSError as error:
        raise fail(f"cannot write the file for the editor: {error.strerror}", USAGE) from None


def _read(file: Path) -> str | Failure:
    """Return the text of the file, or why it has none that is a value."""
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            return Failure(f"the file is larger than {MAX_BYTES} bytes", USAGE)
        return data.decode()
    except OSError as error:
        return Failure(f"the file cannot be read after the edit: {error.strerror}", USAGE)
    except UnicodeDecodeError:
        return Failure("the text is not UTF-8", USAGE)
