"""The commands for single secrets: `create`, `put`, `update`, `get`, `list` and `delete`."""

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from gitpod.cli.client import connected, secret_id, secret_of
from gitpod.cli.commands.completion import complete_name
from gitpod.cli.failures import SOME_FAILED, USAGE, fail
from gitpod.cli.options import Scope, json_option, mount_options, one_scope, scope_options, yes_option
from gitpod.cli.output import inform, json_line, table
from gitpod.cli.values import value_options

if TYPE_CHECKING:
    from gitpod.types import Secret

secret_json_option = json_option("Print the documented JSON, a line for each.")
name_or_id_argument = click.argument("name_or_id", metavar="NAME|ID", shell_complete=complete_name)


def _params(
    name: str, scopes: list[Scope], mount: Mapping[str, object], prefix: str, read_value: Callable[[], str]
) -> Any:  # noqa: ANN401 # parameters of a create
    """Check the scope, read the value, and return the parameters of a create."""
    return {"name": name, "scope": one_scope(scopes), "value": prefix + read_value(), **mount}


@click.command()
@click.argument("name")
@scope_options
@mount_options
@value_options
@secret_json_option
def create(*, as_json: bool, **given: Any) -> None:  # noqa: ANN401 # what `_params` takes
    """Store a new secret. Its value is read from a pipe, --value-file, --from-env or a hidden prompt."""
    params = _params(**given)
    with connected() as client:
        secret = client.secrets.create(**params).secret
    _show([secret], as_json=as_json)


@click.command()
@click.argument("name", shell_complete=complete_name)
@scope_options
@mount_options
@value_options
@click.option("--replace", is_flag=True, help="If the mount differs, delete the secret and create it again.")
@secret_json_option
def put(*, replace: bool, as_json: bool, **given: Any) -> None:  # noqa: ANN401 # what `_params` takes
    """Store a secret, or update its value if it exists."""
    params = _params(**given)
    with connected() as client:
        done = client.secrets.put(replace=replace, **params)
    inform(f"{done.action} {params['name']}")
    _show([done.secret], as_json=as_json)


@click.command()
@name_or_id_argument
@scope_options
@value_options
def update(name_or_id: str, scopes: list[Scope], read_value: Callable[[], str]) -> None:
    """Replace the value of a secret that exists."""
    value = read_value()
    with connected() as client:
        client.secrets.update_value(secret_id=secret_id(client, name_or_id, scopes), value=value)
    inform(f"updated {name_or_id}")


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
        secret = secret_of(client, name_or_id, scopes) if as_json else None
        found = secret.id if secret else secret_id(client, name_or_id, scopes)
        value = client.secrets.get_value(secret_id=found).reveal()
    if secret:
        json_line({**secret.to_dict(), "value": value})
        return
    sys.stdout.buffer.write(value.encode())
    sys.stdout.flush()
    if sys.stdout.isatty():
        click.echo()


@click.command("list")
@scope_options
@click.option("--all", "is_all", is_flag=True, help="List every scope that the token reaches, even if one is set.")
@secret_json_option
def list_(scopes: list[Scope], *, is_all: bool, as_json: bool) -> None:
    """List secrets, without their values. Without a scope, list every scope that the token reaches."""
    with connected() as client:
        params: Any = {} if is_all or not scopes else {"filter": {"scope": one_scope(scopes)}}
        _show(list(client.secrets.list(page_size=100, **params)), as_json=as_json)


@click.command()
@name_or_id_argument
@scope_options
@yes_option
def delete(name_or_id: str, scopes: list[Scope], *, yes: bool) -> None:
    """Delete a secret and its value for good."""
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("there is no terminal to ask for confirmation; add --yes")
        if not click.confirm(f"Delete {name_or_id}?", err=True):
            raise fail(f"{name_or_id} is not deleted", SOME_FAILED)
    with connected() as client:
        client.secrets.delete(secret_id=secret_id(client, name_or_id, scopes))
    inform(f"deleted {name_or_id}")


def _show(secrets: "list[Secret]", *, as_json: bool) -> None:
    if as_json:
        for secret in secrets:
            click.echo(secret.to_json(indent=None))
        return
    table(["NAME", "MOUNT", "SCOPE", "ID", "UPDATED"], map(_row, secrets))


def _row(secret: "Secret") -> list[str]:
    mount = secret.file_path or secret.container_registry_basic_auth_host
    kind = "env" if secret.environment_variable else "api-only"
    scope = next(iter(secret.scope.to_dict().items()), ("", "")) if secret.scope else ("", "")
    updated = secret.updated_at.isoformat(timespec="seconds") if secret.updated_at else ""
    return [secret.name, mount or kind, " ".join(map(str, scope)), secret.id, updated]
