"""The commands, parsed by click. Each is a few lines over the package."""

import os
import secrets

import click

from gitpod._version import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gitpod-secrets")
def cli() -> None:
    """Store secrets with gitpod.v1.SecretService."""


@cli.command()
@click.option("--store", required=True, metavar="URL", help="sqlite:///path/to/file.db; sqlite:// is in memory.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
def serve(store: str, host: str, port: int) -> None:
    """Serve the store over HTTP, to callers with the right token.

    The token is taken from GITPOD_API_KEY; without it, one is made up for this run and printed.
    """
    # The server's stack, which no other command needs.
    from gitpod.server.errors import ServiceError, StoreBusyError
    from gitpod.server.serve import run

    if host not in ("127.0.0.1", "::1", "localhost"):
        click.echo(
            "gitpod-secrets: hint: HTTP shows the token and every value to the network; put TLS in front", err=True
        )
    given = os.environ.get("GITPOD_API_KEY")
    token = given or secrets.token_urlsafe(32)
    try:
        run(store, host, port, token, announce=lambda url: _announce(url, None if given else token))
    except ServiceError as error:
        _fail(str(error))
    except StoreBusyError:
        _fail("another process keeps the store locked")


def _announce(url: str, token: str | None) -> None:
    """Print what a shell needs to reach the service; a token that the caller brought is not repeated."""
    click.echo(f"export GITPOD_BASE_URL={url}")
    click.echo(f"export GITPOD_API_KEY={token}" if token else "# the token is the one in GITPOD_API_KEY")
    click.echo("gitpod-secrets: serving; stop with Ctrl-C", err=True)


def _fail(message: str, status: int = 2) -> None:
    click.echo(f"gitpod-secrets: error: {message}", err=True)
    raise SystemExit(status)
