"""The command `import`."""

import sys
import time
from typing import TYPE_CHECKING

import click

from gitpod.cli import import_report
from gitpod.cli.bulk import WORKERS
from gitpod.cli.client import connected, listed, target
from gitpod.cli.options import Scope, json_option, one_scope, scope_options, yes_option
from gitpod.cli.output import hint, warn

if TYPE_CHECKING:
    from gitpod import Gitpod
    from gitpod.cli.apply import Outcome
    from gitpod.cli.files.entries import Line
    from gitpod.cli.plan import Item


@click.command("import")
@click.argument("file", required=False, type=click.Path(dir_okay=False, allow_dash=True))
@scope_options
@click.option(
    "--docker-config",
    is_flag=True,
    help="FILE is Docker's config.json, by default yours: store its logins, each for its registry.",
)
@yes_option
@click.option("--dry-run", is_flag=True, help="Print the plan, and change nothing.")
@click.option("--replace", is_flag=True, help="If the mount differs, delete the secret and create it again.")
@click.option("--prune", is_flag=True, help="Delete the secrets of the scope that the file does not name.")
@click.option("--concurrency", default=WORKERS, show_default=True, type=click.IntRange(1, 64), help="Calls at once.")
@json_option()
def import_(  # noqa: PLR0913 # options by name
    file: str | None,
    scopes: list[Scope],
    concurrency: int,
    *,
    docker_config: bool,
    yes: bool,
    dry_run: bool,
    replace: bool,
    prune: bool,
    as_json: bool,
) -> None:
    """Store the secrets of a file.

    FILE is dotenv or JSON; - is standard input. Shows a plan first and asks. A line that fails stops no other. If
    some failed, run the command again: it does what is left. In dotenv, a comment in the line above a secret is
    its mount:

    \b
      # mount: env (the default)
      # mount: file /absolute/path
      # mount: registry https://host
      # mount: api-only
    """  # noqa: D301 # click takes the character \b, and leaves the lines after it alone
    one_scope(scopes)
    if file is None and not docker_config:
        raise click.UsageError("no FILE given; - is standard input")
    if not (yes or dry_run) and (file == "-" or not sys.stdin.isatty()):
        raise click.UsageError("there is no terminal to ask for confirmation; add --yes, or --dry-run")
    lines = _read(file, is_docker_config=docker_config)
    with connected() as client:
        items = _plan(client, lines, scopes[0], concurrency, can_replace=replace, prune=prune)
        if dry_run:
            raise SystemExit(import_report.print_plan(items, as_json=as_json))
        import_report.confirm(items, target(scopes), yes=yes)
        began = time.monotonic()
        outcomes = _apply(client, items, concurrency)
    import_report.print_outcomes(outcomes, as_json=as_json)
    raise SystemExit(import_report.conclude(outcomes, time.monotonic() - began))


def _read(file: str | None, *, is_docker_config: bool) -> "list[Line]":
    """Read the lines of the file, and warn of what may be a mistake in them."""
    from gitpod.cli.files.load import docker_file, load, read_text, warnings

    lines = load(read_text(docker_file() if file is None else file), is_docker_config=is_docker_config)
    for each in warnings(lines):
        warn(each)
    return lines


def _plan(
    client: "Gitpod", lines: "list[Line]", scope: Scope, workers: int, *, can_replace: bool, prune: bool
) -> "list[Item]":
    from gitpod.cli.apply import compare
    from gitpod.cli.plan import plan, prunable

    stored = list(listed(client, one_scope([scope])))
    items = compare(client, plan(lines, stored, scope, can_replace=can_replace), workers)
    if not prune:
        return items
    # An invalid line may be the name of a secret that is to stay.
    if not items or any(item.action == "invalid" for item in items):
        raise click.UsageError(
            "--prune: the file must name a secret, and have no invalid line; use --dry-run without --prune to see them"
        )
    return [*items, *prunable(items, stored)]


def _apply(client: "Gitpod", items: "list[Item]", workers: int) -> "list[Outcome]":
    from gitpod.cli.apply import apply

    try:
        with import_report.progress_bar(len(items)) as advance:
            return apply(client, items, workers, advance)
    except KeyboardInterrupt:
        hint("what was stored stays; run it again for the rest")
        raise
