"""The command `config`."""

import click

from gitpod.cli import settings
from gitpod.cli.options import json_option
from gitpod.cli.output import inform, json_line, table


@click.command()
@json_option()
def config(*, as_json: bool) -> None:
    """Show the settings in effect and where each came from. A token is masked."""
    rows = [[each.name, each.shown, each.source] for each in settings.load().values()]
    if as_json:
        for name, value, source in rows:
            json_line({"name": name, "value": value, "from": source})
    else:
        table(["NAME", "VALUE", "FROM"], rows)
    file = settings.config_file()
    inform(f"the configuration file is {file}" if file.exists() else f"there is no configuration file {file}")
