"""The commands for single secrets: `create`, `put`, `update`, `get` and `delete`."""

import sys
from typing import TYPE_CHECKING, Any

import click

from gitpod.cli import questions
from gitpod.cli.client import connected, find, secret_id
from gitpod.cli.commands.completion import complete_name
from gitpod.cli.commands.listing import print_in_full
from gitpod.cli.failures import SOME_FAILED, USAGE, fail
from gitpod.cli.options import (
    Scope,
    in_chosen_project,
    json_option,
    mount_options,
    one_scope,
    scope_options,
    yes_option,
)
from gitpod.cli.output import inform, is_terminal, json_line
from gitpod.cli.values import ReadValue, value_options

if TYPE_CHECKING:
    from gitpod.types import Secret

secret_json_option = json_option("Print the documented JSON, a line for each.")
name_or_id_argument = click.argument("name_or_id", metavar="NAME|ID", shell_complete=complete_name)


@click.command()
@click.argument("name")
@scope_options
@mount_options
@value_options
@secret_json_option
def create(
    name: str, scopes: list[Scope], mount: dict[str, Any], prefix: str, read_value: ReadValue, *, as_json: bool
) -> None:
    """Store a new secret. Its value is read from a pipe, --value-file, --from-env or a hidden prompt."""
    params: dict[str, Any] = {"name": name, "scope": one_scope(scopes), **mount}
    with connected() as client:
        value = read_value(lambda: questions.value_to_create(client, params, scopes))
        secret = client.secrets.create(**params, value=prefix + value).secret
    _show(secret, as_json=as_json)
    if is_terminal() and not as_json:
        inform(f"created {name}{in_chosen_project(scopes)}")


@click.command()
@click.argument("name", shell_complete=complete_name)
@scope_options
@mount_options
@value_options
@click.option("--replace", is_flag=True, help="If the mount differs, delete the secret and create it again.")
@secret_json_option
def put(
    name: str,
    scopes: list[Scope],
    mount: dict[str, Any],
    prefix: str,
    read_value: ReadValue,
    *,
    replace: bool,
    as_json: bool,
) -> None:
    """Store a secret, or update its value if it exists."""
    params: dict[str, Any] = {"name": name, "scope": one_scope(scopes), **mount}
    with connected() as client:
        value = read_value(lambda: questions.value_to_put(client, params, scopes, can_replace=replace))
        done = client.secrets.put(**params, value=prefix + value, replace=replace)
    inform(f"{done.action} {name}{in_chosen_project(scopes)}")
    _show(done.secret, as_json=as_json)


@click.command()
@name_or_id_argument
@scope_options
@value_options
def update(name_or_id: str, scopes: list[Scope], read_value: ReadValue) -> None:
    """Replace the value of a secret that exists."""
    with connected() as client:
        value = read_value(lambda: questions.value_to_update(client, name_or_id, scopes))
        client.secrets.update_value(secret_id=secret_id(client, name_or_id, scopes), value=value)
    inform(f"updated {_described(name_or_id, scopes)}")


@click.command()
@name_or_id_argument
@scope_options
@click.option("--reveal", is_flag=True, help="Print the value even to a terminal.")
@json_option("Print the documented JSON, with the value as a further field.")
def get(name_or_id: str, scopes: list[Scope], *, reveal: bool, as_json: bool) -> None:
    """Print the value of a secret: its bytes, and nothing else."""
    if sys.stdout.isatty() and not reveal:
        raise fail("the value would be shown on the terminal", USAGE, "add --reveal, or use a pipe")
    with connected() as client:
        secret = find(client, name_or_id, scopes) if as_json else None
        found = secret.id if secret else secret_id(client, name_or_id, scopes)
        value = client.secrets.get_value(secret_id=found).reveal()
    if secret:
        json_line({**secret.to_dict(), "value": value})
        return
    sys.stdout.buffer.write(value.encode())
    sys.stdout.flush()
    if sys.stdout.isatty():
        click.echo()


@click.command()
@name_or_id_argument
@scope_options
@yes_option
def delete(name_or_id: str, scopes: list[Scope], *, yes: bool) -> None:
    """Delete a secret and its value for good."""
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask for confirmation; add --yes")
    with connected() as client:
        if yes:
            doomed = secret_id(client, name_or_id, scopes)
        else:
            secret = find(client, name_or_id, scopes)
            if not click.confirm(questions.to_delete(secret), err=True):
                raise fail(f"{name_or_id} is not deleted", SOME_FAILED)
            doomed = secret.id
        client.secrets.delete(secret_id=doomed)
    inform(f"deleted {_described(name_or_id, scopes)}")


def _described(name_or_id: str, scopes: list[Scope]) -> str:
    # An id is of whatever scope it is in.
    return name_or_id if "-" in name_or_id else f"{name_or_id}{in_chosen_project(scopes)}"


def _show(secret: "Secret", *, as_json: bool) -> None:
    """Print what was stored, for programs. A person is told its name alone."""
    if as_json or not is_terminal():
        print_in_full([secret], as_json=as_json)
