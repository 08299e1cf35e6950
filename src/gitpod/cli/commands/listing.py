"""The command `list`, and the lines that show secrets."""

from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click

from gitpod.cli.client import connected, scope_of, target
from gitpod.cli.columns import ago, counted, shortened
from gitpod.cli.files.entries import PLACES
from gitpod.cli.options import Scope, json_option, one_scope, scope_options, scope_words
from gitpod.cli.output import inform, is_terminal, json_line, table

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from gitpod.types import Secret

COLUMNS = ["NAME", "MOUNT", "SCOPE", "ID", "UPDATED"]
MOUNTS = {"env": "environment_variable", **PLACES, "api-only": "api_only"}
"""The kinds of mounts in the words of options and files, and the fields of a secret that have them."""
LONG_AGO = datetime.min.replace(tzinfo=UTC)
ORDERS: "dict[str, Callable[[Secret], Any]]" = {
    "name": lambda secret: secret.name,
    "created": lambda secret: secret.created_at or LONG_AGO,
    "updated": lambda secret: secret.updated_at or LONG_AGO,
}


@click.command("list")
@scope_options
@click.option("--all", "is_all", is_flag=True, help="List every scope that the token reaches, even if one is set.")
@click.option("--name", "glob", metavar="GLOB", help="Only names that match, such as 'DB_*'.")
@click.option(
    "--mount",
    metavar="KIND",
    type=click.Choice([*MOUNTS]),
    help=f"Only secrets with this mount: {', '.join(MOUNTS)}.",
)
@click.option(
    "--sort",
    metavar="FIELD",
    default="created",
    show_default=True,
    type=click.Choice([*ORDERS]),
    help="Sort by name, created or updated. The newest is last.",
)
@click.option("--wide", "is_wide", is_flag=True, help="On a terminal, show ids, times and paths in full.")
@json_option("Print the documented JSON, a line for each.")
def list_(
    scopes: list[Scope], glob: str | None, mount: str | None, sort: str, *, is_all: bool, is_wide: bool, as_json: bool
) -> None:
    """List secrets, without their values. Without a scope, list every scope that the token reaches."""
    chosen = [] if is_all else scopes
    params: Any = {"filter": {"scope": one_scope(chosen)}} if chosen else {}
    with connected() as client:
        stored = list(client.secrets.list(page_size=100, **params))
    secrets = [
        secret
        for secret in sorted(stored, key=ORDERS[sort])
        if (glob is None or fnmatchcase(secret.name, glob)) and (mount is None or getattr(secret, MOUNTS[mount]))
    ]
    if as_json or is_wide or not is_terminal():
        print_in_full(secrets, as_json=as_json)
    else:
        # An id is shortened to what is unique in the scope, whatever is shown of it.
        _print_short(secrets, shortened(secret.id for secret in stored), chosen, is_filtered=bool(glob or mount))


def print_in_full(secrets: "Collection[Secret]", *, as_json: bool) -> None:
    """Print secrets with all that programs may need: a line of JSON, or of a table, for each."""
    if as_json:
        for secret in secrets:
            # Not `to_json`, which has control characters above ASCII as they stand.
            json_line(secret.to_dict())
    else:
        table(COLUMNS, map(_full, secrets), is_wide=True)


def _full(secret: "Secret") -> list[str]:
    scope = next(iter(secret.scope.to_dict().items()), ("", "")) if secret.scope else ("", "")
    updated = secret.updated_at.isoformat(timespec="seconds") if secret.updated_at else ""
    return [secret.name, _mount(secret), " ".join(map(str, scope)), secret.id, updated]


def _print_short(secrets: "list[Secret]", ids: dict[str, str], scopes: list[Scope], *, is_filtered: bool) -> None:
    """Print a table for people, below the scope that all have in common, and their number."""
    found = [scope_of(secret) for secret in secrets]
    common = scopes or (found[0] if found and all(each == found[0] for each in found) else [])
    if not secrets:
        none = "no secret matches" if is_filtered else "no secrets"
        inform(f"{none} in {target(common) if common else f'any scope at {target([])}'}")
        return
    words = _words(found)
    rows = [
        [
            secret.name,
            _mount(secret),
            "" if common else words[tuple(scope)],
            ids[secret.id],
            ago(secret.updated_at) if secret.updated_at else "",
        ]
        for secret, scope in zip(secrets, found, strict=True)
    ]
    click.echo(target(common) if common else f"all scopes at {target([])}")
    table(COLUMNS, rows)
    click.echo(counted(len(secrets), "secret"))


def _words(found: list[list[Scope]]) -> dict[tuple[Scope, ...], str]:
    """Return each scope in words: with its shortened id, unless two would look the same."""
    words = {tuple(scope): " ".join(scope_words(*each) for each in scope) for scope in found}
    if len(set(words.values())) < len(words):
        words = {scope: " ".join(f"{kind} {id_}" for kind, id_ in scope) for scope in words}
    return words


def _mount(secret: "Secret") -> str:
    kind = "env" if secret.environment_variable else "api-only"
    return secret.file_path or secret.container_registry_basic_auth_host or kind
