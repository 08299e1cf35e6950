"""The commands for bearer tokens: `token create`, `token list` and `token revoke`."""

import re
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import click

from gitpod.cli.expiry import mark_options
from gitpod.cli.failures import SOME_FAILED, USAGE, fail
from gitpod.cli.options import ID, json_option, key_option, store_option
from gitpod.cli.output import inform, is_terminal, records, table, warn
from gitpod.cli.store import opened, principal_name, time_text, when

if TYPE_CHECKING:
    from gitpod.server.storage.rows import StoredToken

PRINCIPALS = ("user", "environment", "service-account", "runner", "account", "runner-manager")
WITH_SCOPE = ("user", "service-account")
"""The kinds of owners that have a scope of their own."""
COLUMNS = ["id", "role", "principal", "subject_id", "projects", "created_at", "revoked_at", "organization_id"]
ADDED = ["expires_at", "note"]
PREFIX = re.compile("[0-9a-f]{8}[0-9a-f-]{0,28}")
"""The beginning of an id, as `token list` shows it on a terminal."""


@click.group()
def token() -> None:
    """Bearer tokens: who may call the service, and what they may do."""


@token.command("create")
@store_option
@key_option
@click.option("--role", required=True, type=click.Choice(["admin", "member", "environment"]), help="What it may do.")
@click.option("--subject", type=ID, help="The id of its owner. Default: a new id.")
@click.option("--principal", type=click.Choice(PRINCIPALS), help="The kind of owner. Default: user, or environment.")
@click.option("--project", "projects", multiple=True, type=ID, help="A project that it reaches; repeatable.")
@click.option("--organization", type=ID, help="Its organization. Default: the store's own.")
@mark_options
def token_create(  # one parameter for each option
    store: str,
    key: str | None,
    role: str,
    subject: UUID | None,
    principal: str | None,
    projects: tuple[UUID, ...],
    organization: UUID | None,
    marks: dict[str, Any],
) -> None:
    """Make a token and print it. It cannot be shown again, as the store keeps only its SHA-256."""
    from gitpod.server import operate
    from gitpod.server.caller import Role
    from gitpod_proto.gitpod.v1.identity_pb import Principal, Subject

    if role == "admin" and projects:
        raise click.UsageError("--project: an admin reaches every project")
    if role == "environment" and not projects:
        raise click.UsageError("--project: an environment reads the secrets of its projects, so it needs one")
    kind = principal or _usual_principal(role)
    owner = Subject(id=str(subject or uuid4()), principal=Principal[kind.replace("-", "_").upper()])
    tenant = str(organization) if organization else None
    with opened(store, may_be_new=True) as each:
        text, stored = operate.create_token(
            each,
            key,
            owner,
            Role(role),
            frozenset(map(str, projects)),
            tenant,
            **marks,
        )
        try:
            click.echo(text)
            sys.stdout.flush()
        except OSError:
            # Nobody received the token, so nobody may use it.
            operate.revoke_token(each, stored.id)
            raise fail("the token could not be printed, and is revoked", USAGE) from None
    ending = f", and expires at {time_text(stored.expires_at, 'seconds')}" if stored.expires_at else ""
    inform(f"token {stored.id} for {kind} {owner.id}; it is shown this once{ending}")
    if role == "member" and not projects:
        reach = f"only the secrets of the {kind} {owner.id}" if kind in WITH_SCOPE else "no secret at all"
        warn(f"without --project, this token reaches {reach}")


@token.command("list", short_help="List the tokens: what they may do, and until when.")
@store_option
@json_option()
def token_list(store: str, *, as_json: bool) -> None:
    """List the tokens: their owners, what they may do, since when, and until when."""
    with opened(store) as each:
        tokens = each.tokens()
    if is_terminal() and not as_json:
        _show(tokens)
        return
    rows = [asdict(stored) for stored in tokens]
    for row in rows:
        row["principal"] = principal_name(row["principal"])
        row["projects"] = row["projects"].replace(" ", ",")
        row["created_at"] = time_text(row["created_at"])
        for ending in ("revoked_at", "expires_at"):
            row[ending] = time_text(row[ending]) if row[ending] else ""
    records([*COLUMNS, *ADDED], rows, as_json=as_json)


def _owner(token: "StoredToken", subject: str) -> str:
    """Return the subject, after its kind unless that is the usual one of the role."""
    kind = principal_name(token.principal).replace("_", "-")
    return subject if kind == _usual_principal(token.role) else f"{kind} {subject}"


def _usual_principal(role: str) -> str:
    return "environment" if role == "environment" else "user"


def _projects(ids: list[str]) -> str:
    return f"{ids[0]} +{len(ids) - 1}" if len(ids) > 1 else "".join(ids)


def _show(tokens: "list[StoredToken]") -> None:
    """Print a table for people."""
    from gitpod.cli.columns import counted, shortened  # loads a part of rich, and only for terminals

    ids = shortened(each.id for each in tokens)
    subjects = shortened(each.subject_id for each in tokens)
    projects = shortened(project for each in tokens for project in each.projects.split())
    organizations = shortened(each.organization_id for each in tokens)
    rows = [
        [
            ids[each.id],
            each.note,
            each.role,
            _owner(each, subjects[each.subject_id]),
            _projects([projects[project] for project in each.projects.split()]),
            when(each.created_at),
            when(each.expires_at),
            when(each.revoked_at),
            organizations[each.organization_id] if len(organizations) > 1 else "",
        ]
        for each in tokens
    ]
    if rows:
        names = ["ID", "NOTE", "ROLE", "OWNER", "PROJECTS", "CREATED", "EXPIRES", "REVOKED", "ORGANIZATION"]
        table(names, rows, whole=("ID", "OWNER"))
    inform(counted(len(rows), "token"))


def _token_id(_context: click.Context, _parameter: click.Parameter, given: str) -> str:
    """Return the id in lower case, or its beginning. An error does not repeat what was given: it may be the token."""
    try:
        return str(UUID(given))
    except ValueError:
        if PREFIX.fullmatch(given.lower()):
            return given.lower()
        raise click.BadParameter("must be the id of a token, or its beginning, as `token list` shows it") from None


@token.command("revoke")
@store_option
@click.argument("token_id", metavar="ID", callback=_token_id)
def token_revoke(store: str, token_id: str) -> None:
    """Revoke the token with this id, or the beginning of it. Every service refuses it within 5 seconds."""
    from gitpod.server.operate import revoke_token

    with opened(store) as each:
        found = [stored.id for stored in each.tokens() if stored.id.startswith(token_id)]
        if len(found) > 1:
            raise fail("more than one token has an id that begins so; give more of the id", USAGE)
        if not (found and revoke_token(each, found[0])):
            raise fail("there is no token with this id", SOME_FAILED)
    inform(f"{found[0]} is revoked")
