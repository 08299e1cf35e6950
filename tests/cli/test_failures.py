"""How the command fails: its exit statuses, what it says, and what it never shows."""

import uuid
from pathlib import Path

import pytest
from tests.support.peer import Peer, answer, free_port, hang_up, in_turn
from tests.support.service import TOKEN, Service, role_token
from tests.support.shell import VALUE, Shell


def test_a_caller_without_permission_is_told(shell: Shell, service: Service) -> None:
    """The status is 3, a hint says what to do, and no token is shown."""
    shell.put("NAME")
    reader = role_token(service, "environment", shell.project)
    assert shell.run("get", "NAME", GITPOD_API_KEY=reader).out == VALUE.encode()
    for arguments, token, hint in (
        (["put", "NAME"], reader, "use a token whose role and projects allow it"),
        (["list"], "a-wrong-token-for-tests", "GITPOD_API_KEY: must be a token that the service knows; it counts more"),
        (["list"], "", "gitpod-secrets login keeps one, or set GITPOD_API_KEY"),
    ):
        err = shell.run(*arguments, stdin=VALUE, code=3, GITPOD_API_KEY=token).err
        error, told = err.splitlines()
        assert error.startswith("gitpod-secrets: error: ")
        assert told.startswith(f"gitpod-secrets: hint: {hint}")
        assert not token or token not in err


def test_not_found_and_conflict_have_their_own_statuses(shell: Shell) -> None:
    """A missing secret and a taken name have exit statuses of their own."""
    shell.put("NAME")
    assert "hint: gitpod-secrets list shows the secrets" in shell.run("get", str(uuid.uuid4()), code=4).err
    assert "error: there is no secret NO_NAME" in shell.run("get", "NO_NAME", code=4).err
    assert "hint: put updates the value" in shell.run("create", "NAME", stdin=VALUE, code=5).err


def test_a_service_that_cannot_be_reached(shell: Shell) -> None:
    """The status is 6. If the outcome is unknown, the hint says how to find it out."""
    nobody = f"http://127.0.0.1:{free_port()}"
    assert "hint: gitpod-secrets config shows" in shell.run("list", code=6, GITPOD_BASE_URL=nobody).err
    peer = Peer(hang_up)
    identity = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
    for command, hint in {
        ("create", "NAME"): "run it again with put",
        ("update", identity): "run it again with the same value; before you store another, wait some minutes",
        ("delete", identity, "--yes"): "it may also be deleted later",
        ("list",): "gitpod-secrets list shows the secrets",
    }.items():
        assert f"hint: {hint}" in shell.run(*command, stdin=VALUE, code=6, GITPOD_BASE_URL=peer.url).err
    assert VALUE.encode() in peer.requests[0]
    peer.close()


@pytest.mark.slow
def test_an_import_with_an_unknown_outcome(shell: Shell) -> None:
    """The second hint says that the change may still be made."""
    peer = Peer(in_turn(answer(200, content_type="application/proto"), hang_up))
    done = shell.run("import", "-", "--yes", stdin=f"NAME_ONE={VALUE}\n", code=6, GITPOD_BASE_URL=peer.url)
    assert "create\tunknown\t" in done.text
    assert "hint: what is unknown may also be done later; run it again before you change a value" in done.err
    peer.close()


QUOTING = {
    "refused": (answer(400, f'{{"code": "invalid_argument", "message": "{VALUE} {TOKEN}"}}'.encode()), 2),
    "garbled": (answer(200, VALUE.encode(), content_type="application/proto"), 6),
    "broken": (hang_up, 6),
}


@pytest.mark.parametrize("fault", QUOTING)
def test_debug_shows_where_and_no_value(shell: Shell, fault: str) -> None:
    """Not even if the service quotes the value and the token in its error."""
    script, code = QUOTING[fault]
    peer = Peer(script)
    process = shell.start("--debug", "create", "NAME", GITPOD_BASE_URL=peer.url)
    out, err = process.communicate(VALUE.encode(), timeout=60)
    peer.close()
    assert (process.returncode, out) == (code, b"")
    assert b"File " in err
    assert VALUE.encode() not in err
    assert TOKEN.encode() not in err


def test_broken_streams_are_failures(shell: Shell) -> None:
    """A full disk, closed streams and an empty pipe are failures without a traceback."""
    shell.put("NAME")
    scripts = {
        '"$@" get NAME >/dev/full': 1,
        '"$@" get NAME >&-': 2,
        '"$@" create OTHER <&-': 2,
        'false | "$@" create OTHER': 2,
    }
    for script, code in scripts.items():
        shell.script(script, code)


def test_the_value_is_in_no_argument_list_and_no_log(shell: Shell, service: Service) -> None:
    """Neither the arguments, nor the output, nor the service's log has it."""
    process = shell.start("--debug", "put", "NAME")
    assert process.stdin
    process.stdin.write(VALUE.encode())
    process.stdin.flush()
    shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert VALUE.encode() not in shown + out + err + service.log.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["completion"], "missing argument 'SHELL'; choose from: bash, zsh, fish"),
        (["completion", VALUE], "invalid value for 'SHELL': is not one of 'bash', 'zsh', 'fish'"),
        (["list", "--sort", VALUE], "invalid value for '--sort': is not one of 'name', 'created', 'updated'"),
        (["import", "x", "--concurrency", VALUE], "invalid value for '--concurrency': is not a valid integer range"),
        (["get", "NAME", "--revael"], "no such option '--revael'; did you mean '--reveal'?"),
        (["dlete", "NAME"], "there is no such command; did you mean 'delete'?"),
        (["token", "'\\\"." + VALUE], "there is no such command"),
        ([VALUE], "there is no such command"),
        (["get"], "missing argument 'NAME|ID'"),
        (["put", "NAME", "--value-file", "/no/such"], "--value-file: /no/such: No such file or directory"),
        (["import", "no.env", "--yes"], "no.env: No such file or directory"),
    ],
)
def test_a_mistake_is_one_line(shell: Shell, arguments: list[str], message: str) -> None:
    """It says what is allowed, or names the file that is missing. What was given is not repeated."""
    error, hint = shell.run(*arguments, code=2).err.splitlines()
    assert error == f"gitpod-secrets: error: {message}"
    assert hint.startswith("gitpod-secrets: hint: gitpod-secrets ")


COLORED = {
    "error: ": (["get", "NAME"], 2, "\x1b[31m\x1b[1m"),
    "hint: ": (["get", "NAME"], 2, "\x1b[36m"),
    "warning: ": (["put", "NAME", "--value-file", "/dev/null"], 2, "\x1b[33m"),
}


@pytest.mark.parametrize("word", COLORED)
def test_the_kind_of_a_message_has_a_colour(shell: Shell, word: str) -> None:
    """On a terminal, unless `NO_COLOR` is set or the terminal knows no colours."""
    arguments, code, color = COLORED[word]
    assert f"{color}{word.strip()}\x1b[0m" in shell.on_terminal(*arguments, NO_COLOR="").end(code)
    for changes in ({"NO_COLOR": "1"}, {"NO_COLOR": "", "TERM": "dumb"}):
        shown = shell.on_terminal(*arguments, **changes).end(code)
        assert word in shown
        assert "\x1b" not in shown
