"""Options that several commands share, and the arguments that commands get from them."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import click

from gitpod.cli import settings
from gitpod.cli.failures import USAGE, fail
from gitpod.cli.output import printable
from gitpod.cli.sources import config_file, project_file
from gitpod.cli.sources.project_file import NAME
from gitpod.cli.sources.setting import SCOPES, is_id

if TYPE_CHECKING:
    from gitpod.types import SecretScope

F = TypeVar("F", bound=Callable[..., Any])
Scope = tuple[str, str]
"""The kind of a scope, such as `project_id`, and its id."""


class _Id(click.types.UUIDParameterType):
    """A UUID. Unlike click's own type, its error does not repeat what was given, which may be a token or a value."""

    def convert(self, value: str | UUID, param: click.Parameter | None, ctx: click.Context | None) -> UUID:
        """Convert the text of an argument."""
        try:
            return value if isinstance(value, UUID) else UUID(value)
        except ValueError:
            self.fail("is not a valid UUID", param, ctx)


class _Project(_Id):
    """A project: its id, or the name that the project's file gives to it."""

    def convert(self, value: str | UUID, param: click.Parameter | None, ctx: click.Context | None) -> UUID:
        """Convert the text of an argument. An id is always itself, whatever the file says."""
        if isinstance(value, UUID) or is_id(value):
            return super().convert(value, param, ctx)
        names = _names_of_projects()
        if value not in names:
            known = f", nor a project of {NAME}; those are {', '.join(sorted(names))}" if names else ""
            self.fail(f"is not a valid UUID{known}", param, ctx)
        return UUID(names[value])


def _names_of_projects() -> dict[str, str]:
    found = project_file.find()
    return found.projects if found else {}


def _complete_project(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    with suppress(click.ClickException):  # the command itself will report it
        return sorted(name for name in _names_of_projects() if name.startswith(incomplete))
    return []


def _complete_profile(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    with suppress(click.ClickException):  # the command itself will report it
        return sorted(name for name in config_file.read().profiles if name.startswith(incomplete))
    return []


def _choose_profile(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    """Remember the profile, also when the option stands before the command."""
    if value is not None:
        context.meta[settings.PROFILE] = value


ID = _Id()
profile_option = click.option(
    "--profile",
    metavar="NAME",
    expose_value=False,
    callback=_choose_profile,
    shell_complete=_complete_profile,
    help="The profile of the configuration file to use. Default: GITPOD_PROFILE, or what .gitpod-secrets.toml names.",
)


class _StoreURL(click.types.StringParamType):
    """The URL of a store, checked before the store is opened, so that the error names the option."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the text of an argument."""
        from gitpod.server.errors import ServiceError
        from gitpod.server.storage.url import check  # loads libpq for a store on PostgreSQL

        url: str = super().convert(value, param, ctx)
        try:
            check(url)
        except ServiceError as error:
            self.fail(str(error), param, ctx)
        return url


store_option = click.option(
    "--store",
    type=_StoreURL(),
    required=True,
    metavar="URL",
    envvar="GITPOD_SECRETS_STORE",
    show_envvar=True,
    help="sqlite:///path/to/file.db, sqlite:// (in memory) or postgresql://user@host/database.",
)
key_option = click.option(
    "--key",
    metavar="KEY",
    envvar="GITPOD_SECRETS_KEY",
    show_envvar=True,
    help="The key-encryption key: file:PATH, env:NAME or command:COMMAND. Default: file.db.key beside the file.",
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")


def json_option(help_text: str = "Print a line of JSON for each.") -> Callable[[F], F]:
    """Make the option `--json`: the command gets `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help=help_text)


def gathered(gather: Callable[..., dict[str, object]], *options: Callable[[Any], Any]) -> Callable[[F], F]:
    """Make a decorator that adds options to a command.

    Args:
        gather: takes the options as keywords, and returns the arguments that the command gets in their place.
        options: the options, in the order of the help text.
    """
    names = signature(gather).parameters

    def decorate(command: F) -> F:
        @wraps(command)
        def with_options(**given: Any) -> Any:  # noqa: ANN401 # click's arguments are of any type
            own = {name: given.pop(name) for name in names}
            return command(**given, **gather(**own))

        decorated: Any = with_options
        for option in reversed(options):
            decorated = option(decorated)
        return decorated  # type: ignore[no-any-return] # the command as before, with more options

    return decorate


def _scope_option(name: str, help_text: str) -> Callable[[F], F]:
    return click.option(f"--{name}", type=ID, metavar="ID", help=help_text)


def _project_option(name: str, help_text: str) -> Callable[[F], F]:
    return click.option(
        f"--{name}", type=_Project(), metavar="ID|NAME", shell_complete=_complete_project, help=help_text
    )


def _scopes(
    *, project: UUID | None, user: UUID | None, organization: UUID | None, service_account: UUID | None
) -> dict[str, object]:
    given = {"project": project, "user": user, "organization": organization, "service_account": service_account}
    return {"scopes": scopes_from(given)}


scope_options = gathered(
    _scopes,
    _project_option(
        "project",
        "The project's id, or its name in .gitpod-secrets.toml. Default: GITPOD_PROJECT_ID, or the scope of a file.",
    ),
    _scope_option("user", "The user's id."),
    _scope_option("organization", "The organization's id."),
    _scope_option("service-account", "The service account's id."),
    profile_option,
)
"""Options for the scope, and for the profile: the command gets `scopes`, a list of `Scope`."""


TARGETS = ("project_id", "user_id", "organization_id", "service_account_id")
"""The kinds of scope, in the order of the options for the scope that secrets go to."""


def _target(
    *, to_project: UUID | None, to_user: UUID | None, to_organization: UUID | None, to_service_account: UUID | None
) -> dict[str, object]:
    ids = [to_project, to_user, to_organization, to_service_account]
    given = [(kind, str(each)) for kind, each in zip(TARGETS, ids, strict=True) if each]
    if not given:
        raise click.UsageError(
            "no target given: use --to-project, --to-user, --to-organization or --to-service-account"
        )
    if len(given) > 1:
        options = "--to-project, --to-user, --to-organization, --to-service-account"
        raise click.UsageError(f"{options}: one of them, not several")
    return {"to": given[0]}


target_options = gathered(
    _target,
    _project_option("to-project", "To the project with this id, or this name in .gitpod-secrets.toml."),
    _scope_option("to-user", "To the user with this id."),
    _scope_option("to-organization", "To the organization with this id."),
    _scope_option("to-service-account", "To the service account with this id."),
)
"""Options for the scope that secrets go to: the command gets `to`, a `Scope`."""


def scopes_from(options: Mapping[str, object]) -> list[Scope]:
    """Return the scopes that the options name, or else the one of the settings. The one that counts most is last."""
    given = {name: str(options[key]) for name in SCOPES if options.get(key := name.removesuffix("_id"))}
    found = settings.load(given)
    return [(name, found[name].value) for name in sorted(SCOPES, key=SCOPES.__getitem__) if name in found]


def scope_words(kind: str, id_: str) -> str:
    """Return a scope in the words of the options: `project b0e12f6c…`, or `project web (b0e12f6c…)` if it has a name.

    Args:
        kind: such as `project_id`.
        id_: its id, of which the first eight characters are shown.
    """
    names = [name for name, id_of in _names_of_projects().items() if id_of == id_] if kind == "project_id" else []
    word = kind.removesuffix("_id").replace("_", " ")
    shown = printable(id_[:8])  # a faulty service may send anything
    return f"{word} {names[0]} ({shown}…)" if names else f"{word} {shown}…"


def in_chosen_project(scopes: list[Scope]) -> str:
    """Return ` in project web (b0e12f6c…)` if a project's file, which a stranger may have written, gave the scope."""
    found = project_file.find()
    chosen = [each.value for each in found.scope.values()] + [*found.projects.values()] if found else []
    return "".join(f" in {scope_words(*scope)}" for scope in scopes if scope[1] in chosen)


def nothing_is_set() -> SystemExit:
    """Report that there is neither a service nor a token nor a scope, and what to set first; return what to raise."""
    steps = (
        "set, in this order:",
        "1. GITPOD_BASE_URL: https://…, or sqlite:///FILE; default: the hosted service",
        "2. your token: gitpod-secrets login, or GITPOD_API_KEY; a FILE needs none",
        "3. GITPOD_PROJECT_ID: a project; on a service of your own, any UUID (uuidgen)",
    )
    return fail("nothing is set yet: no service, no token, no project", USAGE, "\n".join(steps))


def need_scope(scopes: list[Scope]) -> None:
    """Raise `click.UsageError` unless there is a scope."""
    if not scopes and settings.is_empty(settings.load()):
        raise nothing_is_set()
    if not scopes:
        raise click.UsageError("no scope given: use --project, --user, --organization or --service-account")


def one_scope(scopes: list[Scope]) -> "SecretScope":
    """Return the scope of a command that takes one. Raises `click.UsageError` unless there is exactly one."""
    from gitpod.types import SecretScope  # loads a part of the SDK

    need_scope(scopes)
    if len(scopes) > 1:
        raise click.UsageError("--project, --user, --organization, --service-account: one of them, not several")
    return SecretScope(**dict(scopes))


def _mount(
    *, env: bool, file: str | None, registry: str | None, username: str | None, api_only: bool
) -> dict[str, object]:
    # An empty text, as of a variable that is not set, is a mistake; it must not become another mount.
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
    return {"mount": mount, "prefix": f"{username}:" if username else ""}


mount_options = gathered(
    _mount,
    click.option("--env", is_flag=True, help="Environments get it as an environment variable NAME. The default."),
    click.option("--file", metavar="PATH", help="Environments get it as a file at this absolute path."),
    click.option("--registry", metavar="HOST", help="It is the login of this container registry, https://HOST."),
    click.option("--username", metavar="U", help="The user name at the registry; the value is the password."),
    click.option("--api-only", is_flag=True, help="Environments do not get it; only the API reads it."),
)
"""Options for the mount: the command gets `mount`, a parameter of a create, and `prefix`, put before the value."""
