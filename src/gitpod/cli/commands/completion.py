"""The command `completion`, and the names of secrets that shells complete."""

import atexit
import os
import sys
from contextlib import suppress
from pathlib import Path
from threading import Thread

import click

from gitpod.cli import settings
from gitpod.cli.client import make_client
from gitpod.cli.files.entries import NAME
from gitpod.cli.options import one_scope, scopes_from
from gitpod.cli.sources.setting import KEYRING

VARIABLE = "_GITPOD_SECRETS_COMPLETE"
"""The environment variable by which a shell asks click for completions."""
TIMEOUT = 1.0
"""Seconds that pressing Tab waits for names at most."""


@click.command()
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that makes a shell complete commands.

    It completes options and names of secrets, too. For bash, put `source <(gitpod-secrets completion bash)` in
    ~/.bashrc. For zsh, put the same line with zsh in ~/.zshrc, after compinit. For fish, put `gitpod-secrets
    completion fish | source` in config.fish.
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"this version of click does not support {shell}")
    click.echo(kind(context.find_root().command, {}, "gitpod-secrets", VARIABLE).source())


def complete_name(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the names in the scope that begin with a text; none, and no message, unless the service answers soon."""
    found: list[str] = []
    thread = Thread(target=_list_names, args=(context, found), daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    if thread.is_alive():
        # The interpreter can crash when it ends while a thread loads modules or calls native code.
        atexit.register(_exit)
        # An incomplete list would look like a complete one.
        return []
    return sorted(name for name in found if name.startswith(incomplete))


def _exit() -> None:
    """End the process at once, without waiting for the thread that lists names."""
    with suppress(OSError):  # the shell no longer reads
        sys.stdout.flush()
    os._exit(0)


def _list_names(context: click.Context, found: list[str]) -> None:
    # Errors are not shown: they would break the line that is being typed, and the command itself will report them.
    try:
        with context.scope(cleanup=False):  # the profile is in the context, and each thread has its own
            chosen = settings.load()
            scopes = scopes_from(context.params)
        # A keyring could ask the user for its password.
        if not scopes or ("api_key" in chosen and chosen["api_key"].source == KEYRING):
            return
        scope = one_scope(scopes)
        if not _may_open(chosen["base_url"].value):
            return
        with make_client(chosen, timeout=TIMEOUT, max_retries=0) as client:
            secrets = client.secrets.list(filter={"scope": scope}, page_size=100)
            # The shell inserts what it gets into the line, so a faulty service must not send anything but names.
            found += [secret.name for secret in secrets if NAME.fullmatch(secret.name)]
    except Exception:  # noqa: BLE001 # no error is shown
        found.clear()


def _may_open(url: str) -> bool:
    """Tell whether opening this URL neither creates a store nor runs a command for its key, which could prompt."""
    if not url.startswith(("sqlite:", "postgresql:")):
        return True
    exists = not url.startswith("sqlite:") or Path(url.removeprefix("sqlite:///")).is_file()
    return exists and not os.environ.get("GITPOD_SECRETS_KEY", "").startswith("command:")
