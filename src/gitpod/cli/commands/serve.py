"""The command `serve`."""

import gc
import os
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitpod.cli.failures import reported
from gitpod.cli.options import key_option, store_option
from gitpod.cli.output import inform, is_terminal, printable, warn
from gitpod.cli.store import need_posix

if TYPE_CHECKING:
    from gitpod.server.log import Style
    from gitpod.server.serving.workers import Announcement

File = click.Path(dir_okay=False, path_type=Path)
SHORT = 32
"""Characters of the owner's token below which `serve` warns. As hexadecimal digits, they are 128 bits."""


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
    "--log-format",
    "log",
    type=click.Choice(["text", "json"]),
    help="What log lines on standard error look like. Default: text on a terminal, else json.",
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
    log: "Style | None",
    allow_origin: tuple[str, ...],
    allow_header: tuple[str, ...],
    **options: Any,  # noqa: ANN401 # settings of the service
) -> None:
    """Serve a store to callers with a token.

    The protocols are Connect, gRPC-Web and gRPC. Tokens are made by `token create`. The token in GITPOD_API_KEY, if
    it is set, may do everything. If there is no token at all, one is made for this run and printed.
    """
    need_posix()
    from gitpod._options import VARIABLE, checked_token  # loads a part of the SDK
    from gitpod.server.serving.serve import run  # loads the server's libraries
    from gitpod.server.serving.settings import Settings

    token = os.environ.get(VARIABLE) or None
    if token:
        with reported():
            # Clients refuse more than the service does, such as quotes around it.
            checked_token(token, VARIABLE)
    served = Settings(
        host=host,
        origins=allow_origin,
        allowed_headers=allow_header,
        token=token,
        log=log or ("text" if is_terminal(err=True) else "json"),
        **options,
    )
    if served.tls_cert is None and not _is_loopback(host):
        shown = "HTTP shows the token and every value to the network; put TLS in front, or use --tls-cert"
        warn(f"--host {printable(host)}: {shown}")
    if token and len(token) < SHORT:
        warn(f"the owner's token in GITPOD_API_KEY has fewer than {SHORT} characters; openssl rand -hex 32 makes one")
    gc.enable()
    with reported():
        run(served, announce=partial(_announce, is_token_set=token is not None))


def _announce(to: "Announcement", *, is_token_set: bool) -> None:
    """Print what a shell needs to reach the service. A token that the caller set is not repeated."""
    from gitpod.server.storage.url import IN_MEMORY

    click.echo(f"export GITPOD_BASE_URL={to.url}")
    if to.token:
        click.echo(f"export GITPOD_API_KEY={to.token}")
    elif is_token_set:
        click.echo("# the token is the one in GITPOD_API_KEY")
    else:
        click.echo("# the tokens are those that token create made")
    if to.grpc_port is not None:
        click.echo(f"# gRPC has port {to.grpc_port}")
    is_kept = to.store != IN_MEMORY[0]
    inform(
        f"the store is {printable(to.store)}, opened by {printable(to.key)}"
        if is_kept
        else "the store is in memory, and ends with this process"
    )
    if to.token:
        stays = "; token create makes tokens that stay" if is_kept else ""
        inform(f"the token was made up for this run, and ends with it{stays}")
    inform("serving; stop with Ctrl-C")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
