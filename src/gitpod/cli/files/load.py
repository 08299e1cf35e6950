"""Reads a file of secrets in either format."""

import click

from gitpod.cli.files import dotenv, json_file
from gitpod.cli.files.entries import NAME, Invalid, Line

MAX_BYTES = 64 * 1024 * 1024
"""Bytes that are read of a file, so that a wrong file is refused instead of loaded."""


def read_text(file: str) -> str:
    """Read the text of a file, or of standard input for `-`. Raises `click.UsageError`."""
    name = "standard input" if file == "-" else file
    try:
        with click.open_file(file, "rb") as opened:
            data: bytes = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise click.UsageError(f"{name}: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise click.UsageError(f"{name}: is larger than {MAX_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise click.UsageError(f"{name}: is not text in UTF-8") from None


def load(text: str) -> list[Line]:
    """Parse dotenv or JSON into its secrets and invalid lines, in the file's order."""
    text = text.removeprefix("\ufeff")
    is_json = text.lstrip()[:1] in ("{", "[")
    seen: set[str] = set()
    return [_checked(line, seen) for line in (json_file.read(text) if is_json else dotenv.read(text))]


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
