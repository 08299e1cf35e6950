"""The command `import`."""

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from gitpod.cli.bulk import WORKERS
from gitpod.cli.client import connected, listed
from gitpod.cli.failures import SOME_FAILED, fail
from gitpod.cli.options import Scope, json_option, one_scope, scope_options, yes_option
from gitpod.cli.output import hint, json_line, note, table, warn

if TYPE_CHECKING:
    from gitpod import Gitpod
    from gitpod.cli.apply import Outcome
    from gitpod.cli.files.entries import Line
    from gitpod.cli.plan import Item

PLAN = ["LINE", "NAME", "ACTION", "MOUNT", "RULE"]
REPORT = ["LINE", "NAME", "ACTION", "OUTCOME", "ERROR"]


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
            raise SystemExit(_print_plan(items, as_json=as_json))
        _confirm(items, yes=yes)
        outcomes = _apply(client, items, concurrency)
    _print_outcomes(outcomes, as_json=as_json)
    raise SystemExit(_conclude(outcomes))


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


def _print_plan(items: "list[Item]", *, as_json: bool) -> int:
    """Print the plan on standard output, and return the exit status: 1 when some of it cannot be done."""
    from gitpod.cli.apply import Outcome
    from gitpod.cli.plan import PROBLEMS, summary

    if as_json:
        _print_outcomes([Outcome(item, "planned", item.rule) for item in items], as_json=True)
    else:
        table(PLAN, map(_plan_row, items))
    note("plan", summary(items))
    return SOME_FAILED if any(item.action in PROBLEMS for item in items) else 0


def _confirm(items: "list[Item]", *, yes: bool) -> None:
    """Show the plan on standard error, and ask unless there is nothing to change. Ends the process on a no."""
    from gitpod.cli.plan import CHANGES, summary

    table(PLAN, map(_plan_row, items), err=True)
    note("plan", summary(items))
    is_change = any(item.action in CHANGES for item in items)
    if is_change and not yes and not click.confirm("Make these changes?", err=True):
        raise fail("nothing was changed", SOME_FAILED)


def _apply(client: "Gitpod", items: "list[Item]", workers: int) -> "list[Outcome]":
    from gitpod.cli.apply import apply

    try:
        with _progress_bar(len(items)) as advance:
            return apply(client, items, workers, advance)
    except KeyboardInterrupt:
        hint("what was stored stays; run it again for the rest")
        raise


def _conclude(outcomes: "list[Outcome]") -> int:
    """Say how many items are left, and return the exit status."""
    from gitpod.cli.apply import NOT_DONE, statuses
    from gitpod.cli.bulk import exit_status

    if left := len([outcome for outcome in outcomes if outcome.outcome in NOT_DONE]):
        note("error", f"{left} of {len(outcomes)} not done")
        hint("correct the lines that are wrong and run it again; it does what is left")
    if any(outcome.outcome == "unknown" for outcome in outcomes):
        hint("what is unknown may also be done later; run it again before you change a value in the file")
    return exit_status(statuses(outcomes))


def _plan_row(item: "Item") -> list[str]:
    return [str(item.line or "-"), item.name or "-", item.action, item.mount, _one_line(item.rule)]


def _print_outcomes(outcomes: "Sequence[Outcome]", *, as_json: bool) -> None:
    if as_json:
        for each in outcomes:
            place = {"line": each.item.line or None, "name": each.item.name or None, "action": each.item.action}
            json_line({**place, "outcome": each.outcome, "error": _one_line(each.error) or None})
        return
    table(REPORT, ([*_plan_row(each.item)[:3], each.outcome, _one_line(each.error)] for each in outcomes))


def _one_line(text: str) -> str:
    return " ".join(text.split())


@contextmanager
def _progress_bar(total: int) -> Generator[Callable[[], object]]:
    """Show a bar on standard error if that is a terminal. Yields the function to call after each item."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console  # slow to load, and only for terminals
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("import", total=total)
        yield lambda: bar.advance(task)
