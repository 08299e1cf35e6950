"""The help of the commands, and what it loads."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner
from tests.support.shell import Shell

from gitpod.cli.commands.root import cli
from gitpod.cli.sections import ALIASES

HEAVY = {
    *("protobuf", "google", "pyqwest", "connectrpc", "gitpod_proto", "protovalidate", "httpx", "asyncio"),
    *("rich", "dotenv", "keyring", "sqlalchemy", "uvicorn", "cryptography"),
}


PROGRAM = """
import contextlib, io, json, os, sys
from gitpod.cli import main
from gitpod.cli.commands.root import cli
from gitpod.cli.sections import ALIASES

calls = [["--help"], ["--version"], *([name, "--help"] for name in cli.commands)]
completed = [["gitpod-secrets", "get", "--"], ["gitpod-secrets", ""], ["gitpod-secrets", "run", "--files", "--", "m"]]
for arguments in [*calls, *completed]:
    if arguments in completed:
        words = {"COMP_WORDS": " ".join(arguments), "COMP_CWORD": str(len(arguments) - 1)}
        os.environ |= {"_GITPOD_SECRETS_COMPLETE": "bash_complete", **words}
    sys.argv = ["gitpod-secrets", *arguments]
    # Completion writes bytes.
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())), contextlib.suppress(SystemExit):
        main()
print(json.dumps([len(calls), sorted(sys.modules)]))
"""


def test_help_loads_nothing_heavy(shell: Shell) -> None:
    """Help, version and completion of options load neither HTTP, nor protobuf, nor the server."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=shell.environment(), capture_output=True, check=True)
    calls, loaded = json.loads(done.stdout)
    assert calls > 12
    assert [name for name in loaded if name.partition(".")[0] in HEAVY] == []
    assert "gitpod._client" not in loaded
    assert "gitpod.cli.commands.run" in loaded
    assert os.fsencode("gitpod-secrets: ") not in done.stderr


def test_a_module_runs_the_command(shell: Shell) -> None:
    """`python -m gitpod.cli` is `gitpod-secrets`."""
    module = (sys.executable, "-m", "gitpod.cli")
    assert shell.run("--version", command=module).text == shell.run("--version").text


def commands(command: click.Command) -> Iterator[click.Command]:
    """A command, and every command in it if it is a group."""
    yield command
    for each in command.commands.values() if isinstance(command, click.Group) else ():
        yield from commands(each)


@pytest.mark.parametrize("command", list(commands(cli)), ids=lambda command: str(command.name))
def test_help_shows_no_mark_of_its_format(command: click.Command) -> None:
    r"""Click's `\b` before lines that it must not join is a character; as a backslash and a b it would be shown."""
    shown = command.get_help(click.Context(command))
    assert [mark for mark in ("\\", "\b", "``") if mark in shown] == []


@pytest.mark.parametrize("group", [["token"], ["keys"]])
def test_what_a_command_of_a_group_does_is_not_cut(group: list[str]) -> None:
    """Each has its own line, of 80 columns at most."""
    shown = CliRunner().invoke(cli, [*group, "--help"], terminal_width=80).output
    assert shown.partition("Commands:")[2]
    assert "..." not in shown.partition("Commands:")[2]


def test_the_mounts_in_a_file_are_listed_line_by_line() -> None:
    """The help of `import` shows each as it is written."""
    shown = cli.commands["import"].get_help(click.Context(cli))
    assert [line.split()[2] for line in shown.splitlines() if line.lstrip().startswith("# mount: ")] == [
        *("env", "file", "registry", "api-only"),
    ]


def test_help_has_sections_by_what_one_wants_to_do() -> None:
    """Every command is in one of them, with its alias."""
    shown = cli.get_help(click.Context(cli))
    sections = re.findall(r"^(\w.+):$", shown, re.MULTILINE)
    assert sections == ["Options", "Secrets", "Files and programs", "Settings", "Operate a service"]
    assert set(re.findall(r"^  ([a-z]+)(?:, [a-z]+)?  ", shown, re.MULTILINE)) == {*cli.commands}
    assert "..." not in shown.partition("Options:")[2]
    assert re.findall(r"^  (\w+, \w+)  ", shown, re.MULTILINE) == ["put, set", "list, ls", "delete, rm"]


@pytest.mark.parametrize(("alias", "command"), ALIASES.items())
def test_an_alias_is_the_command(alias: str, command: str) -> None:
    """Its usage has the command's own name."""
    shown = CliRunner().invoke(cli, [alias, "--help"], prog_name="gitpod-secrets").output
    assert shown.startswith(f"Usage: gitpod-secrets {command} ")
