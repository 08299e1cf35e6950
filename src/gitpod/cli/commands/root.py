"""The command `gitpod-secrets` itself, which holds all others."""

import click

from gitpod._version import __version__
from gitpod.cli.commands import (
    account,
    completion,
    config,
    copy,
    edit,
    export,
    import_,
    inject,
    keys,
    listing,
    run,
    secrets,
    serve,
    store,
    tokens,
)
from gitpod.cli.options import profile_option
from gitpod.cli.sections import Sections


@click.group(cls=Sections, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gitpod-secrets")
@click.option("--debug", is_flag=True, help="Show where an error comes from. Must be the first option.")
@profile_option
def cli(*, debug: bool) -> None:  # `failures.is_debugging` reads it, also when click cannot parse the arguments
    """Store secrets with gitpod.v1.SecretService: the hosted service, your own, or one embedded in a file."""


cli.section(
    "Secrets",
    secrets.create,
    secrets.put,
    secrets.update,
    secrets.get,
    edit.edit,
    listing.list_,
    secrets.delete,
    copy.copy,
    copy.move,
)
cli.section(
    "Files and programs",
    import_.import_,
    export.export,
    inject.inject,
    run.run,
)
cli.section(
    "Settings",
    account.login,
    account.logout,
    account.whoami,
    config.config,
    completion.completion,
)
cli.section(
    "Operate a service",
    serve.serve,
    tokens.token,
    keys.keys,
    store.migrate,
    store.audit,
)
