"""What `import` shows: the plan, the question, the progress and the outcome.

Programs get a line for each item. People get what changes and what fails; a count stands for the rest.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from gitpod.cli.failures import SOME_FAILED, fail
from gitpod.cli.output import can_style, hint, inform, is_terminal, json_line, note, table

if TYPE_CHECKING:
    from gitpod.cli.apply import Outcome
    from gitpod.cli.plan import Item

PLAN = ["LINE", "NAME", "ACTION", "MOUNT", "RULE"]
REPORT = ["LINE", "NAME", "ACTION", "OUTCOME", "ERROR"]


def print_plan(items: "list[Item]", *, as_json: bool) -> int:
    """Print the plan on standard output, and return the exit status: 1 when some of it cannot be done."""
    from gitpod.cli.apply import Outcome
    from gitpod.cli.plan import PROBLEMS

    if as_json:
        print_outcomes([Outcome(item, "planned", item.rule) for item in items], as_json=True)
        _note_summary(items)
    else:
        _show_plan(items, err=False)
    return SOME_FAILED if any(item.action in PROBLEMS for item in items) else 0


def confirm(items: "list[Item]", where: str, *, yes: bool) -> None:
    """Show the plan on standard error, and ask unless there is nothing to change. Ends the process on a no.

    Args:
        items: the plan.
        where: the scope and the service, as the question names them.
        yes: do not ask.
    """
    from gitpod.cli.plan import CHANGES

    _show_plan(items, err=True)
    is_change = any(item.action in CHANGES for item in items)
    if is_change and not yes and not click.confirm(f"Make these changes in {where}?", err=True):
        raise fail("nothing was changed", SOME_FAILED)


def _show_plan(items: "list[Item]", *, err: bool) -> None:
    from gitpod.cli.plan import CHANGES, PROBLEMS

    if not is_terminal(err=err):
        table(PLAN, map(_plan_row, items), err=err)
    else:
        if changes := [item for item in items if item.action in CHANGES]:
            table(PLAN, map(_plan_row, changes), err=err)
        for item in items:
            if item.action in PROBLEMS:
                note("error", f"{_place(item)}: {item.rule}")
    _note_summary(items)


def _note_summary(items: "list[Item]") -> None:
    note("plan", summary([item.action for item in items]))


def print_outcomes(outcomes: "Sequence[Outcome]", *, as_json: bool) -> None:
    """Print what became of each item; on a terminal, only what was not done."""
    if as_json:
        for each in outcomes:
            place = {"line": each.item.line or None, "name": each.item.name or None, "action": each.item.action}
            json_line({**place, "outcome": each.outcome, "error": _one_line(each.error) or None})
    elif not is_terminal():
        table(REPORT, ([*_plan_row(each.item)[:3], each.outcome, _one_line(each.error)] for each in outcomes))


def conclude(outcomes: "list[Outcome]", seconds: float) -> int:
    """Say how many items are done and left, and return the exit status.

    Args:
        outcomes: what became of each item.
        seconds: how long it took.
    """
    from gitpod.cli.apply import NOT_DONE, statuses
    from gitpod.cli.bulk import exit_status
    from gitpod.cli.plan import PROBLEMS

    left = [each for each in outcomes if each.outcome in NOT_DONE]
    if is_terminal():
        # The plan has said what is wrong with lines of the file.
        tried = [each for each in left if each.item.action not in PROBLEMS]
        for each in tried:
            if each.outcome != "skipped":
                note("error", f"{_place(each.item)}: {each.outcome}: {each.error}")
        skipped = [each.error for each in tried if each.outcome == "skipped"]
        for reason in dict.fromkeys(skipped):
            note("error", f"{skipped.count(reason)} skipped: {reason}")
        if not outcomes:
            return exit_status([])
        words = [each.item.action if each.item.action in PROBLEMS else each.outcome for each in outcomes]
        inform(f"{summary(words)} in {seconds:.1f} s")
    elif left:
        note("error", f"{len(left)} of {len(outcomes)} not done")
    if left:
        hint("correct the lines that are wrong and run it again; it does what is left")
    if any(outcome.outcome == "unknown" for outcome in outcomes):
        hint("what is unknown may also be done later; run it again before you change a value in the file")
    return exit_status(statuses(outcomes))


def summary(words: Sequence[str]) -> str:
    """Count equal words, such as `2 create, 1 unchanged`."""
    counts = [f"{words.count(word)} {word}" for word in dict.fromkeys(words)]
    return ", ".join(counts) or "nothing, as the file names no secret"


def _place(item: "Item") -> str:
    place = f"line {item.line}" if item.line else ""
    return ": ".join(filter(None, (place, item.name)))


def _plan_row(item: "Item") -> list[str]:
    return [str(item.line or "-"), item.name or "-", item.action, item.mount, _one_line(item.rule)]


def _one_line(text: str) -> str:
    return " ".join(text.split())


@contextmanager
def progress_bar(total: int) -> Generator[Callable[[], object]]:
    """Show a bar on standard error if that is a terminal. Yields the function to call after each item."""
    if not can_style(err=True):
        yield lambda: None
        return
    from rich.console import Console  # slow to load, and only for terminals
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("import", total=total)
        yield lambda: bar.advance(task)
