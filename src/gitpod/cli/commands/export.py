"""The command `export`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gitpod.cli.client import connected, listed
from gitpod.cli.failures import SOME_FAILED, USAGE, Failure, fail
from gitpod.cli.files.replacement import replace, target_of
from gitpod.cli.options import Scope, need_scope, one_scope, scope_options
from gitpod.cli.output import hint, inform, note, warn

if TYPE_CHECKING:
    from gitpod import Gitpod
    from gitpod.cli.files.entries import Entry
    from gitpod.types import Secret


@click.command()
@scope_options
@click.option(
    "--format",
    "format_",
    default="dotenv",
    show_default=True,
    type=click.Choice(["dotenv", "json"]),
    help="dotenv, for shells and import, or JSON.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to this file, which only you can read.",
)
@click.option("--reveal", is_flag=True, help="Print the values even to a terminal.")
def export(scopes: list[Scope], format_: str, output: Path | None, *, reveal: bool) -> None:
    """Print secrets with their values: all of them, or none.

    Takes one or more scopes. If several scopes have a secret of the same name, the user's or service account's is
    printed, else the project's, else the organization's. A secret that no shell can have as a variable, such as
    one whose name begins with a digit, is a comment in dotenv, which import reads.
    """
    if output is None and sys.stdout.isatty() and not reveal:
        raise fail("the values would be shown on the terminal", USAGE, "add --reveal, or --output FILE, or use a pipe")
    need_scope(scopes)
    target = target_of(output) if output else None
    with connected() as client:
        # A later scope counts more, and replaces the secrets of the same name.
        secrets = {secret.name: secret for scope in scopes for secret in listed(client, one_scope([scope]))}
        entries = _entries(client, [secrets[name] for name in sorted(secrets)])
    text = _formatted(entries, format_)
    if target:
        try:
            replace(target, text)
        except OSError as error:
            raise fail(f"--output: {error.strerror}", USAGE) from None
        inform(f"wrote {len(entries)} to {output}")
        return
    sys.stdout.buffer.write(text)
    sys.stdout.flush()


def _entries(client: "Gitpod", secrets: "list[Secret]") -> "list[Entry]":
    """Read the values. Ends the process when one cannot be read: an incomplete file would look like a complete one."""
    from gitpod.cli.bulk import MAX_RETRIES, exit_status, read_values
    from gitpod.cli.files.entries import Entry
    from gitpod.cli.plan import mount_of

    entries: list[Entry] = []
    failures: list[Failure] = []
    patient = client.with_options(max_retries=MAX_RETRIES)
    values = read_values(patient, [secret.id for secret in secrets])
    for number, (secret, value) in enumerate(zip(secrets, values, strict=True), 1):
        mount = mount_of(secret)
        read = value if mount else Failure("has a mount that this version does not know", SOME_FAILED)
        if isinstance(read, Failure):
            note("error", f"{secret.name}: {read.message}")
            failures.append(read)
            continue
        if secret.credential_proxy:
            warn(f"{secret.name}: its credential proxy is not exported")
        entries.append(Entry(number, secret.name, read, mount))
    if failures:
        hint("nothing is written, as it would not be complete")
        raise SystemExit(exit_status([failure.status for failure in failures] + [0] * len(entries)))
    return entries


def _formatted(entries: "list[Entry]", format_: str) -> bytes:
    from gitpod.cli.files import dotenv, json_file

    if format_ == "json":
        return json_file.dump(entries).encode()
    for entry in entries:
        if not dotenv.is_for_shells(entry):
            warn(f"{entry.name}: no shell can have it as a variable; it is a comment, which import reads")
    return dotenv.dump(entries).encode()
