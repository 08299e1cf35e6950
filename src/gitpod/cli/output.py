"""What commands print: data on standard output, and lines for people on standard error."""

import json
import sys
from collections.abc import Iterable, Mapping

import click

TABLE_WIDTH = 1000
"""Columns of a table on a terminal. The terminal wraps longer lines itself, so that an id can be copied whole."""


def table(names: list[str], rows: Iterable[list[str]], *, err: bool = False) -> None:
    """Print rows: as a table with a header on a terminal, else as lines with tabs and without a header.

    Args:
        names: the header.
        rows: the cells of each row.
        err: print on standard error.
    """
    if not (sys.stderr if err else sys.stdout).isatty():
        for row in rows:
            click.echo("\t".join(map(printable, row)), err=err)
        return
    from rich.console import Console  # slow to load, and only for terminals
    from rich.table import Table
    from rich.text import Text

    shown = Table(*names, box=None, pad_edge=False)
    for row in rows:
        shown.add_row(*(Text(printable(cell)) for cell in row))
    Console(stderr=err, width=TABLE_WIDTH).print(shown)


def records(names: list[str], rows: Iterable[Mapping[str, object]], *, as_json: bool) -> None:
    """Print the named fields of records: as lines of JSON, or as lines with tabs below a header."""
    if not as_json:
        click.echo("\t".join(names))
    for row in rows:
        if as_json:
            json_line({name: row[name] for name in names})
        else:
            click.echo("\t".join(printable(str(row[name])) or "-" for name in names))


def json_line(fields: Mapping[str, object]) -> None:
    """Print an object of JSON on a line."""
    click.echo(json.dumps(fields))


def inform(message: str) -> None:
    """Say on standard error what was done."""
    click.echo(f"gitpod-secrets: {message}", err=True)


def hint(message: str) -> None:
    """Say on standard error what to do next."""
    note("hint", message)


def warn(message: str) -> None:
    """Say on standard error what may be a mistake."""
    note("warning", message)


def note(kind: str, message: str) -> None:
    """Write a message to standard error after its kind, such as `error`. Its further lines are indented."""
    inform(f"{kind}: " + "\n  ".join(map(printable, message.split("\n"))))


def printable(text: str) -> str:
    """Replace line breaks and control characters by `?`: the text may come from a service or a file."""
    return "".join(character if character.isprintable() else "?" for character in text)
