"""Where `export` and `inject` write values: a private file, a pipe, or the terminal if the user says so."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from gitpod.cli.failures import USAGE, fail
from gitpod.cli.files.replacement import replace
from gitpod.cli.output import inform, is_terminal

F = TypeVar("F", bound=Callable[..., Any])


def output_options(command: F) -> F:
    """Add the options `--output` and `--reveal`."""
    output = click.option(
        "--output",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Write to this file, which only you can read.",
    )
    return output(click.option("--reveal", is_flag=True, help="Print the values even to a terminal.")(command))


def check(output: Path | None, *, reveal: bool) -> None:
    """End the process if the values would be shown on a terminal, and the user did not ask for it."""
    if output is None and is_terminal() and not reveal:
        raise fail("the values would be shown on the terminal", USAGE, "add --reveal, or --output FILE, or use a pipe")


def write(output: Path | None, target: Path | None, data: bytes, number: int | None = None) -> None:
    """Write to a file, or to standard output.

    Args:
        output: the file as the user named it. None: standard output.
        target: the file that `replacement.target_of` returned for it.
        data: what to write.
        number: how many secrets are in it, for the message.
    """
    if target is None:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        return
    try:
        replace(target, data)
    except OSError as error:
        raise fail(f"--output: {error.strerror}", USAGE) from None
    inform(f"wrote {output}" if number is None else f"wrote {number} to {output}")
