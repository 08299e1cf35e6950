"""Reads a file of secrets in any format."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from gitpod.cli.files import docker_config, dotenv, json_file
from gitpod.cli.files.entries import NAME, Entry, Invalid, Line

MAX_BYTES = 64 * 1024 * 1024
"""Bytes that are read of a file, so that a wrong file is refused instead of loaded."""
MOST_NAMED = 10
"""Lines that a warning names."""


def read_bytes(file: str) -> bytes:
    """Read a file, or standard input for `-`. Raises `click.UsageError`."""
    try:
        with click.open_file(file, "rb") as opened:
            data: bytes = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise click.UsageError(f"{_name(file)}: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise click.UsageError(f"{_name(file)}: is larger than {MAX_BYTES} bytes")
    return data


def read_text(file: str) -> str:
    """Read the text of a file, or of standard input for `-`. Raises `click.UsageError`."""
    try:
        return read_bytes(file).decode()
    except UnicodeDecodeError:
        raise click.UsageError(f"{_name(file)}: is not text in UTF-8") from None


def _name(file: str) -> str:
    return "standard input" if file == "-" else file


def docker_file() -> str:
    """Return where Docker has its config.json."""
    folder = os.environ.get("DOCKER_CONFIG")
    return str((Path(folder) if folder else Path.home() / ".docker") / "config.json")


def load(text: str, *, is_docker_config: bool = False) -> list[Line]:
    """Parse dotenv, JSON or Docker's config.json into its secrets and invalid lines, in the file's order."""
    text = text.removeprefix("\ufeff")
    is_json = text.lstrip()[:1] in ("{", "[")
    read = docker_config.read if is_docker_config else json_file.read if is_json else dotenv.read
    seen: set[str] = set()
    return [_checked(line, seen) for line in read(text)]


def _checked(line: Line, seen: set[str]) -> Line:
    """Return the line, invalid if its name breaks the contract's rule or is in `seen`. Adds its name to `seen`."""
    if isinstance(line, Invalid):
        return line
    if not NAME.fullmatch(line.name):
        return Invalid(line.number, "the name must be 3 to 127 letters, digits and underscores")
    if line.name in seen:
        return Invalid(line.number, "the name is taken by a line before it", line.name)
    seen.add(line.name)
    return line


def warnings(lines: Iterable[Line]) -> Iterator[str]:
    """Yield what in the values may be a mistake, with the numbers of the lines."""
    entries = [line for line in lines if isinstance(line, Entry)]
    if found := [entry.number for entry in entries if "\r\n" in entry.value.reveal()]:
        yield f"{_numbers(found)}: the value holds CRLF line breaks; they are kept"
    if found := [entry.number for entry in entries if entry.is_expanded]:
        yield (
            f"{_numbers(found)}: $NAME, ${{NAME}}, $(command) and backticks are stored as they stand; "
            "put the value in single quotes if that is meant"
        )


def _numbers(found: list[int]) -> str:
    """Name lines, such as `line 2` or `lines 2, 5 and 7 more`."""
    shown = ", ".join(map(str, found[:MOST_NAMED]))
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return f"line{'s' if len(found) > 1 else ''} {shown}{more}"
