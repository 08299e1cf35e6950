"""What docs/cli.md, docs/recipes.md and the README tell users of the command is done as they would do it."""

import base64
import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import click
import pytest
from tests.support.service import ROOT, TOKEN, Service, serve

from gitpod import Gitpod
from gitpod.cli import failures
from gitpod.cli.commands import run
from gitpod.cli.commands.root import cli

MANUAL = (ROOT / "docs/cli.md").read_text()
RECIPES = (ROOT / "docs/recipes.md").read_text()
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = (
    "b0e12f6c-4c67-429d-a4a6-d9838b5da047",
    "5f6d8a34-94a5-4f49-a5c8-0c1d7c0b6a1e",
    "0b8f6a52-7a6e-4c2f-9d0c-1f3e5a7b9c2d",
)
OLD = "old-passw0rd-of-the-database"


@dataclass
class Desk:
    """Where somebody follows a page: a folder, a shell's variables, and ids of their own for those that it shows."""

    url: str
    folder: Path
    ids: list[str] = field(default_factory=lambda: [str(uuid.uuid4()) for _ in SHOWN])

    def __post_init__(self) -> None:
        (self.folder / "token").write_text(f"{TOKEN}\n")
        (self.folder / "exports").touch()
        unwanted = re.compile(r"GITPOD_.*|XDG_.*|GITHUB_.*|.*_proxy$", re.IGNORECASE)
        self.environment = {name: value for name, value in os.environ.items() if not unwanted.match(name)}
        self.environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment["HOME"] = str(self.folder)

    def sign_in(self) -> None:
        """Set service, token and project, as a recipe expects them."""
        self.environment |= {"GITPOD_BASE_URL": self.url, "GITPOD_API_KEY": TOKEN, "GITPOD_PROJECT_ID": self.ids[0]}

    def own(self, text: str) -> str:
        """A text of a page, with what is this desk's in the place of what the page shows."""
        changes = zip((*SHOWN, "http://127.0.0.1:8080", "/home/you"), (*self.ids, self.url, self.folder), strict=True)
        for shown, own in changes:
            text = text.replace(shown, str(own))
        return text

    def paste(self, code: str) -> str:
        """What a block prints, on either stream; what it exports the next one has."""
        script = f". ./exports\n{self.own(code)}\nexport -p > exports"
        return self._run("sh", "-ec", script).stdout

    def script(self, code: str, *flags: str, status: int = 0) -> str:
        """What a script prints, on either stream."""
        (self.folder / "script").write_text(self.own(code))
        return self._run("bash", *flags, "script", status=status).stdout

    def program(self, name: str, code: str) -> None:
        """A program in the folder."""
        (self.folder / name).write_text(f"#!/bin/sh\n{code}\n")
        (self.folder / name).chmod(0o755)

    def _run(self, *command: str, status: int = 0) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == status, done.stdout
        return done

    def client(self) -> Gitpod:
        """A client of the service."""
        return Gitpod(base_url=self.url, bearer_token=TOKEN)

    def put(self, number: int, name: str, value: str) -> None:
        """Store a variable in one of the projects."""
        with self.client() as client:
            client.secrets.put(name=name, value=value, project_id=self.ids[number], environment_variable=True)

    def stored(self, number: int = 0) -> dict[str, tuple[str, str]]:
        """The secrets of one of the projects: value and mount by name."""
        found: dict[str, tuple[str, str]] = {}
        with self.client() as client:
            for secret in client.secrets.list(filter={"scope": {"project_id": self.ids[number]}}):
                mount = secret.file_path or secret.container_registry_basic_auth_host
                kind = "env" if secret.environment_variable else "api-only"
                found[secret.name] = client.secrets.get_value(secret_id=secret.id).reveal(), mount or kind
        return found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all pages."""
    service = serve(tmp_path_factory.mktemp("docs") / "secrets.db")
    try:
        yield service
        assert service.stop() == 0
    finally:
        service.process.kill()


@pytest.fixture
def desk(served: Service, tmp_path: Path) -> Desk:
    """A desk with empty projects."""
    return Desk(served.url, tmp_path)


def recipe(heading: str) -> list[str]:
    """The `sh` blocks under a heading of the recipes."""
    [section] = [part for part in RECIPES.split("\n## ") if part.startswith(heading)]
    return [code for language, code in BLOCK.findall(section) if language == "sh"]


def test_the_manual_is_true(desk: Desk) -> None:
    """Every block in order; each prints what is below it, or nothing, and the project has what they say."""
    blocks: list[tuple[str, str]] = BLOCK.findall(MANUAL)
    for (language, code), (following, shown) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if language == "sh":
            assert desk.paste(code) == (desk.own(shown) if following == "text" else ""), code
    assert desk.stored() == {
        "DATABASE_URL": ("postgresql://user:pass@localhost:5432/db", "env"),
        "NPM_CONFIG": ("//npm.example.com/:_authToken=abc\naudit=false\n", "/home/gitpod/.npmrc"),
        "SESSION_KEY": ("abc", "api-only"),
        "ODD_ONE": ('it\'s $HOME, #1\n= "two lines"', "env"),
    }
    assert (desk.folder / "all.env").stat().st_mode & 0o777 == 0o600


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
    [toml] = [code for language, code in BLOCK.findall(MANUAL) if language == "toml"]
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


@pytest.fixture
def rotating(desk: Desk) -> Desk:
    """Three projects with the password of a database, which is a file."""
    desk.sign_in()
    desk.program("set-password", "cat > database")
    desk.program("check-login", '[ "$DATABASE_PASSWORD" = "$(cat database)" ]')
    (desk.folder / "database").write_text(OLD)
    for number in range(3):
        desk.put(number, "DATABASE_PASSWORD", OLD)
    return desk


def test_a_password_is_rotated(rotating: Desk) -> None:
    """In the database and all three projects, by a password that no traced command has; the old one is gone."""
    [script] = recipe("Rotate")
    trace = rotating.script(script, "-x")
    new = (rotating.folder / "database").read_text()
    assert len(new) == 43
    assert [rotating.stored(number) for number in range(3)] == [{"DATABASE_PASSWORD": (new, "env")}] * 3
    assert "gitpod-secrets update DATABASE_PASSWORD --project" in trace
    assert new not in trace
    assert OLD not in trace


def test_a_password_that_does_not_work_is_taken_back(rotating: Desk) -> None:
    """Where the last project cannot log in, all have the old one, which they kept until then."""
    login = '[ "$DATABASE_PASSWORD" = "$(cat database)" ] && echo >> tries && [ "$(wc -l < tries)" -lt 3 ]'
    rotating.program("check-login", login)
    [script] = recipe("Rotate")
    assert "back to the old password" in rotating.script(script, status=1)
    assert (rotating.folder / "database").read_text() == OLD
    assert [rotating.stored(number) for number in range(3)] == [{"DATABASE_PASSWORD": (OLD, "env")}] * 3


def test_two_rotations_do_not_meet(rotating: Desk) -> None:
    """The second changes nothing, and says why."""
    rotating.put(0, "DATABASE_PASSWORD_NEW", "of the first")
    [script] = recipe("Rotate")
    assert "already_exists" in rotating.script(script, status=5)
    assert (rotating.folder / "database").read_text() == OLD
    assert rotating.stored(1) == {"DATABASE_PASSWORD": (OLD, "env")}
    assert rotating.stored(0)["DATABASE_PASSWORD_NEW"] == ("of the first", "env")


def test_docker_logins_are_brought_in(desk: Desk) -> None:
    """Those that the file has; what a helper keeps is named, and nothing of a login is printed."""
    desk.sign_in()
    logins = {"registry.example.com": "deploy:s3cret:with-colon", "https://hub.example.com/v1/": "me:pässword"}
    auths = {host: {"auth": base64.b64encode(login.encode()).decode()} for host, login in logins.items()}
    (desk.folder / ".docker").mkdir()
    (desk.folder / ".docker/config.json").write_text(json.dumps({"auths": {**auths, "helped.example.com": {}}}))
    [script] = recipe("Bring")
    printed = desk.script(script)
    assert "helped.example.com: no password in this file\n" in printed
    assert not any(part in printed for part in ("s3cret", "pässword"))
    assert desk.stored() == {
        "DOCKER_REGISTRY_EXAMPLE_COM": ("deploy:s3cret:with-colon", "https://registry.example.com"),
        "DOCKER_HUB_EXAMPLE_COM_V1": ("me:pässword", "https://hub.example.com/v1/"),
    }


def test_a_ci_job_deploys(desk: Desk, served: Service) -> None:
    """With a token that only reads, masks for what is not short, and the deployment's own exit status."""
    desk.sign_in()
    desk.environment["GITPOD_SECRETS_STORE"] = f"sqlite:///{served.path}"
    desk.put(0, "MULTILINE", "line-1\n50%\n1")
    with desk.client() as client:
        client.secrets.create(name="SSH_KEY", value="of-ssh", project_id=desk.ids[0], file_path="/home/gitpod/key")
    token, job = recipe("Use it in a CI job")
    assert "it is shown this once" in desk.script(token)
    desk.environment |= {"GITPOD_API_KEY": (desk.folder / "ci.token").read_text().strip(), "GITHUB_ACTIONS": "true"}
    desk.program("deploy", 'test "$MULTILINE" && stat -c %a "$SSH_KEY" && exit 9')
    assert desk.script(job, status=9) == "::add-mask::line-1\n::add-mask::of-ssh\n600\n"
    refused = "gitpod-secrets delete MULTILINE --yes"
    assert "permission_denied" in desk.script(refused, status=3)


def test_every_recipe_is_run() -> None:
    """There are no others than those above and below."""
    ours = [recipe(heading) for heading in ("Rotate", "Bring", "Use it in a CI job", "Move")]
    assert [len(blocks) for blocks in ours] == [1, 1, 2, 1]
    assert RECIPES.count("\n```sh\n") == 5
    assert RECIPES.count("\n## ") == 4


def test_a_ci_job_without_a_token_deploys_nothing(desk: Desk) -> None:
    """It ends with what is missing."""
    desk.program("deploy", "echo deployed")
    assert desk.script(recipe("Use it in a CI job")[1], status=1).endswith("GITPOD_API_KEY: is not set for this job\n")


def test_the_workflow_is_one(desk: Desk) -> None:
    """Indented by mappings of two blanks, with the steps that it needs, of which shells read those that are theirs."""
    [workflow] = [code for language, code in BLOCK.findall(RECIPES) if language == "yaml"]
    line = re.compile(r"((  )*)(- )?([\w-]+):( \S.*)?")
    read = [found for each in workflow.splitlines() if (found := line.fullmatch(each))]
    assert len(read) == len(workflow.splitlines())
    depths = [len(found[1]) // 2 for found in read]
    assert all(after <= before + 2 for before, after in pairwise(depths))
    for found in read:
        if found[4] == "run":
            subprocess.run(["bash", "-n"], input=found[5], text=True, check=True, cwd=desk.folder)
    assert {"name", "on", "jobs", "runs-on", "steps"} <= {found[4] for found in read}


def test_secrets_move(desk: Desk) -> None:
    """All of them, with their mounts, beside what the new project has; the old one is empty then."""
    desk.sign_in()
    desk.put(0, "DATABASE_URL", "it's\n")
    desk.put(1, "OF_THE_NEW", "one")
    with desk.client() as client:
        client.secrets.create(name="2FA_SEED", value="\0", project_id=desk.ids[0], api_only=True)
    [script] = recipe("Move")
    desk.script(script)
    assert desk.stored(0) == {}
    assert desk.stored(1) == {
        "DATABASE_URL": ("it's\n", "env"),
        "2FA_SEED": ("\0", "api-only"),
        "OF_THE_NEW": ("one", "env"),
    }


def test_secrets_stay_where_one_cannot_move(desk: Desk) -> None:
    """A name that is there with another mount stops the move before anything is deleted."""
    desk.sign_in()
    desk.put(0, "DATABASE_URL", "of the old")
    with desk.client() as client:
        client.secrets.create(name="DATABASE_URL", value="of the new", project_id=desk.ids[1], api_only=True)
    [script] = recipe("Move")
    assert "conflict" in desk.script(script, status=1)
    assert desk.stored(0) == {"DATABASE_URL": ("of the old", "env")}
    assert desk.stored(1) == {"DATABASE_URL": ("of the new", "api-only")}


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
