"""The command `export`: the secrets of scopes with their values, for a shell, another program or `import`."""

import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gitpod.cli.failures import SOME_FAILED, USAGE, fail, note
from gitpod.cli.shared import STRENGTH, connected, hint, listed, one_scope, scope_options, warn

if TYPE_CHECKING:
    from gitpod import Gitpod
    from gitpod.cli.files.entries import Entry
    from gitpod.types import Secret


@click.command()
@scope_options
@click.option(
    "--format",
    "kind",
    default="dotenv",
    show_default=True,
    type=click.Choice(["dotenv", "json"]),
    help="dotenv, for shells and import, or JSON.",
)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write this file, 0600."
)
@click.option("--reveal", is_flag=True, help="Print the values to a terminal too.")
def export(scopes: list[tuple[str, str]], kind: str, output: Path | None, *, reveal: bool) -> None:
    """Print the secrets of one or more scopes, with their values: all of them, or none.

    Of several secrets of one name the user's or service account's counts, then the project's, then the
    organization's. What no shell can have as a variable, such as a name that begins with a digit, is a comment in
    dotenv, which import reads.
    """
    if output is None and sys.stdout.isatty() and not reveal:
        raise fail("the values would be shown on the terminal", USAGE, "add --reveal, or --output FILE, or use a pipe")
    if not scopes:
        one_scope(scopes)  # says so
    target = _target(output) if output else None
    with connected() as client:
        entries = _entries(client, _secrets(client, scopes))
    text = _text(entries, kind)
    if target:
        _write(target, text)
        click.echo(f"gitpod-secrets: wrote {len(entries)} to {output}", err=True)
        return
    sys.stdout.buffer.write(text)
    sys.stdout.flush()


def _secrets(client: "Gitpod", scopes: Iterable[tuple[str, str]]) -> "list[Secret]":
    """The secrets of the scopes, sorted by name, one of each."""
    found: dict[str, Secret] = {}
    for scope in sorted(scopes, key=lambda scope: STRENGTH.index(scope[0])):
        for secret in listed(client, one_scope([scope])):
            found[secret.name] = secret
    return [found[name] for name in sorted(found)]


def _entries(client: "Gitpod", secrets: "list[Secret]") -> "list[Entry]":
    """The secrets with their values. Ends the process when one cannot be had: half of them would pass for all."""
    from gitpod.cli.apply import Unread, exit_status, read_values
    from gitpod.cli.files.entries import Entry
    from gitpod.cli.plan import mount_of

    entries: list[Entry] = []
    statuses: list[int] = []
    values = read_values(client, [secret.id for secret in secrets])
    for number, (secret, value) in enumerate(zip(secrets, values, strict=True), 1):
        mount = mount_of(secret)
        if isinstance(value, Unread) or not mount:
            error = value.error if isinstance(value, Unread) else "has a mount that this version does not know"
            note("error", f"{secret.name}: {error}")
            statuses.append(value.status if isinstance(value, Unread) else SOME_FAILED)
            continue
        if secret.credential_proxy:
            warn(f"{secret.name}: its credential proxy is not exported")
        statuses.append(0)
        entries.append(Entry(number, secret.name, value, mount))
    if status := exit_status(statuses):
        hint("nothing is written, as it would not be all")
        raise SystemExit(status)
    return entries


def _text(entries: "list[Entry]", kind: str) -> bytes:
    from gitpod.cli.files import dotenv, json_file

    if kind == "json":
        return json_file.dump(entries).encode()
    for entry in entries:
        if not dotenv.is_for_shells(entry):
            warn(f"{entry.name}: no shell can have it; it is written as a comment, which import reads")
    return dotenv.dump(entries).encode()


def _target(output: Path) -> Path:
    """The file itself, where it is named by a link. Nothing else is replaced by a file."""
    target = Path(os.path.realpath(output))
    try:
        if not stat.S_ISREG(target.stat().st_mode):
            raise click.UsageError("--output: is not a regular file")
    except FileNotFoundError:
        if not target.parent.exists():
            raise click.UsageError("--output: there is no such folder") from None
    except OSError as error:
        raise click.UsageError(f"--output: {error.strerror}") from None
    return target


def _write(target: Path, data: bytes) -> None:
    """Write the file whole or not at all, readable by its owner alone."""
    import tempfile

    temporary = None
    try:
        # Made with mode 0600.
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(target)
        temporary = None
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise fail(f"--output: {error.strerror}", USAGE) from None
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)
