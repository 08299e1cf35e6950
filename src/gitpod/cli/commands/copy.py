"""The commands `copy` and `move`."""

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import click

from gitpod.cli.client import connected, listed, target
from gitpod.cli.commands.completion import complete_name
from gitpod.cli.failures import CONFLICT, NOT_FOUND, SOME_FAILED, Failure, explain_call, fail, report
from gitpod.cli.files.entries import NAME
from gitpod.cli.options import Scope, gathered, one_scope, scope_options, scope_words, target_options, yes_option
from gitpod.cli.output import hint, inform, note

if TYPE_CHECKING:
    from gitpod import Gitpod
    from gitpod.cli.plan import Item
    from gitpod.cli.transfer import Source
    from gitpod.types import Secret

SHOWN = 5
"""Names that a message lists at most."""
NOTHING = "nothing is copied, as it would not be complete"


class Chosen(NamedTuple):
    """The secrets that a command names: their names, or all of them."""

    names: list[str]
    is_all: bool


def _chosen(*, names: tuple[str, ...], is_all: bool) -> dict[str, object]:
    if bool(names) == is_all:
        raise click.UsageError("NAME, --all: one of them, not both" if is_all else "name the secrets, or add --all")
    if any(not NAME.fullmatch(name) for name in names):
        raise click.UsageError("NAME: must be 3 to 127 letters, digits and underscores")
    return {"chosen": Chosen(list(dict.fromkeys(names)), is_all)}


_names = gathered(
    _chosen,
    click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_name),
    click.option("--all", "is_all", is_flag=True, help="Take all secrets of the scope."),
)
_replace_option = click.option(
    "--replace", is_flag=True, help="Overwrite another value, and replace a secret with another mount."
)


@click.command()
@_names
@scope_options
@target_options
@_replace_option
def copy(chosen: Chosen, scopes: list[Scope], to: Scope, *, replace: bool) -> None:
    """Copy secrets to another scope, with their values and mounts.

    Nothing is copied unless everything can be. If the target has another value, you are asked; without a terminal,
    that is an error, except with --replace. If it fails, run it again: it does what is left.
    """
    source = _source(scopes, to)
    with connected() as client:
        secrets, _ = _found(client, chosen, source, None)
        _, items = _planned(client, secrets, to, replace=replace, may_ask=sys.stdin.isatty())
        overwritten = [item.name for item in items if item.action == "update"]
        if overwritten and not replace:
            question = f"Overwrite {_listed(overwritten)} in {target([to])} with the values of {scope_words(*source)}?"
            _confirm(question)
        with _repeatable():
            done = _copy(client, items, to)
    inform(f"copied {_counted(items)} to {scope_words(*to)}{_done(done)}")


@click.command()
@_names
@scope_options
@target_options
@_replace_option
@yes_option
def move(chosen: Chosen, scopes: list[Scope], to: Scope, *, replace: bool, yes: bool) -> None:
    """Move secrets to another scope, with their values and mounts.

    The secrets are copied, and every copy is read back. Only then are the originals deleted. One that was changed
    meanwhile stays. If it fails, nothing is lost; run it again for the rest.
    """
    source = _source(scopes, to)
    if not (yes or sys.stdin.isatty()):
        raise click.UsageError("there is no terminal to ask for confirmation; add --yes")
    with connected() as client:
        secrets, moved = _found(client, chosen, source, to)
        if moved:
            inform(f"{_listed(moved)}: not in {scope_words(*source)}, but in {scope_words(*to)} already")
        sources, items = _planned(client, secrets, to, replace=replace, may_ask=not yes)
        if items and not yes:
            _confirm(_question(items, source, to))
        with _repeatable():
            _copy(client, items, to)
            _delete(client, sources, source)
    if items or not moved:
        inform(f"moved {_counted(items)} to {scope_words(*to)}")


def _source(scopes: list[Scope], to: Scope) -> Scope:
    """Return the scope to copy from. Raises `click.UsageError` if there is none, or if it is the target."""
    one_scope(scopes)
    if scopes[0] == to:
        raise click.UsageError(f"the secrets are in {scope_words(*to)} already: source and target are the same scope")
    return scopes[0]


def _found(client: "Gitpod", chosen: Chosen, source: Scope, to: Scope | None) -> "tuple[list[Secret], list[str]]":
    """Return the secrets, and the names that the source does not have and the target has, as after a move.

    Ends the process when there is a name that no secret has.
    """
    found = {secret.name: secret for secret in listed(client, one_scope([source]))}
    if chosen.is_all:
        return list(found.values()), []
    missing = [name for name in chosen.names if name not in found]
    there = {secret.name for secret in listed(client, one_scope([to]))} if to and missing else set[str]()
    for name in missing:
        if name not in there:
            note("error", f"there is no secret {name} in {scope_words(*source)}")
    if not there.issuperset(missing):
        hint("gitpod-secrets list shows the secrets")
        raise SystemExit(NOT_FOUND)
    return [found[name] for name in chosen.names if name in found], missing


def _planned(
    client: "Gitpod", secrets: "list[Secret]", to: Scope, *, replace: bool, may_ask: bool
) -> "tuple[list[Source], list[Item]]":
    """Read the secrets and plan the copies. Ends the process when one of them cannot be copied."""
    from gitpod.cli import transfer
    from gitpod.cli.plan import PROBLEMS

    read = transfer.read(client, secrets)
    refused = [(secret.name, each) for secret, each in zip(secrets, read, strict=True) if isinstance(each, Failure)]
    _end_if_any(refused, NOTHING)
    sources = [each for each in read if not isinstance(each, Failure)]
    items = transfer.planned(client, sources, to, can_replace=replace)
    if not (replace or may_ask):
        items = transfer.without_consent(items)
    _end_if_any([(item.name, Failure(item.rule, CONFLICT)) for item in items if item.action in PROBLEMS], NOTHING)
    return sources, items


def _copy(client: "Gitpod", items: "list[Item]", to: Scope) -> list[str]:
    """Copy the secrets, verify the copies, and return what was done with each. Ends the process when that fails."""
    from gitpod.cli import transfer
    from gitpod.cli.apply import NOT_DONE

    outcomes = transfer.copy(client, items, to)
    left = [each for each in outcomes if each.outcome in NOT_DONE]
    advice = "what was copied stays, and nothing is deleted; run it again for the rest"
    if any(each.outcome == "unknown" for each in left):
        advice += ", before you change a value: what is unknown may also be done later"
    _end_if_any([(each.item.name, Failure(each.error, each.status)) for each in left], advice)
    return [each.outcome for each in outcomes]


def _delete(client: "Gitpod", sources: "list[Source]", source: Scope) -> None:
    """Delete the secrets that were copied. Ends the process when one is not deleted."""
    from gitpod.cli import transfer

    failures = transfer.delete(client, sources, source)
    left = [(each.secret.name, failure) for each, failure in zip(sources, failures, strict=True) if failure]
    _end_if_any(left, "everything is copied; run it again to delete what is left")


def _end_if_any(failures: list[tuple[str, Failure]], advice: str) -> None:
    """Report secrets with which something failed, and end the process if there are any."""
    for name, failure in failures:
        note("error", f"{name}: {failure.message}")
    if failures:
        hint(advice)
        statuses = {failure.status for _, failure in failures}
        raise SystemExit(statuses.pop() if len(statuses) == 1 else SOME_FAILED)


@contextmanager
def _repeatable() -> Generator[None]:
    """Say after a failure, and after Ctrl-C, that the command can be run again."""
    from gitpod.errors import GitpodError

    advice = "nothing is lost; run it again for the rest"
    try:
        yield
    except GitpodError as error:
        failure = explain_call(error)._replace(hint=advice)
        report(failure)
        raise SystemExit(failure.status) from None
    except KeyboardInterrupt:
        hint(advice)
        raise


def _confirm(question: str) -> None:
    if not click.confirm(question, err=True):
        raise fail("nothing was changed", SOME_FAILED)


def _question(items: "list[Item]", source: Scope, to: Scope) -> str:
    names = _listed([item.name for item in items])
    overwritten = [item.name for item in items if item.action in ("update", "replace")]
    note = f" and overwrite {_listed(overwritten)} there" if overwritten else ""
    return f"Move {names} from {scope_words(*source)} to {target([to])}{note}?"


def _listed(names: Sequence[str]) -> str:
    """Return names as a text, and how many more there are than it shows."""
    if len(names) > SHOWN:
        return f"{', '.join(names[:SHOWN])} and {len(names) - SHOWN} more"
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _counted(items: "list[Item]") -> str:
    return items[0].name if len(items) == 1 else f"{len(items)} secrets"


def _done(outcomes: list[str]) -> str:
    """Return what was done with the copies, in parentheses: `created` for one of them, `2 created` for several."""
    counted = [f"{outcomes.count(each)} {each}" for each in dict.fromkeys(outcomes)]
    return f" ({', '.join(counted) if len(outcomes) > 1 else outcomes[0]})" if outcomes else ""
