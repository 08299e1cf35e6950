"""The commands, parsed by click. Each is a few lines over the package."""

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import click

from gitpod._version import __version__
from gitpod.cli import settings
from gitpod.cli.commands import completion, export, import_, operate, run, secrets
from gitpod.cli.failures import failures
from gitpod.cli.shared import hint, key_option, store_option, table

File = click.Path(dir_okay=False, path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gitpod-secrets")
@click.option("--debug", is_flag=True, help="Show where an error comes from; it must come first.")
def cli(*, debug: bool) -> None:  # `_failures` looks for it, also where click did not get as far
    """Store secrets with gitpod.v1.SecretService: the hosted service, your own, or one embedded in a file."""


@cli.command()
@store_option
@key_option
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--grpc-port", type=click.IntRange(0, 65535), help="The port for gRPC; 0 takes a free one.")
@click.option("--tls-cert", type=File, help="The PEM file of the service's certificate.")
@click.option("--tls-key", type=File, help="The PEM file of its key.")
@click.option("--tls-client-ca", type=File, help="The PEM file of the authority that callers' certificates are from.")
@click.option("--allow-origin", multiple=True, metavar="ORIGIN", help="Web pages that may call, as https://host.")
def serve(host: str, allow_origin: tuple[str, ...], **options: Any) -> None:  # noqa: ANN401 # as click has them
    """Serve the store over Connect, gRPC-Web and gRPC, to callers with a token.

    Tokens are made by `token create`; the one in GITPOD_API_KEY, if it is set, may do everything. For a
    store that has no token, one is made up for this run and printed.
    """
    # The server's stack, which no other command needs.
    from gitpod.server.serving.serve import Settings, run

    token = os.environ.get("GITPOD_API_KEY") or None
    served = Settings(host=host, origins=allow_origin, token=token, **options)
    if host not in ("127.0.0.1", "::1", "localhost") and served.tls_cert is None:
        hint("HTTP shows the token and every value to the network; put TLS in front, or use --tls-cert")
    with failures():
        run(served, announce=partial(_announce, has_own=token is not None))


def _announce(url: str, grpc_port: int | None, made_up: str | None, *, has_own: bool) -> None:
    """Print what a shell needs to reach the service; a token that the caller brought is not repeated."""
    click.echo(f"export GITPOD_BASE_URL={url}")
    if made_up:
        click.echo(f"export GITPOD_API_KEY={made_up}")
    elif has_own:
        click.echo("# the token is the one in GITPOD_API_KEY")
    if grpc_port is not None:
        click.echo(f"# gRPC has port {grpc_port}")
    click.echo("gitpod-secrets: serving; stop with Ctrl-C", err=True)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each.")
def config(*, as_json: bool) -> None:
    """Show which settings are in effect, and where each came from. A token is masked."""
    from gitpod._endpoint import DEFAULT_BASE_URL  # which loads more of the package

    found = settings.settings()
    hosted = settings.Setting("base_url", DEFAULT_BASE_URL, "default")
    rows = [[each.name, each.shown, each.source] for each in ({"base_url": hosted} | found).values()]
    if as_json:
        for name, value, source in rows:
            click.echo(json.dumps({"name": name, "value": value, "from": source}))
    else:
        table(["NAME", "VALUE", "FROM"], rows)
    click.echo(f"gitpod-secrets: the configuration file is {settings.path()}", err=True)


for command in (
    secrets.create,
    secrets.put,
    secrets.update,
    secrets.get,
    secrets.list_,
    secrets.delete,
    import_.import_,
    export.export,
    run.run,
    completion.completion,
    operate.token,
    operate.keys,
    operate.migrate,
    operate.audit,
):
    cli.add_command(command)
