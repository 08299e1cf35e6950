"""The command `config`."""

import click

from gitpod.cli import settings
from gitpod.cli.options import json_option, profile_option
from gitpod.cli.output import inform, json_line, table
from gitpod.cli.sources import config_file, project_file


@click.command()
@profile_option
@json_option()
def config(*, as_json: bool) -> None:
    """Show the settings in effect and where each came from. A token is masked."""
    found = settings.load()
    rows = [[each.name, each.shown, each.source] for each in found.values()]
    if as_json:
        for name, value, source in rows:
            json_line({"name": name, "value": value, "from": source})
    else:
        table(["NAME", "VALUE", "FROM"], rows)
    file = config_file.path()
    inform(f"the configuration file is {file}" if file.exists() else f"there is no configuration file {file}")
    if project := project_file.find():
        inform(f"the project's file is {project.path}")
        if project.profile and settings.profile_of(found) != project.profile:
            inform(f"its profile {project.profile} is not used: an option or a variable names the service")
