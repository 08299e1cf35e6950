"""The commands for keys: `keys rotate`, `keys reencrypt` and `keys rewrap`."""

import math
import sys

import click

from gitpod.cli.failures import SOME_FAILED
from gitpod.cli.options import key_option, store_option
from gitpod.cli.output import inform, note
from gitpod.cli.store import opened


@click.group()
def keys() -> None:
    """The keys that values are encrypted with."""


@keys.command("rotate")
@store_option
@key_option
def keys_rotate(store: str, key: str | None) -> None:
    """Add a data key. New values are encrypted with it within seconds; `keys reencrypt` moves the others."""
    from gitpod.server.operate import rotate

    with opened(store) as each:
        count = rotate(each, key)
    inform(f"organizations with a new data key: {count}")


@keys.command("reencrypt", short_help="Encrypt every value with the newest data key.")
@store_option
@key_option
def keys_reencrypt(store: str, key: str | None) -> None:
    """Encrypt every value with the newest data key, while the service runs. If stopped, it can be run again."""
    from gitpod.server.operate import Reencryption

    with opened(store) as each:
        work = Reencryption(each, key)
        if pause := math.ceil(work.pause()):
            inform(f"waiting {pause} s, until every service seals with the newest data key")
        with click.progressbar(length=work.remaining(), label="values", file=sys.stderr) as bar:
            work.run(bar.update)
        inform("every value that can be decrypted is encrypted with the newest data key")
    for secret_id in sorted(work.unreadable):
        note("error", f"{secret_id}: its value was altered, and is left as it is")
    if work.unreadable:
        raise SystemExit(SOME_FAILED)


@keys.command("rewrap")
@store_option
@key_option
@click.option("--to", "new", required=True, metavar="KEY", help="The new key; a file that does not exist is created.")
def keys_rewrap(store: str, key: str | None, new: str) -> None:
    """Wrap the data keys with another key-encryption key. Start every service with it afterwards."""
    from gitpod.server.operate import rewrap

    with opened(store) as each:
        count = rewrap(each, key, new)
    inform(f"data keys wrapped anew: {count}; from now on, use --key {new}")
