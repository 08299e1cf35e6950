"""The command `inject`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gitpod.cli import destination
from gitpod.cli.client import by_name, connected
from gitpod.cli.destination import output_options
from gitpod.cli.failures import NOT_FOUND, USAGE, Failure
from gitpod.cli.files.replacement import target_of
from gitpod.cli.files.template import Reference, Template, fill, parse
from gitpod.cli.options import Scope, need_scope, scope_options
from gitpod.cli.output import hint, note, warn

if TYPE_CHECKING:
    from gitpod import Gitpod


@click.command()
@click.argument("template", type=click.Path(dir_okay=False, allow_dash=True))
@scope_options
@output_options
def inject(template: str, scopes: list[Scope], output: Path | None, *, reveal: bool) -> None:
    """Fill a template with values of secrets.

    TEMPLATE is a file; - is standard input. What it has in double braces is filled in:

    \b
      {{ secret "NAME" }}  the value, as it stands: nothing is quoted
      {{ "{{" }}           a literal {{

    Anything else behind {{ is an error, and so is a name that no secret has. Nothing is written unless everything
    was filled in.

    Takes one or more scopes. If several scopes have a secret of the same name, the user's or service account's is
    used, else the project's, else the organization's. Only the secrets that the template names are read.
    """  # noqa: D301 # click takes the character \b, and leaves the lines after it alone
    from gitpod.cli.files.load import read_bytes  # with the formats of files

    destination.check(output, reveal=reveal)
    need_scope(scopes)
    target = target_of(output) if output else None
    if target and template != "-" and target.resolve() == Path(template).resolve():
        raise click.UsageError("--output: is the template itself")
    parsed = parse(read_bytes(template))
    if parsed.problems:
        raise _refused([(each.line, each.rule) for each in parsed.problems], USAGE)
    if not parsed.references:
        warn("the template names no secret")
    text = fill(parsed, _values(parsed, scopes))
    destination.write(output, target, text)


def _values(template: Template, scopes: list[Scope]) -> dict[str, str]:
    """Return the values of the secrets that the template names. Ends the process if one is not there, or not read."""
    if not template.references:
        return {}
    with connected() as client:
        ids = {name: secret.id for name, secret in by_name(client, scopes).items()}
        if unknown := [each for each in template.references if each.name not in ids]:
            where = "this scope" if len(scopes) == 1 else "these scopes"
            lines = [(each.line, f"there is no secret {each.name} in {where}") for each in unknown]
            raise _refused(lines, NOT_FOUND, "gitpod-secrets list shows the secrets")
        return _revealed(client, template.references, ids)


def _revealed(client: "Gitpod", references: list[Reference], ids: dict[str, str]) -> dict[str, str]:
    from gitpod.cli.bulk import MAX_RETRIES, exit_status, read_values

    names = list(dict.fromkeys(each.name for each in references))
    read = read_values(client.with_options(max_retries=MAX_RETRIES), [ids[name] for name in names])
    values: dict[str, str] = {}
    statuses: list[int] = []
    for name, value in zip(names, read, strict=True):
        if isinstance(value, Failure):
            note("error", f"{name}: {value.message}")
            statuses.append(value.status)
        else:
            values[name] = value.reveal()
            statuses.append(0)
    if any(statuses):
        hint("nothing is written, as it would not be complete")
        raise SystemExit(exit_status(statuses))
    return values


def _refused(lines: list[tuple[int, str]], status: int, advice: str = "") -> SystemExit:
    """Report every line of a template that is wrong, and return the exception that ends the process."""
    for number, rule in lines:
        note("error", f"line {number}: {rule}")
    if advice:
        hint(advice)
    return SystemExit(status)
