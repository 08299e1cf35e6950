"""The commands for a whole store: `migrate` and `audit`."""

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

import click

from gitpod.cli.expiry import TIMES, moment
from gitpod.cli.options import ID, json_option, store_option
from gitpod.cli.output import inform, is_terminal, records, table
from gitpod.cli.store import opened, principal_name, time_text, when

if TYPE_CHECKING:
    from gitpod.server.storage.rows import AuditRecord, StoredToken

WHO = ["at", "principal", "subject_id"]
WHAT = ["action", "secret_id", "scope_kind", "scope_id", "outcome", "count", "request_id", "token_id"]
WHERE = ["organization_id"]
ADDED = ["token_note", "token_expires_at"]
REFUSED = {
    "ok": "",
    "permission_denied": "denied",
    "not_found": "not found",
    "already_exists": "exists",
    "data_loss": "altered",
}
"""Why a call was refused, for people."""


@click.command()
@store_option
def migrate(store: str) -> None:
    """Bring the schema of a store to this version. A service does the same when it starts."""
    from gitpod.server import operate

    with opened(store, may_be_new=True) as each:
        operate.migrate(each)
    inform("the schema is current")


@click.command(short_help="Show who changed or read which secret.")
@store_option
@click.option("--secret", type=ID, help="Only records of this secret.")
@click.option(
    "--since",
    type=click.DateTime(TIMES),
    metavar="TIME",
    help="Only records from this time on, by the service's clock then: 2026-01-31, or 2026-01-31T12:00:00, in UTC or "
    "with an offset.",
)
@click.option(
    "--limit",
    default=100,
    show_default=True,
    type=click.IntRange(1, 1_000_000),
    help="The most records to show: those that were stored last.",
)
@json_option()
def audit(store: str, secret: UUID | None, since: datetime | None, limit: int, *, as_json: bool) -> None:
    """Show who changed or read which secret, in the order in which it was stored.

    There is a record of every change and of every value that was read. Refused calls of the same token, RPC, reason
    and minute are one record with their count, and the first of them gives the other columns.
    """
    with opened(store) as each:
        found = each.audit(secret_id=str(secret) if secret else None, since=moment(since) if since else 0, limit=limit)
        tokens = {stored.id: stored for stored in each.tokens()}
    if is_terminal() and not as_json:
        _show(found, tokens, limit)
        return
    rows = [asdict(record) for record in found]
    for row, record in zip(rows, found, strict=True):
        row["at"] = time_text(record.at)
        row["principal"] = principal_name(record.principal) if record.subject_id else "operator"
        token = tokens.get(_token_id(record))
        row["token_note"] = token.note if token else ""
        row["token_expires_at"] = time_text(token.expires_at) if token and token.expires_at else ""
    records([*WHO, *WHAT, *WHERE, *ADDED], rows, as_json=as_json)


def _token_id(record: "AuditRecord") -> str:
    """Return the id of the caller's token, or of the token that an operator made or revoked."""
    return record.scope_id if record.scope_kind == "token" else record.token_id


def _show(found: "list[AuditRecord]", tokens: "dict[str, StoredToken]", limit: int) -> None:
    """Print a table for people."""
    from gitpod.cli.columns import counted, shortened  # loads a part of rich, and only for terminals

    subjects = shortened(each.subject_id for each in found)
    secrets = shortened(each.secret_id for each in found)
    scopes = shortened(each.scope_id for each in found)
    # As `token list` shows them, which has every token.
    token_ids = shortened({*tokens, *map(_token_id, found)})
    organizations = shortened(each.organization_id for each in found)
    rows: list[list[str]] = []
    for each in found:
        token = tokens.get(_token_id(each))
        scope = "" if each.scope_kind == "token" else f"{each.scope_kind.removesuffix('_id')} {scopes[each.scope_id]}"
        rows.append(
            [
                when(each.at).removesuffix(" ago"),
                _who(each, subjects[each.subject_id]),
                each.action,
                secrets[each.secret_id],
                scope.replace("_", "-").strip(),
                REFUSED.get(each.outcome, each.outcome) + (f" x{each.count}" if each.count > 1 else ""),
                (token.note if token else "") or token_ids[_token_id(each)],
                organizations[each.organization_id] if len(organizations) > 1 else "",
            ]
        )
    if rows:
        names = ["AGE", "WHO", "ACTION", "SECRET", "SCOPE", "REFUSED", "TOKEN", "ORGANIZATION"]
        table(names, rows, whole=("ACTION", "SCOPE", "REFUSED"))
    inform(counted(len(rows), "record") + ("; --limit shows more" if len(rows) == limit else ""))


def _who(record: "AuditRecord", subject: str) -> str:
    """Return the subject, after its kind unless it is a user."""
    kind = principal_name(record.principal).replace("_", "-")
    return (subject if kind == "user" else f"{kind} {subject}") if subject else "operator"
