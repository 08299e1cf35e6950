"""Reads TOML."""

import tomllib
from pathlib import Path
from typing import cast

import click


def parse(file: Path, data: bytes) -> dict[str, object]:
    """Parse a file. The error, `click.UsageError`, never quotes a line, which may hold a token."""
    try:
        return tomllib.loads(data.decode())
    # Too many digits are a ValueError. Brackets in brackets are a RecursionError.
    except (ValueError, RecursionError):
        raise click.UsageError(f"{file}: is not valid TOML") from None


def table(value: object) -> dict[str, object] | None:
    """Return a value if it is a table, else None."""
    return cast("dict[str, object]", value) if isinstance(value, dict) else None
