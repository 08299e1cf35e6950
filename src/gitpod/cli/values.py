"""Where a value comes from: a pipe, a file, a variable or a hidden prompt. Never an argument, which everybody sees."""

import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from gitpod.cli.shared import warn

F = TypeVar("F", bound=Callable[..., Any])

LONGEST_FILE = 1024 * 1024
"""Bytes to read of a value, so that a wrong file is refused and not loaded."""


def value_options(command: F) -> F:
    """Options for a value: the command gets `value`, a function that reads it."""

    @wraps(command)
    def valued(value_file: Path | None, from_env: str | None, trim: bool, **given: Any) -> Any:  # noqa: ANN401, FBT001 # as click has them
        if value_file and from_env:
            raise click.UsageError("--value-file, --from-env: one of them, not both")
        return command(**given, value=lambda: read(value_file, from_env, trim=trim))

    wrapped: Any = valued
    wrapped = click.option("--trim", is_flag=True, help="Drop the line break at the end of the value.")(wrapped)
    wrapped = click.option("--from-env", metavar="VAR", help="Take the value from this environment variable.")(wrapped)
    file = click.Path(dir_okay=False, path_type=Path)
    return click.option("--value-file", type=file, metavar="FILE", help="Take the value from this file.")(wrapped)  # type: ignore[no-any-return] # a command as before, with more options


def read(value_file: Path | None, from_env: str | None, *, trim: bool) -> str:
    """The value, as it is but for a line break at its end, if that is to go. Warns of what is rarely meant."""
    if value_file is not None:
        text = _text(_bytes(value_file), "--value-file")
    elif from_env is not None:
        if from_env not in os.environ:
            raise click.UsageError("--from-env: there is no such environment variable")
        text = _text(os.environb[os.fsencode(from_env)], "--from-env")
    elif not sys.stdin.isatty():
        text = _piped(sys.stdin.buffer.read(LONGEST_FILE + 1))
    else:
        text = click.prompt("Value", hide_input=True, confirmation_prompt=True, err=True)
    if trim:
        text = text.removesuffix("\r\n" if text.endswith("\r\n") else "\n")
    if not text:
        warn("the value is empty")
    if "\r\n" in text:
        warn("the value holds CRLF line breaks; they are kept")
    elif text.endswith("\n"):
        warn(f"the value ends in a line break; it is kept, and --trim drops {'but one' if trim else 'it'}")
    return text


def _bytes(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(LONGEST_FILE + 1)
    except OSError as error:
        raise click.UsageError(f"--value-file: {error.strerror}") from None


def _piped(data: bytes) -> str:
    """What a pipe had. Nothing is what a program that failed leaves in it."""
    if not data:
        raise click.UsageError("standard input is empty; --value-file /dev/null is for an empty value")
    return _text(data, "standard input")


def _text(data: bytes, source: str) -> str:
    if len(data) > LONGEST_FILE:
        raise click.UsageError(f"{source}: is larger than {LONGEST_FILE} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise click.UsageError(f"{source}: is not text in UTF-8") from None
