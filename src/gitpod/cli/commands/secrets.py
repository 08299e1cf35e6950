"""The commands for single secrets: create, put, update, get, list, delete."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gitpod.cli.commands.completion import names
from gitpod.cli.failures import SOME_FAILED, USAGE, fail
from gitpod.cli.shared import connected, one_scope, scope_options, secret_id, table
from gitpod.cli.values import value_options

if TYPE_CHECKING:
    from gitpod.types import Secret

F = TypeVar("F", bound=Callable[..., Any])
Scopes = list[tuple[str, str]]
as_json_option = click.option("--json", "as_json", is_flag=True, help="Print the documented JSON, a line for each.")


def mount_options(command: F) -> F:
    """How environments get the secret: the command gets `mount`, parameters of a create."""

    @wraps(command)
    def mounted(  # as click has them
        env: bool,  # noqa: FBT001
        file: str | None,
        registry: str | None,
        username: str | None,
        api_only: bool,  # noqa: FBT001
        **given: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        # An empty one is a mistake, as of a variable that is not set, and no other mount.
        if env + (file is not None) + (registry is not None) + api_only > 1:
            raise click.UsageError("--env, --file, --registry, --api-only: one of them, not several")
        if file == "":
            raise click.UsageError("--file: must not be empty")
        if bool(registry) != bool(username) or "" in (registry, username):
            raise click.UsageError("--registry and --username belong together")
        if username and ":" in username:
            raise click.UsageError("--username: must not hold a colon")
        mount: dict[str, object] = {"environment_variable": True}
        if file:
            mount = {"file_path": file}
        elif registry:
            mount = {"container_registry_basic_auth_host": registry if "://" in registry else f"https://{registry}"}
        elif api_only:
            mount = {"api_only": True}
        return command(**given, mount=mount, prefix=f"{username}:" if username else "")

    wrapped: Any = mounted
    for option in (
        click.option("--api-only", is_flag=True, help="Nowhere: it is read by the API alone."),
        click.option("--username", metavar="U", help="The user at the registry; the value is then the password."),
        click.option("--registry", metavar="HOST", help="As the login of this container registry, https://HOST."),
        click.option("--file", metavar="PATH", help="As a file at this absolute path."),
        click.option("--env", is_flag=True, help="As an environment variable of its name. The default."),
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return] # a command as before, with more options


@click.command()
@click.argument("name")
@scope_options
@mount_options
@value_options
@as_json_option
def create(  # one for each option
    name: str,
    scopes: Scopes,
    mount: Any,  # noqa: ANN401 # parameters of a create
    prefix: str,
    value: Callable[[], str],
    *,
    as_json: bool,
) -> None:
    """Store a new secret. Its value is read from a pipe, --value-file, --from-env or a hidden prompt."""
    scope = one_scope(scopes)
    text = prefix + value()
    with connected() as client:
        made = client.secrets.create(name=name, value=text, scope=scope, **mount).secret
    _show([made], as_json=as_json)


@click.command()
@click.argument("name", shell_complete=names)
@scope_options
@mount_options
@value_options
@click.option("--replace", is_flag=True, help="If its mount differs, delete it and create it anew.")
@as_json_option
def put(  # one for each option
    name: str,
    scopes: Scopes,
    mount: Any,  # noqa: ANN401 # parameters of a create
    prefix: str,
    value: Callable[[], str],
    *,
    replace: bool,
    as_json: bool,
) -> None:
    """Store a secret, or update its value when the name exists in its scope."""
    scope = one_scope(scopes)
    text = prefix + value()
    with connected() as client:
        done = client.secrets.put(name=name, value=text, scope=scope, replace=replace, **mount)
    click.echo(f"gitpod-secrets: {done.action} {name}", err=True)
    _show([done.secret], as_json=as_json)


@click.command()
@click.argument("name_or_id", metavar="NAME|ID", shell_complete=names)
@scope_options
@value_options
def update(name_or_id: str, scopes: Scopes, value: Callable[[], str]) -> None:
    """Replace the value of a secret that exists."""
    text = value()
    with connected() as client:
        client.secrets.update_value(secret_id=secret_id(client, name_or_id, scopes), value=text)
    click.echo(f"gitpod-secrets: updated {name_or_id}", err=True)


@click.command()
@click.argument("name_or_id", metavar="NAME|ID", shell_complete=names)
@scope_options
@click.option("--reveal", is_flag=True, help="Print the value to a terminal too.")
def get(name_or_id: str, scopes: Scopes, *, reveal: bool) -> None:
    """Print the value of a secret, as it is and nothing more."""
    if sys.stdout.isatty() and not reveal:
        raise fail("the value would be shown on the terminal", USAGE, "add --reveal, or send it somewhere by a pipe")
    with connected() as client:
        value = client.secrets.get_value(secret_id=secret_id(client, name_or_id, scopes)).reveal()
    sys.stdout.buffer.write(value.encode())
    sys.stdout.flush()
    if sys.stdout.isatty():
        click.echo()


@click.command("list")
@scope_options
@click.option("--all", "everything", is_flag=True, help="Of every scope that the token reaches, whatever is set.")
@as_json_option
def list_(scopes: Scopes, *, everything: bool, as_json: bool) -> None:
    """List secrets, without their values. Without a scope, those of every scope that the token reaches."""
    with connected() as client:
        params: Any = {} if everything or not scopes else {"filter": {"scope": one_scope(scopes)}}
        _show(list(client.secrets.list(page_size=100, **params)), as_json=as_json)


@click.command()
@click.argument("name_or_id", metavar="NAME|ID", shell_complete=names)
@scope_options
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(name_or_id: str, scopes: Scopes, *, yes: bool) -> None:
    """Remove a secret and its value for good."""
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("there is no terminal to ask at; add --yes")
        if not click.confirm(f"Delete {name_or_id}?", err=True):
            raise fail(f"{name_or_id} is not deleted", SOME_FAILED)
    with connected() as client:
        client.secrets.delete(secret_id=secret_id(client, name_or_id, scopes))
    click.echo(f"gitpod-secrets: deleted {name_or_id}", err=True)


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
