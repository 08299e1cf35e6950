"""What docs/cli/ and the README tell users of the command, done as they would do it."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from tests.support import pages
from tests.support.desk import BLOCK, SHOWN, Desk
from tests.support.service import ROOT, Service
from tests.support.tidy import untracked

from gitpod.cli import failures
from gitpod.cli.commands import run
from gitpod.cli.commands.root import cli

MANUAL = pages.text("cli", "files", "recipes")
README = (ROOT / "README.md").read_text()


def without_ids(text: str) -> str:
    """A text without the two fields that every secret has for itself: its id, and when it was updated."""
    return re.sub(r"\t[0-9a-f-]{36}\t[-+:T0-9]{25}$", "\tID\tUPDATED", text, flags=re.MULTILINE)


@pytest.fixture
def desk(service: Service, tmp_path: Path) -> Desk:
    """A desk with empty projects."""
    return Desk(service.url, tmp_path)


def test_the_manual_is_true(tmp_path: Path) -> None:
    """Every block in order, on the store in a file that it names; each prints what is below it, or nothing."""
    desk = Desk(f"sqlite:///{tmp_path}/secrets.db", tmp_path)
    blocks: list[tuple[str, str]] = BLOCK.findall(MANUAL)
    for (language, code), (following, shown) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if language == "sh":
            expected = desk.own(shown) if following == "text" else ""
            assert without_ids(desk.paste(code)) == without_ids(expected), code
    assert desk.stored() == {
        "DATABASE_URL": ("postgresql://user:pass@localhost:5432/db", "env"),
        "NPM_CONFIG": ("//npm.example.com/:_authToken=abc\naudit=false\n", "/home/gitpod/.npmrc"),
        "SESSION_KEY": ("abc", "api-only"),
        "ODD_ONE": ('it\'s $HOME, #1\n= "two lines"', "env"),
    }
    assert (desk.folder / "all.env").stat().st_mode & 0o777 == 0o600
    assert untracked(desk.folder, "exports") == []


def test_the_documented_completion_is_bashs(desk: Desk) -> None:
    """The line for ~/.bashrc, after which bash knows the command."""
    [line] = re.findall(r"^\| bash \| `(.+?)`", MANUAL, re.MULTILINE)
    assert "gitpod-secrets" in desk.script(f"{line}\ncomplete -p gitpod-secrets")


def test_the_manual_sources_by_the_name_that_it_gives(desk: Desk) -> None:
    """`source` is bash's word for the dot."""
    desk.sign_in()
    desk.put(0, "ODD_ONE", "a'b\"$HOME`x`\\\n#")
    exported = 'source <(gitpod-secrets export); printf %s "$ODD_ONE"'
    assert desk.script(exported) == "a'b\"$HOME`x`\\\n#"


def test_the_documented_file_is_read(desk: Desk) -> None:
    """The manual's TOML, where the manual says that it is."""
    [toml, *_] = [code for language, code in BLOCK.findall(MANUAL) if language == "toml"]
    file = desk.folder / ".config/gitpod-secrets/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(toml)
    file.chmod(0o600)
    shown = desk.script("gitpod-secrets config 2> /dev/null | cut -f 1,2")
    assert shown.splitlines() == [
        "base_url\thttps://secrets.example.com/api",
        "api_key\t…",
        f"project_id\t{SHOWN[0]}",
        "ca_cert\t/etc/ssl/our-ca.pem",
    ]
    staging = desk.script("gitpod-secrets --profile staging config 2> /dev/null | cut -f 1,2")
    assert staging.splitlines() == [
        "profile\tstaging",
        "base_url\thttps://secrets.staging.example.com/api",
        f"user_id\t{SHOWN[1]}",
    ]


def test_the_readmes_import_and_run(desk: Desk) -> None:
    """Pasted as they are, but for the service."""
    desk.sign_in()
    [block] = [code for language, code in BLOCK.findall(README) if language == "sh" and "import" in code]
    block = block.replace("GITPOD_BASE_URL=sqlite:///secrets.db ", "")
    assert desk.paste(block).endswith("https://api.example.com\naudit=false")
    assert desk.stored() == {
        "API_URL": ("https://api.example.com", "env"),
        "NPM_CONFIG": ("audit=false", "/home/gitpod/.npmrc"),
    }
    assert untracked(desk.folder, "exports") == []


def tables() -> dict[str, list[str]]:
    """The options of each row of the manual's tables that have such a column, by what they are of."""
    rows: dict[str, list[str]] = {}
    for table in MANUAL.replace(r"\|", " ").split("\n\n"):
        if re.match(r"\|[ a-z]+\| options \|", table):
            found = re.findall(r"^\| [`*](.+?)[`*] \| (.*?) ?\|", table, re.MULTILINE)
            rows |= {first: re.findall(r"[\w-]+", second) for first, second in found}
    return rows


def commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that is not hidden, by the words that call it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")
        elif not command.hidden:
            yield f"{path}{name}", command


COMMANDS = dict(commands(cli))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_manual_has_every_option(name: str) -> None:
    """A command's row names its options, all of them and no others."""
    rows = tables()
    [shown] = [row for first, row in rows.items() if re.fullmatch(rf"{name}( --)?[A-Z …]*", first)]
    expanded = {option for word in shown for option in ([word] if word[0] == "-" else rows[word])}
    has = {
        option
        for each in COMMANDS[name].params
        if isinstance(each, click.Option) and not each.hidden
        for option in each.opts
    }
    assert expanded == has


def test_the_manual_explains_every_option() -> None:
    """Outside of the tables of commands, for those that are not an operator's; and those of the command itself."""
    prose = re.sub(r"^\| .*\*(scope|mount|value)\*.*$", "", MANUAL, flags=re.MULTILINE)
    ours = [name for name in COMMANDS if name.split()[0] not in ("serve", "token", "keys", "migrate", "audit")]
    params = [each for command in (cli, *(COMMANDS[name] for name in ours)) for each in command.params]
    options = {option for each in params if isinstance(each, click.Option) for option in each.opts}
    scopes = {"--user", "--project", "--organization", "--service-account"}
    assert [each for each in sorted(options - scopes) if not re.search(rf"(?<![\w-]){each}(?![\w-])", prose)] == []


def test_the_exit_statuses_are_the_codes() -> None:
    """Those of the manual's table, and no others."""
    rows = re.findall(r"^\| ([\d, ]+) \| (.+?) \|$", MANUAL, re.MULTILINE)
    shown = {int(code): text for codes, text in rows for code in codes.split(",")}
    meant = {
        0: "done",
        failures.SOME_FAILED: "some items",
        failures.USAGE: "called or set up wrongly",
        failures.NOT_ALLOWED: "not authenticated",
        failures.NOT_FOUND: "not found",
        failures.CONFLICT: "conflict",
        failures.UNREACHABLE: "the service cannot be reached",
        failures.UNEXPECTED: "a defect",
        failures.INTERRUPTED: "interrupted",
        run.NOT_EXECUTABLE: "`run`",
        run.NO_COMMAND: "`run`",
    }
    constants = {value for name, value in vars(failures).items() if name.isupper() and isinstance(value, int)}
    assert constants <= meant.keys() == shown.keys()
    assert [code for code, text in meant.items() if not shown[code].startswith(text)] == []
