"""The commands for a whole store: `migrate` and `audit`."""

from dataclasses import asdict
from datetime import UTC, datetime
from uuid import UUID

import click

from gitpod.cli.options import ID, json_option, store_option
from gitpod.cli.output import inform, records
from gitpod.cli.store import opened, principal_name, time_text

TIMES = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z")
WHO = ["at", "principal", "subject_id"]
WHAT = ["action", "secret_id", "scope_kind", "scope_id", "outcome", "count", "request_id", "token_id"]
WHERE = ["organization_id"]


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
    start = int((since if since.tzinfo else since.replace(tzinfo=UTC)).timestamp() * 1_000_000) if since else 0
    with opened(store) as each:
        found = each.audit(secret_id=str(secret) if secret else None, since=start, limit=limit)
    rows = [asdict(record) for record in found]
    for row in rows:
        row["at"] = time_text(row["at"])
        row["principal"] = principal_name(row["principal"]) if row["subject_id"] else "operator"
    records([*WHO, *WHAT, *WHERE], rows, as_json=as_json)
