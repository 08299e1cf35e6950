"""The user's editor: which one it is, and how it is run on a file that must leave no copy."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import click

from gitpod.cli.environment import inherited
from gitpod.cli.failures import USAGE, fail

VARIABLES = ("VISUAL", "EDITOR")
DEFAULT = "vi"
HINT = "set VISUAL or EDITOR to the command of an editor, such as nano or 'code --wait'"
VIM = re.compile(r"[ngm]?vim([.x].*)?", re.IGNORECASE)
"""The names of the programs of Vim, such as `vim.basic`, to which vi often leads, and of Neovim."""
LEAVE_NO_COPY = [
    *("-n", "-i", "NONE"),  # no swap file, and no file of registers, which hold deleted and copied lines
    *("-c", "silent! set nobackup nowritebackup"),
    *("-c", "silent! set noundofile"),
]
"""Options of Vim for a file with a secret. They come after the user's settings, which may name other folders."""


class Editor(NamedTuple):
    """An editor.

    Attributes:
        words: the command, without the file.
        program: the path of the program that its first word names.
    """

    words: list[str]
    program: str


def find() -> Editor:
    """Return the editor of VISUAL, else that of EDITOR, else vi. Ends the process if there is none."""
    for variable in VARIABLES:
        if given := os.environ.get(variable, "").strip():
            try:
                words = shlex.split(given)
            except ValueError:
                raise click.UsageError(f"{variable}: has a quote that is not closed") from None
            if not (program := shutil.which(words[0])):
                raise fail(f"{variable}: there is no such command", USAGE, HINT)
            return Editor(words, program)
    if not (program := shutil.which(DEFAULT)):
        raise fail("VISUAL and EDITOR are not set, and there is no vi", USAGE, HINT)
    return Editor([DEFAULT], program)


def allow_no_core_dump() -> None:
    """Let neither this process nor the editor leave a file with its memory, which has the value."""
    import resource  # not there on Windows

    # A limit of 1 also stops dumps that are piped to a program, for which Linux ignores a limit of 0 (core(5)).
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (0 if most == 0 else 1, most))


def run(editor: Editor, file: Path) -> int:
    """Edit a file, and return the editor's exit status, which is negative if a signal ended it.

    The editor gets the environment without the token. Ctrl-C is for the editor alone. If it fails, the terminal is as
    it was before.
    """
    import termios  # not there on Windows

    words = [*editor.words, *(LEAVE_NO_COPY if _is_vim(editor) else []), str(file)]
    # Handlers, as an ignored signal would be ignored in the editor, too.
    actions = {number: signal.signal(number, _leave_to_editor) for number in (signal.SIGINT, signal.SIGQUIT)}
    modes = termios.tcgetattr(sys.stdin)
    status = -1
    try:
        status = subprocess.call(words, executable=editor.program, env=inherited())  # noqa: S603 # the user's own command
    except OSError as error:
        raise fail(f"the editor cannot be started: {error.strerror}", USAGE, HINT) from None
    finally:
        if status:
            # An editor that is killed leaves a terminal that shows no typed character, and ends no line.
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, modes)
        for number, action in actions.items():
            signal.signal(number, action)
    return status


def _is_vim(editor: Editor) -> bool:
    """Tell whether the command is one of Vim, also behind another one, as in `env vi`."""
    programs = [editor.program, *filter(None, map(shutil.which, editor.words[1:]))]
    return any(VIM.fullmatch(Path(os.path.realpath(each)).name) for each in programs)


def _leave_to_editor(*_: object) -> None:
    """Do nothing on a signal that the terminal sends to the editor, too."""
