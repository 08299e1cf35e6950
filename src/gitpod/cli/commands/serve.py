"""The command `serve`."""

import gc
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitpod.cli.failures import reported
from gitpod.cli.options import key_option, store_option
from gitpod.cli.output import hint, inform

if TYPE_CHECKING:
    from gitpod.server.serving.workers import Announcement

File = click.Path(dir_okay=False, path_type=Path)
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command()
@store_option
@key_option
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free port.")
@click.option("--grpc-port", type=click.IntRange(0, 65535), help="The port for gRPC; 0 takes a free port.")
@click.option("--tls-cert", type=File, help="The PEM file of the service's certificate.")
@click.option("--tls-key", type=File, help="The PEM file of the certificate's key.")
@click.option("--tls-client-ca", type=File, help="The PEM file of the authority that signs callers' certificates.")
@click.option("--allow-origin", multiple=True, metavar="ORIGIN", help="Web pages that may call, as https://host.")
@click.option("--allow-header", multiple=True, metavar="NAME", help="A request header that those pages may add.")
@click.option(
    "--keep-alive",
    default=75,
    show_default=True,
    type=click.IntRange(1, 3600),
    metavar="SECONDS",
    help="Keep an idle HTTP connection this long. Give more than clients and proxies have.",
)
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Processes that serve the same ports: one a core. Above 1, the store must be on PostgreSQL.",
)
def serve(
    host: str,
    allow_origin: tuple[str, ...],
    allow_header: tuple[str, ...],
    **options: Any,  # noqa: ANN401 # settings of the service
) -> None:
    """Serve a store to callers with a token.

    The protocols are Connect, gRPC-Web and gRPC. Tokens are made by `token create`. The token in GITPOD_API_KEY, if
    it is set, may do everything. If there is no token at all, one is made for this run and printed.
    """
    from gitpod.server.serving.serve import run  # loads the server's libraries
    from gitpod.server.serving.settings import Settings

    token = os.environ.get("GITPOD_API_KEY") or None
    served = Settings(host=host, origins=allow_origin, allowed_headers=allow_header, token=token, **options)
    if host not in LOOPBACK and served.tls_cert is None:
        hint("HTTP shows the token and every value to the network; put TLS in front, or use --tls-cert")
    gc.enable()
    with reported():
        run(served, announce=partial(_announce, is_token_set=token is not None))


def _announce(to: "Announcement", *, is_token_set: bool) -> None:
    """Print what a shell needs to reach the service. A token that the caller set is not repeated."""
    click.echo(f"export GITPOD_BASE_URL={to.url}")
    if to.token:
        click.echo(f"export GITPOD_API_KEY={to.token}")
    elif is_token_set:
        click.echo("# the token is the one in GITPOD_API_KEY")
    if to.grpc_port is not None:
        click.echo(f"# gRPC has port {to.grpc_port}")
    inform("serving; stop with Ctrl-C")
