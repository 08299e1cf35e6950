"""The command `import`: a whole file of secrets at once, planned first."""

import json
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from gitpod.cli.failures import SOME_FAILED, fail, note
from gitpod.cli.shared import connected, hint, listed, one_scope, scope_options, table, warn

if TYPE_CHECKING:
    from gitpod import Gitpod
    from gitpod.cli.apply import Outcome
    from gitpod.cli.files.entries import Line
    from gitpod.cli.plan import Item

LARGEST_FILE = 64 * 1024 * 1024
"""Bytes to read, so that a wrong file is refused and not loaded."""


@click.command("import")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@scope_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Print the plan, and do nothing.")
@click.option("--replace", is_flag=True, help="Where the mount differs, delete the secret and create it anew.")
@click.option("--prune", is_flag=True, help="Delete the scope's secrets that the file does not name.")
@click.option("--concurrency", default=16, show_default=True, type=click.IntRange(1, 64), help="Calls at once.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a line for each.")
def import_(file: str, scopes: list[tuple[str, str]], **options: Any) -> None:  # noqa: ANN401 # as click has them
    """Store the secrets of FILE (dotenv or JSON; - for standard input), which may be a whole project's.

    Shows a plan first and asks. A line that fails stops no other, and running it again finishes what failed.
    Mounts are comments in dotenv, each in the line above its secret: "# mount: file /abs/path",
    "# mount: registry https://host", "# mount: api-only", "# mount: env".
    """
    one_scope(scopes)
    if not (options["yes"] or options["dry_run"]) and (file == "-" or not sys.stdin.isatty()):
        raise click.UsageError("there is no terminal to ask at; add --yes, or --dry-run")
    lines = _read(file)
    with connected() as client:
        items = _planned(client, lines, scopes[0], options)
        if options["dry_run"]:
            raise SystemExit(_dry(items, as_json=options["as_json"]))
        raise SystemExit(_run(client, items, options))


def _read(file: str) -> "list[Line]":
    from gitpod.cli.files.entries import Entry, load

    try:
        with click.open_file(file, "rb") as opened:
            data: bytes = opened.read(LARGEST_FILE + 1)
        text = data.decode()
    except OSError as error:
        raise click.UsageError(f"FILE: {error.strerror}") from None
    except UnicodeDecodeError:
        raise click.UsageError("FILE: is not text in UTF-8") from None
    if len(data) > LARGEST_FILE:
        raise click.UsageError(f"FILE: is larger than {LARGEST_FILE} bytes")
    lines = load(text)
    for line in lines:
        if isinstance(line, Entry) and "\r\n" in line.value.reveal():
            warn(f"line {line.number}: the value holds CRLF line breaks; they are kept")
    return lines


def _planned(client: "Gitpod", lines: "list[Line]", scope: tuple[str, str], options: dict[str, Any]) -> "list[Item]":
    from gitpod.cli.apply import compare
    from gitpod.cli.plan import plan, prunable

    there = list(listed(client, one_scope([scope])))
    items = plan(lines, there, scope, can_replace=options["replace"])
    items = compare(client, items, options["concurrency"])
    if not options["prune"]:
        return items
    if not items or any(item.action == "invalid" for item in items):
        # What could not be read may be the name of a secret that is to stay.
        raise click.UsageError(
            "--prune: the file must name a secret, and have no invalid line; see --dry-run without it"
        )
    return [*items, *prunable(items, there)]


def _dry(items: "list[Item]", *, as_json: bool) -> int:
    """Print the plan as what was asked for; 1 when some of it cannot be."""
    from gitpod.cli.apply import Outcome
    from gitpod.cli.plan import PROBLEMS, summary

    if as_json:
        _report([Outcome(item, "planned", item.rule) for item in items], as_json=True)
    else:
        table(PLAN, map(_plan_row, items))
    note("plan", summary(items))
    return SOME_FAILED if any(item.action in PROBLEMS for item in items) else 0


def _run(client: "Gitpod", items: "list[Item]", options: dict[str, Any]) -> int:
    """Show the plan, ask, do it, and report."""
    from gitpod.cli.apply import BAD, apply, exit_status, statuses
    from gitpod.cli.plan import CHANGES, summary

    table(PLAN, map(_plan_row, items), err=True)
    note("plan", summary(items))
    changes = len([item for item in items if item.action in CHANGES])
    if changes and not options["yes"] and not click.confirm("Do it?", err=True):
        raise fail("nothing was done", SOME_FAILED)
    try:
        with _progress(len(items)) as advance:
            outcomes = apply(client, items, options["concurrency"], advance)
    except KeyboardInterrupt:
        hint("what was stored stays; run it again for the rest")
        raise
    _report(outcomes, as_json=options["as_json"])
    if left := len([outcome for outcome in outcomes if outcome.outcome in BAD]):
        note("error", f"{left} of {len(outcomes)} were not done")
        hint("mend the lines that are wrong and run it again; it does what is left")
    return exit_status(statuses(outcomes))


PLAN = ["LINE", "NAME", "ACTION", "MOUNT", "RULE"]
REPORT = ["LINE", "NAME", "ACTION", "OUTCOME", "ERROR"]


def _plan_row(item: "Item") -> list[str]:
    return [str(item.line or "-"), item.name or "-", item.action, item.mount, " ".join(item.rule.split())]


def _report(outcomes: "Sequence[Outcome]", *, as_json: bool) -> None:
    rows = [
        [
            str(each.item.line or "-"),
            each.item.name or "-",
            each.item.action,
            each.outcome,
            " ".join(each.error.split()),
        ]
        for each in outcomes
    ]
    if not as_json:
        table(REPORT, rows)
        return
    for each, row in zip(outcomes, rows, strict=True):
        shown = dict(zip(map(str.lower, REPORT), row, strict=True))
        line: dict[str, object] = {**shown, "line": each.item.line or None, "name": each.item.name or None}
        click.echo(json.dumps(line | {"error": shown["error"] or None}))


@contextmanager
def _progress(total: int) -> Generator[Callable[[], object]]:
    """A bar on standard error, if that is a terminal. Yields what to call for each that is done."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console  # only for terminals
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("import", total=total)
        yield lambda: bar.advance(task)
