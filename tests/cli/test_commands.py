"""The commands for single secrets, each as a process against a service on a socket."""

import json
import os
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.support.peer import Peer, answer, free_port, hang_up
from tests.support.service import TOKEN, Service
from tests.support.shell import COMMAND, VALUE, Shell, Terminal

HEAVY = "google pyqwest connectrpc gitpod_proto protovalidate rich dotenv sqlalchemy httpx uvicorn cryptography asyncio"


@pytest.fixture
def shell(service: Service, project: str, tmp_path: Path) -> Shell:
    """Settings for a project that is empty."""
    return Shell(service.url, TOKEN, project, tmp_path)


def on_terminal(shell: Shell, *arguments: str, **changes: Any) -> Terminal:
    """The command on a terminal."""
    return Terminal([*COMMAND, *arguments], shell.environment(**changes))


MOUNTS: dict[str, tuple[list[str], dict[str, object]]] = {
    "DEFAULT": ([], {"environmentVariable": True}),
    "ENV": (["--env"], {"environmentVariable": True}),
    "FILE": (["--file", "/home/me/.ssh/id"], {"filePath": "/home/me/.ssh/id"}),
    "REGISTRY": (
        ["--registry", "https://r.example.com", "--username", "bob"],
        {"containerRegistryBasicAuthHost": "https://r.example.com"},
    ),
    "API_ONLY": (["--api-only"], {"apiOnly": True}),
}


@pytest.mark.parametrize("command", ["create", "put"])
def test_every_mount(shell: Shell, command: str) -> None:
    """Is what the option says, and the JSON is the documented one."""
    shell.each(*([command, name, *options, "--json"] for name, (options, _) in MOUNTS.items()))
    found = {item["name"]: item for item in shell.run("list", "--json").items}
    assert found.keys() == MOUNTS.keys()
    for name, (_, mount) in MOUNTS.items():
        assert mount.items() <= found[name].items()
        assert uuid.UUID(found[name]["id"])
        assert found[name]["scope"] == {"projectId": shell.project}
    assert shell.stored() == dict.fromkeys(MOUNTS, VALUE) | {"REGISTRY": f"bob:{VALUE}"}
    kinds = {row[0]: row[1] for row in shell.run("list").rows}
    assert (kinds["ENV"], kinds["FILE"], kinds["API_ONLY"]) == ("env", "/home/me/.ssh/id", "api-only")


def test_every_scope(shell: Shell) -> None:
    """Holds its own secrets, and an option comes before the setting."""
    scopes = {kind: str(uuid.uuid4()) for kind in ("project", "user", "organization", "service-account")}
    shell.each(*(["create", "SAME_NAME", f"--{kind}", each] for kind, each in scopes.items()))
    listed = shell.each(*(["list", "--json", f"--{kind}", each] for kind, each in scopes.items()))
    names = {"project": "projectId", "user": "userId", "organization": "organizationId"}
    wanted = [{names.get(kind, "serviceAccountId"): each} for kind, each in scopes.items()]
    assert [done.items[0]["scope"] for done in listed] == wanted
    assert shell.run("list").out == b""
    assert {row[0] for row in shell.run("list", "--all").rows} >= {"SAME_NAME"}


USAGE = {
    "several scopes": (["put", "NAME", "--project", str(uuid.uuid4()), "--user", str(uuid.uuid4())], "not several"),
    "several mounts": (["put", "NAME", "--env", "--api-only"], "one of them, not several"),
    "an empty path": (["put", "NAME", "--file", ""], "--file: must not be empty"),
    "a relative path": (["put", "NAME", "--file", "id"], "file_path: value must be an absolute path"),
    "no user": (["put", "NAME", "--registry", "https://r.example.com"], "--registry and --username belong together"),
    "an empty user": (["put", "NAME", "--registry", "https://r.example.com", "--username", ""], "belong together"),
    "a colon": (["put", "NAME", "--registry", "https://r.example.com", "--username", "a:b"], "must not hold a colon"),
    "no such scope": (["list", "--project", "mine"], "is not a valid UUID"),
    "a short name": (["put", "N"], "name: must"),
    "an argument as the value": (
        ["put", "NAME", VALUE],
        "too many arguments: a secret's value is never given as an argument",
    ),
    "an option for the value": (["put", "NAME", f"--value={VALUE}"], "No such option"),
    "two sources": (["put", "NAME", "--value-file", "x", "--from-env", "X"], "one of them, not both"),
    "no file": (["put", "NAME", "--value-file", "/nowhere"], "--value-file: No such file"),
    "a folder": (["put", "NAME", "--value-file", ""], "--value-file: Is a directory"),
    "an endless file": (["put", "NAME", "--value-file", "/dev/zero"], "--value-file: is larger than 1048576 bytes"),
    "no variable": (["put", "NAME", "--from-env", "NO_SUCH"], "--from-env: there is no such environment variable"),
    "nobody to ask": (["delete", "NAME"], "there is no terminal to ask for confirmation; add --yes"),
}


def test_what_is_called_wrongly_is_said(shell: Shell) -> None:
    """In a line that says how, with status 2, before anything is sent."""
    errors = shell.each(*(arguments for arguments, _ in USAGE.values()), code=2)
    for (_, message), done in zip(USAGE.values(), errors, strict=True):
        assert message in done.err
        assert done.err.startswith("gitpod-secrets: error: ")
        assert done.out == b""
    assert shell.stored() == {}


NO_SCOPE = "no scope given: use --project, --user, --organization or --service-account"


def test_a_command_needs_a_scope(shell: Shell) -> None:
    """Which a list does not."""
    assert NO_SCOPE in shell.run("put", "NAME", code=2, GITPOD_PROJECT_ID="").err
    assert NO_SCOPE in shell.run("run", "true", code=2, GITPOD_PROJECT_ID="").err
    shell.run("list", GITPOD_PROJECT_ID="")


CRLF = "gitpod-secrets: warning: the value holds CRLF line breaks; they are kept\n"
ENDS = "gitpod-secrets: warning: the value ends in a line break; it is kept, and --trim removes it\n"
VALUES: list[tuple[bytes, list[str], bytes, str]] = [
    (b"a", [], b"a", ""),
    (b"a\n", [], b"a\n", ENDS),
    (b"a\r\n", ["--trim"], b"a", ""),
    (b"a\r", ["--trim"], b"a\r", ""),
    (b"a\n\n", ["--trim"], b"a\n", ENDS.replace("removes it", "removes only one")),
    (b"a\r\nb\r\n", [], b"a\r\nb\r\n", CRLF),
    (b"", ["--value-file", os.devnull], b"", "gitpod-secrets: warning: the value is empty\n"),
    ("\0 \t'\"$é\U0001f511".encode(), [], "\0 \t'\"$é\U0001f511".encode(), ""),
]


def test_values_are_kept_byte_for_byte(shell: Shell) -> None:
    """With a warning for what is rarely meant."""
    names = [f"NAME{index}" for index in range(len(VALUES))]
    with ThreadPoolExecutor(4) as pool:
        running = [
            pool.submit(shell.run, "create", name, *options, stdin=given)
            for name, (given, options, _, _) in zip(names, VALUES, strict=True)
        ]
    assert [each.result().err for each in running] == [warning for _, _, _, warning in VALUES]
    got = shell.each(*(["get", name] for name in names))
    assert [done.out for done in got] == [kept for _, _, kept, _ in VALUES]


def test_every_source_of_a_value(shell: Shell) -> None:
    """Gives what it has; a file and a variable come before standard input."""
    file = shell.home / "value"
    file.write_text(f"{VALUE}\n")
    shell.run("put", "FROM_FILE", "--value-file", str(file), "--trim", stdin="other")
    shell.run("put", "FROM_ENV", "--from-env", "MY_VAR", stdin="other", MY_VAR=VALUE)
    shell.run("put", "FROM_PIPE", stdin=VALUE)
    assert shell.stored() == dict.fromkeys(("FROM_FILE", "FROM_ENV", "FROM_PIPE"), VALUE)


def test_values_that_are_none_are_refused(shell: Shell) -> None:
    """By the rule, and without a part of them."""
    for given, message in (
        (b"\xff" + VALUE.encode(), "is not text in UTF-8"),
        (b"x" * 10241, "value: must be at most"),
    ):
        assert message in shell.run("put", "NAME", stdin=given, code=2).err
    (shell.home / "value").write_bytes(VALUE.encode() + b"\xff")
    assert "is not text" in shell.run("put", "NAME", "--value-file", str(shell.home / "value"), code=2).err


def test_a_prompt_asks_twice_and_shows_nothing(shell: Shell) -> None:
    """And again, when the two differ."""
    terminal = on_terminal(shell, "put", "NAME")
    for prompt, typed in (("Value: ", VALUE), ("Repeat for confirmation: ", "other")):
        terminal.expect(prompt)
        terminal.type(f"{typed}\n")
    terminal.expect("do not match")
    for prompt in ("Value: ", "Repeat for confirmation: "):
        terminal.expect(prompt)
        assert VALUE not in terminal.past
        terminal.type(f"{VALUE}\n")
    shown = terminal.end()
    assert "created NAME" in shown
    assert VALUE not in shown
    assert shell.stored() == {"NAME": VALUE}


def test_ctrl_c_at_a_prompt_does_nothing(shell: Shell) -> None:
    """And says nothing; the status is a shell's for it."""
    terminal = on_terminal(shell, "put", "NAME")
    terminal.expect("Value: ")
    terminal.type("\x03")
    assert terminal.end(130).strip() == ""
    assert shell.stored() == {}


def test_a_secret_is_named_by_its_name_or_its_id(shell: Shell) -> None:
    """Also where a name looks like an id without its hyphens."""
    name = uuid.uuid4().hex
    secret_id = shell.put(name)
    got = shell.each(*(["get", named] for named in (name, secret_id, secret_id.upper())))
    assert [done.out for done in got] == [VALUE.encode()] * 3
    assert shell.run("update", name, stdin="by name").err == f"gitpod-secrets: updated {name}\n"
    shell.run("update", secret_id, stdin="by id", GITPOD_PROJECT_ID="")
    assert shell.stored() == {name: "by id"}
    assert shell.run("delete", "--yes", secret_id, GITPOD_PROJECT_ID="").out == b""
    assert "there is no secret" in shell.run("delete", "--yes", name, code=4).err


def test_put_says_what_it_did(shell: Shell) -> None:
    """A mount that differs is a conflict, unless the secret is to be replaced."""
    errors = [shell.run("put", "NAME", *options, stdin="v").err for options in ([], [], ["--api-only", "--replace"])]
    assert errors == [f"gitpod-secrets: {action} NAME\n" for action in ("created", "updated", "replaced")]
    assert "gitpod-secrets: hint: " in shell.run("put", "NAME", "--file", "/f", stdin="v", code=5).err
    assert shell.run("list").rows[0][1] == "api-only"


def test_a_terminal_shows_a_value_only_when_told(shell: Shell) -> None:
    """Which is a mistake to make in front of others."""
    shell.put("NAME", value=f"{VALUE} of it")
    refused = on_terminal(shell, "get", "NAME").end(2)
    assert "error: the value would be shown on the terminal" in refused
    assert "hint: add --reveal, or use a pipe" in refused
    assert VALUE not in refused
    assert on_terminal(shell, "get", "NAME", "--reveal").end() == f"{VALUE} of it\n"


@pytest.mark.parametrize("changes", [{}, {"NO_COLOR": "1"}], ids=["colour", "NO_COLOR"])
def test_a_list_is_a_table_on_a_terminal(shell: Shell, changes: dict[str, Any]) -> None:
    """And lines with tabs when piped; neither has a colour where none is wanted."""
    secret_id = shell.put("NAME", file_path="/f/[red]")
    shown = on_terminal(shell, "list", **changes).end()
    head, row = shown.splitlines()
    assert [name in head for name in ("NAME", "MOUNT", "SCOPE", "ID", "UPDATED")] == [True] * 5
    assert row.split()[:2] == ["NAME", "/f/[red]"]
    assert secret_id in row
    assert "\t" not in shown
    assert "\x1b[3" not in shown
    [piped] = shell.run("list", **changes).rows
    assert piped[:4] == ["NAME", "/f/[red]", f"projectId {shell.project}", secret_id]


def test_a_delete_asks_on_a_terminal(shell: Shell) -> None:
    """And does nothing unless the answer is yes."""
    shell.put("NAME")
    for answered, code in (("n\n", 1), ("\x03", 130), ("y\n", 0)):
        terminal = on_terminal(shell, "delete", "NAME")
        terminal.expect("Delete NAME? [y/N]: ")
        assert shell.stored() == {"NAME": VALUE}
        terminal.type(answered)
        terminal.end(code)
    assert shell.stored() == {}


def role_token(service: Service, role: str, project: str) -> str:
    """A token of a role in a project."""
    made = ["token", "create", "--store", f"sqlite:///{service.path}", "--role", role, "--project", project]
    return subprocess.run([*COMMAND, *made], capture_output=True, text=True, check=True).stdout.strip()


def test_who_may_not_is_told(shell: Shell, service: Service) -> None:
    """By status 3, with what to do; no token is shown."""
    shell.put("NAME")
    reader = role_token(service, "environment", shell.project)
    assert shell.run("get", "NAME", GITPOD_API_KEY=reader).out == VALUE.encode()
    for arguments, token, hint in (
        (["put", "NAME"], reader, "use a token whose role and projects allow it"),
        (["list"], "a-wrong-token-for-tests", "set GITPOD_API_KEY to a token that the service knows"),
        (["list"], "", "set GITPOD_API_KEY, or api_key in the configuration file"),
    ):
        err = shell.run(*arguments, stdin=VALUE, code=3, GITPOD_API_KEY=token).err
        error, told = err.splitlines()
        assert error.startswith("gitpod-secrets: error: ")
        assert told == f"gitpod-secrets: hint: {hint}"
        assert not token or token not in err


def test_what_is_not_there_and_what_is(shell: Shell) -> None:
    """Have statuses of their own."""
    shell.put("NAME")
    assert "hint: gitpod-secrets list shows the secrets" in shell.run("get", str(uuid.uuid4()), code=4).err
    assert "error: there is no secret NO_NAME" in shell.run("get", "NO_NAME", code=4).err
    assert "hint: put updates the value" in shell.run("create", "NAME", stdin=VALUE, code=5).err


def test_a_service_that_cannot_be_reached(shell: Shell) -> None:
    """Has status 6; where the outcome is not known, the hint says how to settle it."""
    nobody = f"http://127.0.0.1:{free_port()}"
    assert "hint: gitpod-secrets config shows" in shell.run("list", code=6, GITPOD_BASE_URL=nobody).err
    peer = Peer(hang_up)
    assert (
        "hint: run it again with put" in shell.run("create", "NAME", stdin=VALUE, code=6, GITPOD_BASE_URL=peer.url).err
    )
    assert VALUE.encode() in peer.requests[0]
    peer.close()


QUOTING = {
    "refused": (answer(400, f'{{"code": "invalid_argument", "message": "{VALUE} {TOKEN}"}}'.encode()), 2),
    "garbled": (answer(200, VALUE.encode(), content_type="application/proto"), 6),
    "broken": (hang_up, 6),
}


@pytest.mark.parametrize("fault", QUOTING)
def test_debug_shows_where_and_no_value(shell: Shell, fault: str) -> None:
    """Whatever the service quotes."""
    script, code = QUOTING[fault]
    peer = Peer(script)
    process = shell.start("--debug", "create", "NAME", GITPOD_BASE_URL=peer.url)
    out, err = process.communicate(VALUE.encode(), timeout=60)
    peer.close()
    assert (process.returncode, out) == (code, b"")
    assert b"File " in err
    assert VALUE.encode() not in err
    assert TOKEN.encode() not in err


def test_streams_that_do_not_take_it(shell: Shell) -> None:
    """A full disk and a closed output are failures, in a line or without; a reader that left is none to tell."""
    shell.put("NAME")
    line = " ".join(f"'{part}'" for part in COMMAND)
    scripts = {
        f"{line} get NAME >/dev/full": 1,
        f"{line} get NAME >&-": 2,
        f"{line} create OTHER <&-": 2,
        f"false | {line} create OTHER": 2,
    }
    for script, code in scripts.items():
        done = subprocess.run(
            ["sh", "-c", script], env=shell.environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        assert VALUE not in done.stderr


def test_the_value_is_in_no_argument_list_and_no_log(shell: Shell, service: Service) -> None:
    """While the command runs, and after."""
    process = shell.start("--debug", "put", "NAME")
    assert process.stdin
    process.stdin.write(VALUE.encode())
    process.stdin.flush()
    shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert VALUE.encode() not in shown + out + err + service.log.read_bytes()


def write_config(shell: Shell, text: str, mode: int = 0o600) -> Path:
    """Make the configuration file."""
    file = shell.home / ".config" / "gitpod-secrets" / "config.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return file


def test_settings_come_from_the_environment_then_from_the_file(shell: Shell) -> None:
    """And `config` says which is from where, with the token masked."""
    user = str(uuid.uuid4())
    file = write_config(shell, f'base_url = "{shell.url}"\napi_key = "{TOKEN}"\nuser_id = "{user}"\n')
    none: dict[str, Any] = {"GITPOD_BASE_URL": "", "GITPOD_API_KEY": "", "GITPOD_PROJECT_ID": ""}
    shell.run("put", "OF_FILE", stdin=VALUE, **none)
    assert shell.run("list", "--json", **none).items[0]["scope"] == {"userId": user}
    done = shell.run("config", **none)
    assert done.rows == [
        ["base_url", shell.url, str(file)],
        ["api_key", "…", str(file)],
        ["user_id", user, str(file)],
    ]
    assert done.err == f"gitpod-secrets: the configuration file is {file}\n"
    rows = {row[0]: row[1:] for row in shell.run("config", GITPOD_API_KEY="another-token-of-tests").rows}
    assert rows == {
        "base_url": [shell.url, "GITPOD_BASE_URL"],
        "api_key": ["…ests", "GITPOD_API_KEY"],
        "project_id": [shell.project, "GITPOD_PROJECT_ID"],
    }


def test_without_settings_the_service_is_the_hosted_one(shell: Shell) -> None:
    """As `config` says; a password in a URL is masked."""
    done = shell.run("config", GITPOD_BASE_URL="", GITPOD_API_KEY="", GITPOD_PROJECT_ID="")
    assert done.rows == [["base_url", "https://app.ona.com/api", "default"]]
    shown = shell.run("config", GITPOD_BASE_URL=f"postgresql://me:{VALUE}@host/db")
    assert shown.rows[0][1] == "postgresql://…@host/db"
    assert VALUE.encode() not in shown.out


BAD_FILES = {
    "open to others": (f'api_key = "{VALUE}"', "holds a token, and is open to other users; chmod 600 it"),
    "unknown": ('token = "x"', "token: is not a setting; those are base_url, api_key"),
    "not TOML": (f"api_key = {VALUE}", "is not valid TOML"),
    "no string": ("base_url = 3", "base_url: must be a string"),
    "two scopes": ('project_id = "x"\nuser_id = "x"', "must have one of project_id, user_id"),
}


@pytest.mark.parametrize("which", BAD_FILES)
def test_a_file_that_is_wrong_is_refused(shell: Shell, which: str) -> None:
    """By every command that needs it."""
    text, message = BAD_FILES[which]
    file = write_config(shell, text, 0o640 if which == "open to others" else 0o600)
    for done in shell.each(["config"], ["list"], code=2):
        assert f"gitpod-secrets: error: {file}: {message}" in done.err


def test_a_file_that_is_named_must_be_there(shell: Shell) -> None:
    """The default one need not be."""
    assert "GITPOD_CONFIG: there is no file /nowhere" in shell.run("config", code=2, GITPOD_CONFIG="/nowhere").err
    shell.run("config", GITPOD_CONFIG="")


PROGRAM = """
import contextlib, io, json, os, sys
from gitpod.cli import main
from gitpod.cli.commands.root import cli

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
    """Nor do the version, a command's help, and the completion of options."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=shell.environment(), capture_output=True, check=True)
    calls, loaded = json.loads(done.stdout)
    assert calls > 12
    assert [name for name in loaded if name.partition(".")[0] in HEAVY.split()] == []
    assert "gitpod.cli.commands.run" in loaded
    assert os.fsencode("gitpod-secrets: ") not in done.stderr
