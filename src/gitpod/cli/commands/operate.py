"""The commands for those who operate a store: tokens, keys, migrations and the audit records."""

import json
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import click

from gitpod.cli.failures import SOME_FAILED, fail, failures, note, plain
from gitpod.cli.shared import key_option, store_option

if TYPE_CHECKING:
    from gitpod.server.storage.store import Store

TIMES = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z")
PRINCIPALS = ("user", "environment", "service-account", "runner", "account", "runner-manager")


@contextmanager
def opened(url: str, *, may_be_new: bool = False) -> Generator["Store"]:
    """A store for the length of a command."""
    from gitpod.server.errors import ServiceError
    from gitpod.server.storage.database import sqlite_path  # the server's stack, which other commands do without
    from gitpod.server.storage.store import Store

    with failures():
        if url.startswith("sqlite:"):
            path = sqlite_path(url)
            if path is None:
                raise ServiceError("a store in memory is gone with the command")
            if not (may_be_new or path.exists()):
                raise ServiceError(f"there is no store at {path}")
        store = Store(url)
        try:
            yield store
        finally:
            store.close()


def existing(store: "Store") -> "Store":
    """The store, if it is one that this version works with."""
    from gitpod.server.errors import ServiceError  # as above
    from gitpod.server.storage.migrations.run import check_known

    if not store.is_current:
        check_known(store.revision())
        raise ServiceError("the store is new, or its schema is not current; run gitpod-secrets migrate")
    return store


@click.group()
def token() -> None:
    """Bearer tokens: who may call the service, and what they may do."""


@token.command("create")
@store_option
@key_option
@click.option("--role", required=True, type=click.Choice(["admin", "member", "environment"]), help="What it may do.")
@click.option("--subject", type=click.UUID, help="The id of whoever it is for. Default: a new one.")
@click.option("--principal", type=click.Choice(PRINCIPALS), help="What they are. Default: user, or environment.")
@click.option("--project", "projects", multiple=True, type=click.UUID, help="A project that it reaches; repeatable.")
@click.option("--organization", type=click.UUID, help="Default: the store's own.")
def token_create(  # one for each option
    store: str,
    key: str | None,
    role: str,
    subject: UUID | None,
    principal: str | None,
    projects: tuple[UUID, ...],
    organization: UUID | None,
) -> None:
    """Make a token and print it. It cannot be shown again: the store keeps its SHA-256 alone."""
    from gitpod.server.auth import Role
    from gitpod.server.errors import ServiceError
    from gitpod.server.operate import create_token, revoke_token
    from gitpod_proto.gitpod.v1.identity_pb import Principal, Subject

    if role == "admin" and projects:
        raise click.UsageError("--project: an admin reaches every project")
    if role == "environment" and not projects:
        raise click.UsageError("--project: an environment reads those of its projects, so it needs one")
    kind = principal or ("environment" if role == "environment" else "user")
    who = Subject(id=str(subject or uuid4()), principal=Principal[kind.replace("-", "_").upper()])
    given, tenant = frozenset(map(str, projects)), str(organization) if organization else None
    with opened(store, may_be_new=True) as each:
        text, stored = create_token(each, key, who, Role(role), given, tenant)
        try:
            click.echo(text)
            sys.stdout.flush()
        except OSError:
            # Nobody has it, so nobody shall use it.
            revoke_token(each, stored.id)
            raise ServiceError("the token could not be printed, and is revoked") from None
    click.echo(f"gitpod-secrets: token {stored.id} for {kind} {who.id}; it is shown this once", err=True)


@token.command("list")
@store_option
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each.")
def token_list(store: str, *, as_json: bool) -> None:
    """List the tokens: whose they are, and since when."""
    with opened(store) as each:
        rows = [asdict(stored) for stored in existing(each).tokens()]
    for row in rows:
        del row["digest"]
        row["principal"] = _principal(row["principal"])
        row["projects"] = row["projects"].replace(" ", ",")
        row["created_at"] = _time(row["created_at"])
        row["revoked_at"] = _time(row["revoked_at"]) if row["revoked_at"] else ""
    who, when = ["id", "role", "principal", "subject_id", "projects"], ["created_at", "revoked_at"]
    _show(rows, [*who, *when, "organization_id"], as_json=as_json)


def _id_of_a_token(_context: click.Context, _parameter: click.Parameter, given: str) -> str:
    """The id, in lower case. What was given is not repeated: it may be the token itself."""
    try:
        return str(UUID(given))
    except ValueError:
        raise click.BadParameter("must be the id of a token, which `token list` shows") from None


@token.command("revoke")
@store_option
@click.argument("token_id", callback=_id_of_a_token)
def token_revoke(store: str, token_id: str) -> None:
    """Revoke the token with this id. Every service refuses it within 5 seconds."""
    from gitpod.server.operate import revoke_token

    with opened(store) as each:
        if not revoke_token(existing(each), token_id):
            raise fail("there is no token with this id", SOME_FAILED)
    click.echo(f"gitpod-secrets: {token_id} is revoked", err=True)


@click.group()
def keys() -> None:
    """The keys that values are sealed by."""


@keys.command("rotate")
@store_option
@key_option
def keys_rotate(store: str, key: str | None) -> None:
    """Add a data key. New values are sealed by it within seconds; `keys reencrypt` moves the others."""
    from gitpod.server.operate import rotate

    with opened(store) as each:
        count = rotate(existing(each), key)
    click.echo(f"gitpod-secrets: organizations with a new data key: {count}", err=True)


@keys.command("reencrypt")
@store_option
@key_option
def keys_reencrypt(store: str, key: str | None) -> None:
    """Move every value to the newest data key, while the service goes on. Stopped, it can be run again."""
    from gitpod.server.operate import Reencryption

    with opened(store) as each:
        work = Reencryption(existing(each), key)
        with click.progressbar(length=work.remaining(), label="values", file=sys.stderr) as bar:
            work.run(bar.update)
        click.echo("gitpod-secrets: every value that opens is sealed by the newest data key", err=True)
    for secret_id in sorted(work.unreadable):
        note("error", f"{secret_id}: its value was altered, and is left as it is")
    if work.unreadable:
        raise SystemExit(SOME_FAILED)


@keys.command("rewrap")
@store_option
@key_option
@click.option("--to", "new", required=True, metavar="KEY", help="The new one; a file that is missing is made.")
def keys_rewrap(store: str, key: str | None, new: str) -> None:
    """Wrap the data keys by another key-encryption key. Start every service with it afterwards."""
    from gitpod.server.operate import rewrap

    with opened(store) as each:
        count = rewrap(existing(each), key, new)
    click.echo(f"gitpod-secrets: data keys wrapped anew: {count}; from now on, use --key {new}", err=True)


@click.command()
@store_option
def migrate(store: str) -> None:
    """Bring the schema of a store to this version. A service does the same when it starts."""
    from gitpod.server import operate

    with opened(store, may_be_new=True) as each:
        operate.migrate(each)
    click.echo("gitpod-secrets: the schema is current", err=True)


@click.command()
@store_option
@click.option("--secret", type=click.UUID, help="Of this secret alone.")
@click.option("--since", type=click.DateTime(TIMES), help="From this time on, in UTC unless it says otherwise.")
@click.option(
    "--limit", default=100, show_default=True, type=click.IntRange(1, 1_000_000), help="At most so many, the newest."
)
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each.")
def audit(store: str, secret: UUID | None, since: datetime | None, limit: int, *, as_json: bool) -> None:
    """Show who changed or read what: every mutation, every value that was read, and what was refused."""
    start = int((since if since.tzinfo else since.replace(tzinfo=UTC)).timestamp() * 1_000_000) if since else 0
    with opened(store) as each:
        records = existing(each).audit(secret_id=str(secret) if secret else None, since=start, limit=limit)
    rows = [asdict(record) for record in records]
    for row in rows:
        row["at"] = _time(row["at"])
        row["principal"] = _principal(row["principal"]) if row["subject_id"] else "operator"
    who, what = ["at", "principal", "subject_id"], ["action", "secret_id", "scope_kind", "scope_id", "outcome"]
    _show(rows, [*who, *what, "request_id", "organization_id"], as_json=as_json)


def _principal(number: int) -> str:
    from gitpod_proto.gitpod.v1.identity_pb import Principal  # which loads the messages

    return Principal(number).name.lower() if number in list(Principal) else str(number)


def _time(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC).isoformat(timespec="milliseconds")


def _show(rows: list[dict[str, object]], names: list[str], *, as_json: bool) -> None:
    """Print rows: as JSON, or separated by tabs under their names."""
    if not as_json:
        click.echo("\t".join(names))
    for row in rows:
        kept = {name: row[name] for name in names}
        click.echo(json.dumps(kept) if as_json else "\t".join(plain(str(value)) or "-" for value in kept.values()))
