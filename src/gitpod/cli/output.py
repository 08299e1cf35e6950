"""What commands print: data on standard output, and lines for people on standard error."""

import json
import os
import sys
from collections.abc import Collection, Iterable, Mapping

import click

from gitpod.cli.columns import lines

COLORS = {"error": "red", "warning": "yellow", "hint": "cyan"}


def is_terminal(*, err: bool = False) -> bool:
    """Tell whether standard output, or standard error, is a terminal."""
    return (sys.stderr if err else sys.stdout).isatty()


def can_style(*, err: bool = False) -> bool:
    """Tell whether standard output, or standard error, is a terminal that knows more than characters."""
    return is_terminal(err=err) and os.environ.get("TERM", "dumb") != "dumb"


def table(
    names: list[str],
    rows: Iterable[list[str]],
    *,
    err: bool = False,
    whole: Collection[str] = ("NAME",),
    is_wide: bool = False,
) -> None:
    """Print rows: as a table with a header on a terminal, else as lines with tabs and without a header.

    On a terminal, each row is one line that fits, and a column without any text is left out.

    Args:
        names: the header.
        rows: the cells of each row.
        err: print on standard error.
        whole: the columns that are cut only when all others are as narrow as they get.
        is_wide: on a terminal, cut nothing and leave nothing out. The terminal wraps long lines.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    if not is_terminal(err=err):
        for row in cells:
            click.echo("\t".join(row), err=err)
        return
    head, *body = lines(names, cells, None if is_wide else terminal_width(err=err), whole)
    click.echo(styled(head, err=err, bold=True), err=err)
    for line in body:
        click.echo(line, err=err)


def terminal_width(*, err: bool = False) -> int:
    """Return the columns of the terminal on standard output or standard error; 80 if it does not tell."""
    try:
        return os.get_terminal_size((sys.stderr if err else sys.stdout).fileno()).columns or 80
    except OSError:
        return 80


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
    """Say on standard error what was done, on one line."""
    click.echo(f"gitpod-secrets: {printable(message)}", err=True)


def hint(message: str) -> None:
    """Say on standard error what to do next."""
    note("hint", message)


def warn(message: str) -> None:
    """Say on standard error what may be a mistake."""
    note("warning", message)


def note(kind: str, message: str) -> None:
    """Write a message to standard error after its kind, such as `error`. Its further lines are indented."""
    word = styled(f"{kind}:", err=True, fg=COLORS.get(kind), bold=kind == "error")
    lines = "\n  ".join(map(printable, message.split("\n")))
    click.echo(f"gitpod-secrets: {word} {lines}", err=True)


def styled(text: str, *, err: bool = False, fg: str | None = None, bold: bool = False) -> str:
    """Return a text with a colour, or bold, if the stream is a terminal that shows them and `NO_COLOR` is not set."""
    is_plain = not can_style(err=err) or os.environ.get("NO_COLOR")
    return text if is_plain else click.style(text, fg=fg, bold=bold or None)


def printable(text: str) -> str:
    """Replace line breaks and control characters by `?`: the text may come from a service or a file."""
    return "".join(character if character.isprintable() else "?" for character in text)
