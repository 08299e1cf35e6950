"""`login`, `logout` and `whoami`: where a token is kept, and to which service it is sent."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from connectrpc.code import Code
from tests.support import keyring_file
from tests.support.peer import Peer, answer, failed, free_port
from tests.support.service import ROOT, TOKEN, Service, role_token
from tests.support.settings_files import NONE, write_config
from tests.support.shell import VALUE, Shell

NO_KEYRING: dict[str, Any] = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}


@pytest.fixture
def shell(shell: Shell) -> Shell:
    """A shell without a token and without a keyring."""
    shell.variables = {**NONE, **NO_KEYRING, "GITPOD_BASE_URL": shell.url}
    return shell


@pytest.fixture
def keyring(shell: Shell) -> Path:
    """The file of the keyring that the shell has."""
    file = shell.home / "keyring.json"
    shell.variables |= {**keyring_file.VARIABLES, "KEYRING_FILE": str(file), "PYTHONPATH": str(ROOT)}
    return file


def tokens_of(shell: Shell) -> Path:
    """The file in which tokens are kept."""
    return shell.home / ".config/gitpod-secrets/tokens.json"


def test_a_token_is_kept_in_a_private_file_without_a_keyring(shell: Shell) -> None:
    """`login` says where; calls use it until `logout`, and `config` shows where it is from."""
    file = tokens_of(shell)
    done = shell.run("login", stdin=f"{TOKEN}\n")
    assert f"the token for {shell.url} is in {file}, which only you can read\n" in done.err
    assert "the service accepts it; what it may do, besides listing secrets, was not checked\n" in done.err
    assert TOKEN not in done.err + done.text
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert shell.run("config").rows[1] == ["api_key", "…", str(file)]
    shell.run("list")
    assert f"the token for {shell.url} is removed from this machine" in shell.run("logout").err
    assert TOKEN not in file.read_text()
    assert f"no token is kept for {shell.url}" in shell.run("logout", code=4).err
    assert f"no token given for {shell.url}" in shell.run("list", code=3).err


def test_a_token_is_kept_in_the_keyring(shell: Shell, keyring: Path) -> None:
    """The file lists the service alone."""
    done = shell.run("login", stdin=TOKEN)
    assert f"the token for {shell.url} is in the system's keyring\n" in done.err
    assert json.loads(keyring.read_text()) == {f"gitpod-secrets {shell.url}": TOKEN}
    assert json.loads(tokens_of(shell).read_text()) == {shell.url: None}
    shell.run("list")
    shell.run("logout")
    assert json.loads(keyring.read_text()) == json.loads(tokens_of(shell).read_text()) == {}


def test_the_keyring_is_left_alone_where_no_token_is_needed(shell: Shell, keyring: Path) -> None:
    """It may ask for a password: neither completion touches it, nor `config`, nor a command with another token."""
    shell.run("login", stdin=TOKEN)
    touched = keyring.with_name("TOUCHED")
    touched.unlink()
    assert shell.run("config").rows[1] == ["api_key", "…", "keyring"]
    words: dict[str, Any] = {
        "COMP_WORDS": "gitpod-secrets get C",
        "COMP_CWORD": "2",
        "_GITPOD_SECRETS_COMPLETE": "bash_complete",
    }
    shell.run(GITPOD_PROJECT_ID=shell.project, **words)
    shell.run("list", GITPOD_API_KEY=TOKEN)
    shell.run("list", GITPOD_BASE_URL=f"sqlite:///{shell.home}/own.db")
    assert "no token given" in shell.run("list", code=3, GITPOD_BASE_URL="https://other.example.com").err
    assert not touched.exists()
    shell.run("list")
    assert touched.exists()


def test_a_locked_keyring_keeps_nothing(shell: Shell, keyring: Path) -> None:
    """The file keeps the token. One that is in the keyring already is not to be had."""
    shell.run("login", stdin=TOKEN)
    keyring.with_name("LOCKED").touch()
    assert "error: the keyring does not give the token" in shell.run("list", code=3).err
    assert "error: the keyring does not remove the token: KeyringLocked" in shell.run("logout", code=2).err
    assert "and there is no keyring here" in shell.run("logout", code=2, **NO_KEYRING).err
    assert f"is in {tokens_of(shell)}, which only you can read" in shell.run("login", stdin=TOKEN).err
    shell.run("list")


def test_logins_at_the_same_time_lose_no_token(shell: Shell) -> None:
    """Each reads the file, and writes it with its own token added."""
    names = [f"p{number}" for number in range(8)]
    write_config(shell, "".join(f'[profiles.{name}]\nbase_url = "{shell.url}"\n' for name in names))
    shell.variables["GITPOD_BASE_URL"] = ""
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(shell.run, "login", "--profile", name, stdin=TOKEN) for name in names]:
            done.result()
    assert sorted(json.loads(tokens_of(shell).read_text())) == [f"{shell.url}#{name}" for name in names]


def test_a_token_that_the_keyring_lost_is_forgotten(shell: Shell, keyring: Path) -> None:
    """The user may have removed it there."""
    shell.run("login", stdin=TOKEN)
    keyring.unlink()
    assert "gitpod-secrets login keeps one, or set GITPOD_API_KEY" in shell.run("list", code=3).err
    shell.run("logout")


def test_a_token_is_asked_for_at_a_hidden_prompt(shell: Shell) -> None:
    """The prompt names the service."""
    terminal = shell.on_terminal("login")
    terminal.expect(f"Token for {shell.url}: ")
    terminal.type(f"{TOKEN}\n")
    terminal.expect("the service accepts it")
    terminal.end()
    assert TOKEN not in terminal.past
    shell.run("list")


def test_a_kept_token_goes_to_its_own_service_alone(shell: Shell) -> None:
    """Other hosts, ports and paths are other services. Letters and slashes of the same URL are not."""
    shell.run("login", stdin=TOKEN)
    port = shell.url.rpartition(":")[2]
    other = Peer(answer(200, b"", content_type="application/proto"))
    for url in (other.url, f"http://localhost:{port}", f"{shell.url}/api", f"https://127.0.0.1:{port}"):
        assert "error: no token given for" in shell.run("list", code=3, GITPOD_BASE_URL=url).err
    assert other.requests == []
    shell.run("list", GITPOD_BASE_URL=shell.url.replace("http", "HTTP") + "/")
    other.close()


def test_a_kept_token_is_for_its_own_profile_alone(shell: Shell) -> None:
    """Two profiles may be two people on one service."""
    write_config(shell, f'[profiles.one]\nbase_url = "{shell.url}"\n[profiles.two]\nbase_url = "{shell.url}"\n')
    done = shell.run("--profile", "one", "login", stdin=TOKEN)
    assert f"the token for {shell.url} (profile one) is in " in done.err
    shell.run("--profile", "one", "list")
    for arguments in (["list"], ["list", "--profile", "two"]):
        assert f"error: no token given for {shell.url}" in shell.run(*arguments, code=3).err
    shell.run("logout", "--profile", "one")
    assert "gitpod-secrets --profile one login keeps one" in shell.run("--profile", "one", "list", code=3).err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "standard input: must be a token"),
        (" \n", "standard input: must be a token"),
        ("x" * 20_000, "standard input: must be a token of at most 16384 bytes"),
        (f"Bearer {VALUE}", "the token: must be the token alone, without the word Bearer"),
        (f'"{VALUE}"', "the token: must be the token alone, without quotes"),
        (f"{VALUE}\n{VALUE}", "the token: must be printable ASCII without spaces or line breaks"),
        (f"tökén{VALUE}", "the token: must be printable ASCII without spaces or line breaks"),
    ],
)
def test_a_token_that_is_wrong_is_not_kept(shell: Shell, given: str, message: str) -> None:
    """Nothing is sent."""
    peer = Peer(answer(200))
    assert f"error: {message}" in shell.run("login", stdin=given, code=2, GITPOD_BASE_URL=peer.url).err
    assert peer.requests == []
    assert not tokens_of(shell).exists()
    peer.close()


def test_a_token_that_the_service_does_not_know_is_not_kept(shell: Shell) -> None:
    """Nor one for a service that cannot be reached, or is none."""
    done = shell.run("login", stdin=VALUE, code=3)
    assert "error: the service does not accept the token; nothing is kept" in done.err
    shell.run("login", stdin=VALUE, code=6, GITPOD_BASE_URL=f"http://127.0.0.1:{free_port()}")
    shell.run("login", stdin=VALUE, code=2, GITPOD_BASE_URL="secrets.example.com")
    assert not tokens_of(shell).exists()


def test_what_login_cannot_check_is_said(shell: Shell) -> None:
    """A service may refuse to list secrets."""
    peer = Peer(failed(Code.PERMISSION_DENIED))
    done = shell.run("login", stdin=TOKEN, GITPOD_BASE_URL=peer.url)
    assert (
        "warning: the service refuses to list secrets, so it was not checked whether it accepts the token" in done.err
    )
    told = shell.run("whoami", GITPOD_BASE_URL=peer.url)
    assert ["accepted", "unknown; the service refuses to list secrets"] in told.rows
    peer.close()


def test_a_token_that_counts_more_is_named(shell: Shell) -> None:
    """Otherwise, the login would seem to be without effect."""
    warning = "warning: GITPOD_API_KEY is set, and counts more than a token that login keeps"
    assert warning in shell.run("login", stdin=TOKEN, GITPOD_API_KEY="other").err
    assert warning in shell.run("logout", GITPOD_API_KEY="other").err
    file = write_config(shell, f'base_url = "{shell.url}"\napi_key = "{VALUE}"')
    assert f"warning: {file}: api_key is set, and counts more" in shell.run("login", stdin=TOKEN).err


def test_a_store_in_this_process_needs_no_login(shell: Shell) -> None:
    """`whoami` says so."""
    store: dict[str, Any] = {"GITPOD_BASE_URL": f"sqlite:///{shell.home}/own.db"}
    for command in ("login", "logout"):
        done = shell.run(command, stdin=TOKEN, code=2, **store)
        assert "error: GITPOD_BASE_URL: a store in this process needs no token" in done.err
    assert shell.run("whoami", **store).rows[1:] == [["subject", "whoever can open the store"], ["role", "owner"]]


@pytest.mark.parametrize("role", ["admin", "member", "environment"])
def test_whoami_says_whose_token_it_is(shell: Shell, service: Service, role: str) -> None:
    """A served store tells the role, the subject and the organization, to the token's owner alone."""
    token = role_token(service, role, shell.project)
    shown = dict(shell.run("whoami", GITPOD_API_KEY=token).rows)
    kind, subject = shown["subject"].split()
    assert (shown["service"], shown["accepted"], shown["role"]) == (shell.url, "yes", role)
    assert kind == ("environment" if role == "environment" else "user")
    assert UUID(subject)
    assert UUID(shown["organization"]).hex == token.split("_")[1]
    assert dict(shell.run("whoami", GITPOD_API_KEY=TOKEN).rows)["role"] == "owner"


def test_whoami_says_what_the_service_does_not_tell(shell: Shell) -> None:
    """Another service tells nothing of the caller."""
    peer = Peer(answer(200, b"", content_type="application/proto"))
    done = shell.run("whoami", "--json", GITPOD_API_KEY="another-token-of-tests", GITPOD_BASE_URL=peer.url)
    assert done.items == [
        {
            "service": peer.url,
            "token": "…ests",
            "from": "GITPOD_API_KEY",
            "accepted": "yes",
            "subject": "the service does not tell",
            "role": "the service does not tell",
        }
    ]
    peer.close()
    assert "UNAUTHENTICATED" in shell.run("whoami", code=3, GITPOD_API_KEY=VALUE).err.upper()


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        ("{}", 0o640, "holds tokens, and is not yours or open to other users; chmod 600 it"),
        (VALUE, 0o600, "is damaged; remove it, and log in again"),
        ("[" * 100_000, 0o600, "is damaged; remove it, and log in again"),
        (f'{{"{VALUE}": 3}}', 0o600, "is damaged; remove it, and log in again"),
        ("[]", 0o600, "is damaged; remove it, and log in again"),
    ],
)
def test_a_file_of_tokens_that_is_wrong_is_refused(shell: Shell, text: str, mode: int, message: str) -> None:
    """By the commands that need a token, and not by others."""
    file = tokens_of(shell)
    file.parent.mkdir(parents=True)
    file.write_text(text)
    file.chmod(mode)
    assert f"error: {file}: {message}" in shell.run("list", code=2).err
    shell.run("list", GITPOD_API_KEY=TOKEN)


def test_an_unwritable_folder_is_named(shell: Shell) -> None:
    """Nothing is kept there."""
    (shell.home / ".config").write_text("")
    (shell.home / "config.toml").touch(0o600)
    done = shell.run("login", stdin=TOKEN, code=2, GITPOD_CONFIG=str(shell.home / "config.toml"))
    assert f"error: {tokens_of(shell)}: Not a directory" in done.err


def test_whoami_shows_nothing_that_moves_the_cursor(shell: Shell) -> None:
    """A faulty service may send it."""
    odd = "gitpod-caller: role=a\x9b2J subject=b\x85 organization="
    peer = Peer(answer(200, b"", odd, content_type="application/proto"))
    done = shell.run("whoami", GITPOD_API_KEY=TOKEN, GITPOD_BASE_URL=peer.url)
    assert all(character.isprintable() or character in "\t\n" for character in done.text)
    peer.close()
