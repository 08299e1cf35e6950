"""Reads TOML, and tells who can write a file."""

import os
import stat
import tomllib
from pathlib import Path
from typing import cast

import click

WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO


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


def is_of_another(status: os.stat_result) -> bool:
    """Tell whether a file belongs to a user other than this one and root. Only POSIX knows owners."""
    user = getattr(os, "geteuid", None)
    return user is not None and status.st_uid not in (0, user())


def has_mode(status: os.stat_result, bits: int) -> bool:
    """Tell whether a file has any of some bits of the mode. Only POSIX has them."""
    return os.name == "posix" and bool(status.st_mode & bits)
