"""The commands for bearer tokens: `token create`, `token list` and `token revoke`."""

import sys
from dataclasses import asdict
from uuid import UUID, uuid4

import click

from gitpod.cli.failures import SOME_FAILED, USAGE, fail
from gitpod.cli.options import ID, json_option, key_option, store_option
from gitpod.cli.output import inform, records
from gitpod.cli.store import opened, principal_name, time_text

PRINCIPALS = ("user", "environment", "service-account", "runner", "account", "runner-manager")
COLUMNS = ["id", "role", "principal", "subject_id", "projects", "created_at", "revoked_at", "organization_id"]


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
def token_create(  # one parameter for each option
    store: str,
    key: str | None,
    role: str,
    subject: UUID | None,
    principal: str | None,
    projects: tuple[UUID, ...],
    organization: UUID | None,
) -> None:
    """Make a token and print it. It cannot be shown again, as the store keeps only its SHA-256."""
    from gitpod.server import operate
    from gitpod.server.caller import Role
    from gitpod_proto.gitpod.v1.identity_pb import Principal, Subject

    if role == "admin" and projects:
        raise click.UsageError("--project: an admin reaches every project")
    if role == "environment" and not projects:
        raise click.UsageError("--project: an environment reads the secrets of its projects, so it needs one")
    kind = principal or ("environment" if role == "environment" else "user")
    owner = Subject(id=str(subject or uuid4()), principal=Principal[kind.replace("-", "_").upper()])
    tenant = str(organization) if organization else None
    with opened(store, may_be_new=True) as each:
        text, stored = operate.create_token(each, key, owner, Role(role), frozenset(map(str, projects)), tenant)
        try:
            click.echo(text)
            sys.stdout.flush()
        except OSError:
            # Nobody received the token, so nobody may use it.
            operate.revoke_token(each, stored.id)
            raise fail("the token could not be printed, and is revoked", USAGE) from None
    inform(f"token {stored.id} for {kind} {owner.id}; it is shown this once")


@token.command("list")
@store_option
@json_option()
def token_list(store: str, *, as_json: bool) -> None:
    """List the tokens: their owners, what they may do, and since when."""
    with opened(store) as each:
        rows = [asdict(stored) for stored in each.tokens()]
    for row in rows:
        row["principal"] = principal_name(row["principal"])
        row["projects"] = row["projects"].replace(" ", ",")
        row["created_at"] = time_text(row["created_at"])
        row["revoked_at"] = time_text(row["revoked_at"]) if row["revoked_at"] else ""
    records(COLUMNS, rows, as_json=as_json)


def _token_id(_context: click.Context, _parameter: click.Parameter, given: str) -> str:
    """Return the id in lower case. An error does not repeat what was given: it may be the token itself."""
    try:
        return str(UUID(given))
    except ValueError:
        raise click.BadParameter("must be the id of a token, which `token list` shows") from None


@token.command("revoke")
@store_option
@click.argument("token_id", callback=_token_id)
def token_revoke(store: str, token_id: str) -> None:
    """Revoke the token with this id. Every service refuses it within 5 seconds."""
    from gitpod.server.operate import revoke_token

    with opened(store) as each:
        if not revoke_token(each, token_id):
            raise fail("there is no token with this id", SOME_FAILED)
    inform(f"{token_id} is revoked")
