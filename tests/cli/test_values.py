"""Where the value of a secret comes from, and that it arrives as it was."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.support.shell import VALUE, Shell

from gitpod import InvalidRequestError

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
    """What is rarely intended gets a warning."""
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
    """A file and a variable override standard input."""
    file = shell.home / "value"
    file.write_text(f"{VALUE}\n")
    shell.run("put", "FROM_FILE", "--value-file", str(file), "--trim", stdin="other")
    shell.run("put", "FROM_ENV", "--from-env", "MY_VAR", stdin="other", MY_VAR=VALUE)
    shell.run("put", "FROM_PIPE", stdin=VALUE)
    assert shell.stored() == dict.fromkeys(("FROM_FILE", "FROM_ENV", "FROM_PIPE"), VALUE)


def test_invalid_values_are_refused(shell: Shell) -> None:
    """The error names the rule, and shows no part of the value."""
    for given, message in (
        (b"\xff" + VALUE.encode(), "is not text in UTF-8"),
        (b"x" * 10241, "value: must be at most"),
        (b"", "value: must be given, and standard input is empty; create --value-file /dev/null stores an empty one"),
    ):
        assert message in shell.run("put", "NAME", stdin=given, code=2).err
    (shell.home / "value").write_bytes(VALUE.encode() + b"\xff")
    assert "is not text" in shell.run("put", "NAME", "--value-file", str(shell.home / "value"), code=2).err


def test_a_create_without_a_value_is_refused_as_by_the_sdk(shell: Shell) -> None:
    """With the same words. An empty value is stored where it is given, as by `value=""`."""
    given: Any = {"name": "NAME", "api_only": True, "project_id": shell.project}
    with shell.client() as client, pytest.raises(InvalidRequestError, match="value: must be given"):
        client.secrets.create(**given)
    assert "error: value: must be given" in shell.run("create", "NAME", code=2).err
    assert shell.stored() == {}
    assert "the value is empty" in shell.run("create", "NAME", "--value-file", "/dev/null").err
    assert shell.stored() == {"NAME": ""}


def test_a_prompt_asks_twice_and_shows_nothing(shell: Shell) -> None:
    """If the two differ, it asks again."""
    terminal = shell.on_terminal("put", "NAME")
    for prompt, typed in (("Value of NAME in ", VALUE), ("Repeat for confirmation: ", "other")):
        terminal.expect(prompt)
        terminal.type(f"{typed}\n")
    terminal.expect("do not match")
    for prompt in ("Value of NAME in ", "Repeat for confirmation: "):
        terminal.expect(prompt)
        assert VALUE not in terminal.past
        terminal.type(f"{VALUE}\n")
    shown = terminal.end()
    assert "created NAME" in shown
    assert VALUE not in shown
    assert shell.stored() == {"NAME": VALUE}


def test_ctrl_c_at_a_prompt_does_nothing(shell: Shell) -> None:
    """Nothing is stored or printed, and the status is 130."""
    terminal = shell.on_terminal("put", "NAME")
    terminal.expect("Value of NAME in ")
    terminal.type("\x03")
    assert terminal.end(130).rpartition(": ")[2].strip() == ""
    assert shell.stored() == {}
