"""What `gitpod-secrets serve` says to people: its log lines on a terminal, its store and key, and warnings."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import pytest
from tests.support.absent import without
from tests.support.shell import COMMAND, SECONDS, Terminal, start

from gitpod import Gitpod

CALL = "/gitpod.v1.SecretService/ListSecrets"
LONG = "0123456789abcdef0123456789abcdef"
EVERYWHERE = "0.0.0.0"  # noqa: S104 # what the service is asked to warn of
SERVING = "serving; stop with Ctrl-C"


def environment(**given: str) -> dict[str, str]:
    """The variables of a command, of which none is an option of it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GITPOD_")} | given


def serve(*arguments: str, **given: str) -> tuple[Terminal, dict[str, str]]:
    """A service on a terminal, and the variables that it exports."""
    terminal = Terminal([*COMMAND, "serve", "--port", "0", *arguments], environment(**given), 80)
    terminal.expect(SERVING)
    return terminal, dict(re.findall(r"export (\w+)=(\S+)", terminal.past))


def stop(terminal: Terminal) -> str:
    """Press Ctrl-C, and return what was shown since the start."""
    terminal.type("\x03")
    return terminal.end()


def said(*arguments: str, calls: Callable[[str], object] = str, cwd: Path | None = None, **given: str) -> str:
    """What a service with pipes says on standard error, which is called once it serves, and then stopped."""
    command, pipe = [*COMMAND, "serve", "--port", "0", *arguments], subprocess.PIPE
    process = start(command, stdout=pipe, stderr=pipe, env=environment(**given), cwd=cwd)
    assert process.stdout
    calls(process.stdout.readline().decode().strip().partition("=")[2])
    process.terminate()
    return process.communicate(timeout=SECONDS)[1].decode()


def test_a_request_is_a_line_that_people_can_read(tmp_path: Path) -> None:
    """Time, protocol, method, code and milliseconds, in the 80 columns of a terminal."""
    terminal, exported = serve("--store", f"sqlite:///{tmp_path}/s.db")
    url = exported["GITPOD_BASE_URL"]
    with Gitpod(bearer_token=exported["GITPOD_API_KEY"], base_url=url) as client:
        client.secrets.list()
    httpx.post(f"{url}{CALL}", json={}, trust_env=False)
    httpx.get(f"{url}/favicon.ico", trust_env=False)
    terminal.expect(" 404 ")
    stop(terminal)
    lines = [line.split() for line in terminal.lines[terminal.lines.index(f"gitpod-secrets: {SERVING}") + 1 :]]
    assert [line[1:4] for line in lines if len(line) > 1] == [
        ["connect", "ListSecrets", "ok"],
        ["connect", "ListSecrets", "unauthenticated"],
        ["connect", "-", "404"],
    ]
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d \d+\.\d ms", " ".join([line[0], *line[4:6]])) for line in lines[:3])


@pytest.mark.parametrize(
    ("options", "is_json"), [([], True), (["--log-format", "json"], True), (["--log-format", "text"], False)]
)
def test_a_line_is_json_when_it_is_piped(options: Sequence[str], *, is_json: bool) -> None:
    """Unless the option says otherwise."""
    shown = said(
        "--store", "sqlite://", *options, calls=lambda url: httpx.post(f"{url}{CALL}", json={}, trust_env=False)
    )
    [line] = [each for each in shown.splitlines() if "unauthenticated" in each]
    assert line.startswith("{") == is_json
    assert not is_json or json.loads(line)["method"] == "ListSecrets"


def test_json_can_be_had_on_a_terminal() -> None:
    """By the option."""
    terminal, exported = serve("--store", "sqlite://", "--log-format", "json")
    httpx.post(f"{exported['GITPOD_BASE_URL']}{CALL}", json={}, trust_env=False)
    terminal.expect('"code": "unauthenticated"')
    stop(terminal)


def test_it_says_which_store_and_key_it_uses(tmp_path: Path) -> None:
    """By their whole paths, wherever it was started. A token that it made up ends with it."""
    shown = said("--store", "sqlite:///s.db", cwd=tmp_path)
    assert f"the store is sqlite:///{tmp_path}/s.db, opened by the key file {tmp_path}/s.db.key" in shown
    assert "the token was made up for this run, and ends with it; token create makes tokens that stay" in shown


def test_a_store_in_memory_is_said_to_end() -> None:
    """No token can be made for it that stays, and a token that was given is not said to be made up."""
    assert "the store is in memory, and ends with this process" in said("--store", "sqlite://")
    assert "token create" not in said("--store", "sqlite://")
    assert "made up" not in said("--store", "sqlite://", GITPOD_API_KEY=LONG)


def test_no_password_is_said(database_url: str, tmp_path: Path) -> None:
    """Of the URL of a store on PostgreSQL, the user, the server and the database are."""
    before, _, server = database_url.rpartition("@")
    url = f"{before}:p4ss%40word@{server}?application_name=secret-too"
    shown = said("--store", url, "--key", f"file:{tmp_path}/key", "--workers", "2")
    assert shown.count(f"the store is {database_url}, opened by the key file {tmp_path}/key") == 1
    assert "p4ss" not in shown
    assert "secret-too" not in shown


@pytest.mark.parametrize(
    ("options", "token", "warning"),
    [
        (["--host", EVERYWHERE], LONG, f"--host {EVERYWHERE}: HTTP shows the token and every value to the network"),
        (["--host", "0"], LONG, "--host 0: HTTP shows the token and every value to the network"),
        ([], LONG[1:], "the owner's token in GITPOD_API_KEY has fewer than 32 characters"),
        (["--host", "127.0.0.2"], LONG, ""),
        (["--host", "localhost"], LONG, ""),
        ([], "", ""),
    ],
)
def test_it_warns_of_what_others_could_read_or_guess(options: Sequence[str], token: str, warning: str) -> None:
    """Once, and the token is not in the warning."""
    shown = said("--store", "sqlite://", *options, GITPOD_API_KEY=token)
    assert shown.count("warning: ") == bool(warning)
    assert warning in shown
    assert not token or token not in shown


OPERATORS = [
    ["serve"],
    ["migrate"],
    ["audit"],
    ["token", "list"],
    ["token", "create", "--role", "admin"],
    ["token", "revoke", "0" * 8],
    ["keys", "rotate"],
]


@pytest.mark.parametrize("module", ["fcntl", "resource"])
@pytest.mark.parametrize("command", OPERATORS, ids=" ".join)
def test_a_system_without_posix_is_told(tmp_path: Path, command: Sequence[str], module: str) -> None:
    """Where a service does not run, before anything is opened."""
    store = tmp_path / "s.db"
    given = environment(GITPOD_SECRETS_STORE=f"sqlite:///{store}", **without([module], tmp_path))
    done = subprocess.run([*COMMAND, *command], capture_output=True, text=True, env=given, check=False, timeout=SECONDS)
    assert (done.returncode, done.stdout, store.exists()) == (2, "", False)
    assert "error: serve, token, keys, migrate and audit do not run on this system" in done.stderr
