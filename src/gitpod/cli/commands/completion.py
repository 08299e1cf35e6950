"""Completion by the shell: the command that prints its script, and the names of secrets."""

import os
import re
from pathlib import Path
from threading import Thread
from typing import Any

import click

from gitpod.cli import settings
from gitpod.cli.shared import given_scopes, one_scope

VARIABLE = "_GITPOD_SECRETS_COMPLETE"
"""By which click is told to complete."""
PATIENCE = 1.0
"""Seconds that somebody who pressed Tab waits for names at most."""
NAME = re.compile("[0-9A-Za-z_]{3,127}")
"""What a shell is given to insert; nothing else is a name, whatever a service says."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script by which a shell completes commands, options and names of secrets.

    For bash, put `source <(gitpod-secrets completion bash)` in ~/.bashrc; for zsh, the same with zsh in
    ~/.zshrc, after compinit; for fish, `gitpod-secrets completion fish | source` in its config.fish.
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"this version of click does not know {shell}")
    click.echo(kind(context.find_root().command, {}, "gitpod-secrets", VARIABLE).source())


def names(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The names in the scope that begin so; none, and not a word, if the service does not give them at once."""
    found: list[str] = []
    asking = Thread(target=_ask, args=(context.params, found), daemon=True)
    asking.start()
    asking.join(PATIENCE)
    # Some of the names would look like all of them.
    return [] if asking.is_alive() else sorted(name for name in found if name.startswith(incomplete))


def _ask(params: dict[str, Any], found: list[str]) -> None:
    # Whatever is the matter, the command that is being typed will say it.
    try:
        chosen = {name: setting.value for name, setting in settings.settings().items()}
        url = chosen.get("base_url", "")
        scope = one_scope(given_scopes(params))
        if not _may_ask(url):
            return
        from gitpod import Gitpod  # which loads the HTTP stack

        options: dict[str, Any] = {"ca_cert": chosen["ca_cert"]} if "ca_cert" in chosen else {}
        token = chosen.get("api_key")
        with Gitpod(bearer_token=token, base_url=url or None, timeout=PATIENCE, max_retries=0, **options) as client:
            listed = client.secrets.list(filter={"scope": scope}, page_size=100)
            found += [secret.name for secret in listed if NAME.fullmatch(secret.name)]
    except Exception:  # noqa: BLE001 # of any kind: there is nobody to tell
        found.clear()


def _may_ask(url: str) -> bool:
    """Whether to ask there neither makes a store nor runs a command for its key, which might prompt."""
    if not url.startswith(("sqlite:", "postgresql:")):
        return True
    exists = not url.startswith("sqlite:") or Path(url.removeprefix("sqlite:///")).is_file()
    return exists and not os.environ.get("GITPOD_SECRETS_KEY", "").startswith("command:")
