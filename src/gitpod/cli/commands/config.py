"""The command `config`."""

import click

from gitpod.cli import settings
from gitpod.cli.options import json_option, profile_option
from gitpod.cli.output import inform, is_terminal, json_line, table
from gitpod.cli.sources import config_file, project_file, tokens
from gitpod.cli.sources.setting import Setting


@click.command()
@profile_option
@json_option()
def config(*, as_json: bool) -> None:
    """Show the settings in effect and where each came from. A token is masked."""
    found = settings.load()
    if as_json:
        for each in found.values():
            json_line({"name": each.name, "value": each.shown, "from": each.source})
    else:
        rows = [[each.name, each.shown, _words(each) if is_terminal() else each.source] for each in found.values()]
        table(["NAME", "VALUE", "FROM"], rows, is_wide=True)
    file = config_file.path()
    inform(f"the configuration file is {file}" if file.exists() else f"there is no configuration file {file}")
    if project := project_file.find():
        inform(f"the project's file is {project.path}")
        if project.profile and settings.profile_of(found) != project.profile:
            inform(f"its profile {project.profile} is not used: an option or a variable names the service")


def _words(setting: Setting) -> str:
    """Return where a setting came from in few words, as paths are longer than a line. The paths are told below."""
    file, _, profile = setting.source.partition(": profiles.")
    project = project_file.find()
    words = {
        str(config_file.path()): f"profile {profile}" if profile else "configuration file",
        str(project.path) if project else "": "project's file",
        str(tokens.file()): "login",
    }
    return words.get(file, setting.source)
