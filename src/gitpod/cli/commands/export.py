"""The command `export`."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gitpod.cli import destination
from gitpod.cli.client import by_name, connected
from gitpod.cli.destination import output_options
from gitpod.cli.failures import SOME_FAILED, USAGE, Failure, fail
from gitpod.cli.files.replacement import target_of
from gitpod.cli.options import Scope, need_scope, scope_options
from gitpod.cli.output import hint, inform, note, warn

if TYPE_CHECKING:
    from gitpod import Gitpod
    from gitpod.cli.files.entries import Entry
    from gitpod.types import Secret

MOST_NAMED = 10
"""Secrets that a message names."""
NAME_OF_SECRET = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
"""The rule of Kubernetes, which is that of a DNS subdomain."""


@click.command()
@scope_options
@click.option(
    "--format",
    "format_",
    default="dotenv",
    show_default=True,
    type=click.Choice(["dotenv", "json", "docker", "github", "k8s", "shell", "yaml"]),
    help="See above.",
)
@click.option("--name", default="", help="The name of the Secret of k8s. Default: gitpod-secrets.")
@output_options
def export(scopes: list[Scope], format_: str, name: str, output: Path | None, *, reveal: bool) -> None:
    """Print secrets with their values: all of them, or none.

    Takes one or more scopes. If several scopes have a secret of the same name, the user's or service account's is
    printed, else the project's, else the organization's.

    \b
      dotenv  for shells and import, with mounts as comments
      json    for import, with mounts
      docker  for docker run --env-file
      github  appended to GITHUB_ENV; prints masks for the log
      k8s     a Secret, for kubectl apply
      shell   lines of export NAME='value', for eval or source
      yaml    names and values

    All formats but dotenv and json have only the secrets that are environment variables, and name those that they
    leave out. If a format cannot say a value or name, nothing is written. A secret that no shell can have as a
    variable, such as one whose name begins with a digit, is a comment in dotenv, which import reads.
    """  # noqa: D301 # click takes the character \b, and leaves the lines after it alone
    destination.check(output, reveal=reveal)
    need_scope(scopes)
    _check_name(name, format_)
    target = target_of(output) if output else None
    job = _job_file(output) if format_ == "github" else None
    with connected() as client:
        secrets = by_name(client, scopes)
        entries = _entries(client, _sayable([secrets[each] for each in sorted(secrets)], format_))
    text = _formatted(entries, format_, name or "gitpod-secrets")
    destination.write(output, target, text, len(entries))
    if job:
        # After the masks: from then on, the log of the job shows none of the values.
        _append(job, entries)


def _append(job: Path, entries: "list[Entry]") -> None:
    from gitpod.cli.files import github

    try:
        github.append(job, entries)
    except OSError as error:
        raise fail(f"GITHUB_ENV: {error.strerror}", USAGE) from None
    inform(f"wrote {len(entries)} to GITHUB_ENV")


def _check_name(name: str, format_: str) -> None:
    if name and format_ != "k8s":
        raise click.UsageError("--name: only with --format k8s")
    if name and not NAME_OF_SECRET.fullmatch(name):
        raise click.UsageError("--name: must be at most 253 lowercase letters, digits, - and ., as Kubernetes asks")


def _job_file(output: Path | None) -> Path:
    """Return the file for variables of a job of GitHub Actions."""
    if output:
        raise click.UsageError("--output: not with --format github, which writes to the file that GITHUB_ENV names")
    file = os.environ.get("GITHUB_ENV")
    if not file:
        raise click.UsageError("GITHUB_ENV: is not set; --format github is for jobs of GitHub Actions")
    if not Path(file).is_file():
        raise click.UsageError("GITHUB_ENV: there is no such file")
    return Path(file)


def _sayable(secrets: "list[Secret]", format_: str) -> "list[Secret]":
    """Return the secrets that the format has, and name the others."""
    from gitpod.cli.files.formats import VARIABLES_ONLY

    if format_ not in VARIABLES_ONLY:
        return secrets
    if others := [secret.name for secret in secrets if not secret.environment_variable]:
        more = f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
        inform(f"left out, as environments do not get them as variables: {', '.join(others[:MOST_NAMED])}{more}")
    return [secret for secret in secrets if secret.environment_variable]


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


def _formatted(entries: "list[Entry]", format_: str, name: str) -> bytes:
    """Return what to print. Ends the process when the format cannot say all of it."""
    from gitpod.cli.files import dotenv, formats, github, json_file, shells

    if found := [*formats.problems(entries, format_)]:
        for each in found:
            note("error", each)
        hint("nothing is written, as it would not be complete; the formats dotenv and json can say everything")
        raise SystemExit(SOME_FAILED)
    if format_ == "github":
        return github.masks(entries).encode()
    if format_ == "json":
        return json_file.dump(entries).encode()
    if format_ != "dotenv":
        return formats.dump(entries, format_, name).encode()
    for entry in entries:
        if not shells.is_for_shells(entry):
            warn(f"{entry.name}: no shell can have it as a variable; it is a comment, which import reads")
    return dotenv.dump(entries).encode()
