"""A group of commands whose help is in sections, with short names for some."""

from typing import Any

import click

ALIASES = {"ls": "list", "rm": "delete", "set": "put"}
"""Short names that other tools have, and the commands that they stand for."""


class Sections(click.Group):
    """A group of commands in sections, by what one wants to do."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 # those of a group
        super().__init__(**options)
        self._sections: dict[str, tuple[click.Command, ...]] = {}

    def section(self, title: str, *commands: click.Command) -> None:
        """Add commands, in the order in which the help shows them."""
        self._sections[title] = commands
        for command in commands:
            self.add_command(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 # click's
        """Write the sections of the help."""
        aliases = {name: f", {alias}" for alias, name in ALIASES.items()}
        names = {command: name + aliases.get(name, "") for name, command in self.commands.items()}
        width = max(map(len, names.values()))
        for title, commands in self._sections.items():
            with formatter.section(title):
                room = formatter.width - width - 6
                rows = [(names[each].ljust(width), each.get_short_help_str(room)) for each in commands]
                formatter.write_dl(rows)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name or its alias."""
        return super().get_command(ctx, ALIASES.get(cmd_name, cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names."""
        name, command, rest = super().resolve_command(ctx, args)
        # Usage and messages have the command's own name.
        return (command.name if command else name), command, rest
