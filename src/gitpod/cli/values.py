"""Where a secret's value comes from: a pipe, a file, a variable or a hidden prompt.

Never an argument: other users of the machine can see those, and shells keep them in their history.
"""

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from gitpod.cli.options import gathered
from gitpod.cli.output import warn

MAX_BYTES = 1024 * 1024
"""Bytes that are read of a value, so that a wrong file is refused instead of loaded."""


def _value(*, value_file: Path | None, from_env: str | None, trim: bool) -> dict[str, object]:
    if value_file and from_env:
        raise click.UsageError("--value-file, --from-env: one of them, not both")
    return {"read_value": partial(_read, value_file, from_env, trim=trim)}


value_options = gathered(
    _value,
    click.option(
        "--value-file",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Read the value from this file.",
    ),
    click.option("--from-env", metavar="VAR", help="Read the value from this environment variable."),
    click.option("--trim", is_flag=True, help="Remove one line break at the end of the value."),
)
"""Options for a value: the command gets `read_value`, which reads it.

If a person is asked for the value, that calls its argument first, which makes the checks and returns the question.
"""
ReadValue = Callable[[Callable[[], str]], str]


def _read(value_file: Path | None, from_env: str | None, ask: Callable[[], str], *, trim: bool) -> str:
    """Read the value, and warn of what is rarely intended. Raises `click.UsageError` without quoting the value."""
    if value_file is not None:
        text = _decode(_read_file(value_file), "--value-file")
    elif from_env is not None:
        if from_env not in os.environ:
            raise click.UsageError("--from-env: there is no such environment variable")
        text = _decode(os.fsencode(os.environ[from_env]), "--from-env")
    elif not sys.stdin.isatty():
        text = _decode(_read_pipe(), "standard input")
    else:
        text = click.prompt(ask(), hide_input=True, confirmation_prompt=True, err=True)
    if trim:
        text = text.removesuffix("\r\n" if text.endswith("\r\n") else "\n")
    if not text:
        warn("the value is empty")
    if "\r\n" in text:
        warn("the value holds CRLF line breaks; they are kept")
    elif text.endswith("\n"):
        advice = "--trim removes only one" if trim else "--trim removes it"
        warn(f"the value ends in a line break; it is kept, and {advice}")
    return text


def _read_file(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise click.UsageError(f"--value-file: {file}: {error.strerror}") from None


def _read_pipe() -> bytes:
    """Read standard input, and refuse an empty one: a program that failed leaves the pipe empty."""
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if not data:
        raise click.UsageError(
            "value: must be given, and standard input is empty; create --value-file /dev/null stores an empty one"
        )
    return data


def _decode(data: bytes, source: str) -> str:
    if len(data) > MAX_BYTES:
        raise click.UsageError(f"{source}: is larger than {MAX_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise click.UsageError(f"{source}: is not text in UTF-8") from None
