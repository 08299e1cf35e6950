"""Completion, in the shells that it is for."""

import shutil
import socket
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from tests.support.peer import Peer, answer, free_port, stall
from tests.support.shell import COMMAND, VALUE, Done, Shell, Terminal

from gitpod_proto.gitpod.v1.secret_pb import ListSecretsResponse, Secret

# A busy machine may need longer than anybody waits for names.
PATIENT = (sys.executable, "-c", "from gitpod.cli.commands import completion; completion.TIMEOUT = 60.0; " + COMMAND[2])
BASH = """
source <(gitpod-secrets completion bash)
for line in "$@"; do
    COMP_WORDS=(gitpod-secrets $line) COMPREPLY=()
    [[ $line == *' ' ]] && COMP_WORDS+=('')
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _gitpod_secrets_completion gitpod-secrets
    echo "${COMPREPLY[*]}"
done
"""


def on_path(shell: Shell, **changes: Any) -> dict[str, Any]:
    """Return the variables of a shell that finds the command on its PATH."""
    command = shell.home / "bin" / "gitpod-secrets"
    command.parent.mkdir(exist_ok=True)
    command.write_text("#!/bin/sh\nexec " + " ".join(f"'{part}'" for part in PATIENT) + ' "$@"\n')
    command.chmod(0o755)
    found = shell.environment(**changes)
    return found | {"PATH": f"{command.parent}:{found['PATH']}"}


def complete(shell: Shell, *lines: str, **changes: Any) -> list[str]:
    """Return what bash offers at the end of each line. Nothing is written to standard error."""
    done = shell.run(command=["bash", "--norc", "-c", BASH, "bash", *lines], **on_path(shell, **changes))
    assert done.err == ""
    return done.text.splitlines()


@pytest.fixture
def named(shell: Shell) -> Shell:
    """A project with three secrets."""
    for name in ("CANARY_ONE", "CANARY_TWO", "OTHER"):
        shell.put(name)
    return shell


def test_commands_and_options_are_completed(shell: Shell) -> None:
    """The service is not called: it cannot be reached here."""
    nobody = f"http://127.0.0.1:{free_port()}"
    found = complete(shell, "co", "get --re", "completion ", "get ", GITPOD_BASE_URL=nobody)
    assert found == ["completion config copy", "--reveal", "bash zsh fish", ""]


def test_names_are_completed_in_bash(named: Shell) -> None:
    """They are those of the scope, for every command that takes a name."""
    lines = [f"{command} CAN" for command in ("get", "update", "delete", "put", "edit", "copy", "move")]
    assert complete(named, *lines, "get NONE") == ["CANARY_ONE CANARY_TWO"] * 7 + [""]
    assert complete(named, f"get --project {named.project} O", "get O", GITPOD_PROJECT_ID="") == ["OTHER", ""]


def test_the_tab_key_completes_in_bash(named: Shell) -> None:
    """On a terminal, with the printed script sourced."""
    terminal = Terminal(["bash", "--norc", "--noprofile", "-i"], on_path(named, PS1="$ ", HISTFILE=""))
    terminal.expect("$ ")
    terminal.type("source <(gitpod-secrets completion bash)\n")
    terminal.expect("$ ")
    terminal.type("gitpod-secrets get CANARY_T\t")
    terminal.expect("CANARY_TWO ")
    terminal.type("| cat\n")
    terminal.expect(VALUE)
    terminal.type("exit 0\n")
    terminal.end()


def test_the_tab_key_completes_in_zsh(named: Shell) -> None:
    """As in bash."""
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    terminal = Terminal(["zsh", "-f", "-i"], on_path(named, PS1="$ "))
    terminal.expect("$ ")
    terminal.type("autoload -U compinit; compinit -u; source <(gitpod-secrets completion zsh); echo load''ed\n")
    terminal.expect("loaded")
    terminal.type("gitpod-secrets get CANARY_T\t")
    terminal.expect("CANARY_TWO")
    terminal.type(" | cat\n")
    terminal.expect(VALUE)
    terminal.type("exit 0\n")
    terminal.end()


def test_names_are_completed_in_fish(named: Shell) -> None:
    """As in bash."""
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    script = "gitpod-secrets completion fish | source; complete -C 'gitpod-secrets get CAN'"
    done = named.run(command=["fish", "--no-config", "-c", script], **on_path(named))
    assert done.out.split() == [b"CANARY_ONE", b"CANARY_TWO"]


def ask(shell: Shell, *words: str, command: Sequence[str] = PATIENT, **changes: Any) -> Done:
    """Ask the command for completions, as bash does."""
    line: dict[str, Any] = {
        "_GITPOD_SECRETS_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["gitpod-secrets", *words]),
    }
    return shell.run(command=command, COMP_CWORD=str(len(words)), **line, **changes)


def test_errors_are_not_shown_while_completing(shell: Shell) -> None:
    """No error is printed for a failing service, wrong settings, or a wrong token."""
    bad = shell.home / "bad.toml"
    bad.write_text("x")
    peer = Peer(answer(500, VALUE.encode()))
    for changes in (
        {"GITPOD_API_KEY": "wrong"},
        {"GITPOD_API_KEY": ""},
        {"GITPOD_BASE_URL": "nonsense:"},
        {"GITPOD_PROJECT_ID": "nonsense"},
        {"GITPOD_CONFIG": str(bad)},
        {"GITPOD_BASE_URL": peer.url},
    ):
        done = ask(shell, "get", "C", **changes)
        assert (done.out, done.err) == (b"\n", "")
    assert len(peer.requests) == 1
    peer.close()


def test_a_slow_service_is_not_waited_for(shell: Shell) -> None:
    """Neither for one that does not answer, nor for one that does not accept connections."""
    peer = Peer(stall(90))
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        for url in (peer.url, f"http://127.0.0.1:{deaf.getsockname()[1]}"):
            assert ask(shell, "get", "C", command=COMMAND, GITPOD_BASE_URL=url).out == b"\n"
    peer.close()


def test_only_valid_names_are_offered(shell: Shell) -> None:
    """A faulty service must not insert anything else into the line that is being typed."""
    names = ["GOOD", "G;reboot", "G$(reboot)", "G\nH", "G*"]
    listed = ListSecretsResponse(secrets=[Secret(id="1", name=name) for name in names])
    peer = Peer(answer(200, listed.to_binary(), content_type="application/proto"))
    assert ask(shell, "get", "G", GITPOD_BASE_URL=peer.url).out == b"plain,GOOD\n"
    peer.close()


def test_an_embedded_store_is_read_if_it_exists(shell: Shell) -> None:
    """Completing neither creates a store nor runs a command for its key."""
    store: dict[str, Any] = {"GITPOD_BASE_URL": f"sqlite:///{shell.home}/own.db"}
    assert ask(shell, "get", "C", **store).out == b"\n"
    assert not (shell.home / "own.db").exists()
    shell.run("put", "CANARY_ONE", stdin=VALUE, **store)
    noted = f"command:touch {shell.home}/called"
    assert ask(shell, "get", "C", GITPOD_SECRETS_KEY=noted, **store).out == b"\n"
    assert not (shell.home / "called").exists()
    assert ask(shell, "get", "C", **store).out == b"plain,CANARY_ONE\n"


def test_an_unknown_shell_is_refused(shell: Shell) -> None:
    """The error lists the supported shells."""
    assert "'bash', 'zsh', 'fish'" in shell.run("completion", "tcsh", code=2).err
