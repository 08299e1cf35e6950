"""Files of secrets: what is read, what is refused, and that what is written survives shells and reading alike."""

import json
import re
import subprocess
from io import StringIO
from pathlib import Path
from uuid import UUID

import pytest
from dotenv import dotenv_values
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.support.service import ROOT

from gitpod import InvalidRequestError, SecretValue
from gitpod._messages.requests import create_request
from gitpod.cli.files import dotenv, json_file
from gitpod.cli.files.comments import BAD_MOUNT
from gitpod.cli.files.dotenv import MISPLACED, NOT_CLOSED
from gitpod.cli.files.entries import NAME, Entry, Invalid, Line
from gitpod.cli.files.load import load

CANARY = "canary-value-2c9e"
ODD = "'\"\\$`#=! \t\n\r\x01\x7fé€😀\u2028a"
VALUES = st.lists(st.one_of(st.text(alphabet=ODD, max_size=12), st.text(max_size=30)), min_size=1, max_size=40)
WITHOUT_NUL = VALUES.map(lambda values: [value.replace("\0", "") for value in values])
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def entries(values: list[str]) -> list[Entry]:
    return [Entry(number, f"NAME_{number}", SecretValue(value)) for number, value in enumerate(values)]


def read(text: str) -> list[tuple[int, str, str]]:
    """Return the number, name and value of each line. All of them are valid."""
    found = load(text)
    assert all(isinstance(line, Entry) for line in found)
    return [(line.number, line.name, line.value.reveal()) for line in found if isinstance(line, Entry)]


def only(text: str) -> Line:
    """Return the only line of a file."""
    (line,) = load(text)
    return line


def sourced(shell: str, file: Path, names: list[str]) -> list[str]:
    """Return the values of these variables in a shell that sourced a file."""
    script = f". {file} && printf '%s\\0' " + " ".join(f'"${name}"' for name in names)
    done = subprocess.run([shell, "-c", script], capture_output=True, check=True, timeout=30)
    assert done.stderr == b""
    return done.stdout.decode().split("\0")[:-1]


@pytest.mark.parametrize("shell", ["sh", "bash"])
@quick
@given(values=WITHOUT_NUL)
def test_a_shell_gets_what_was_written(tmp_path: Path, shell: str, values: list[str]) -> None:
    """Sourcing the file gives every value, byte for byte."""
    file, written = tmp_path / "secrets.env", entries(values)
    file.write_bytes(dotenv.dump(written).encode())
    assert sourced(shell, file, [entry.name for entry in written]) == values


@quick
@given(values=VALUES)
def test_what_was_written_is_read(values: list[str]) -> None:
    """Reading what was written gives every value, also one with a NUL."""
    assert [value for _, _, value in read(dotenv.dump(entries(values)))] == values
    assert [value for _, _, value in read(json_file.dump(entries(values)))] == values


@quick
@given(value=st.text(alphabet=ODD, max_size=12))
def test_python_dotenv_reads_what_was_written(value: str) -> None:
    """python-dotenv reads the same, except for a dollar or backtick together with a quote or backslash."""
    assume(not (set(value) & {"$", "`"} and set(value) & {"'", "\\"}))
    text = dotenv.dump(entries([value]))
    assert dotenv_values(stream=StringIO(text), interpolate=False) == {"NAME_0": value}


def test_a_long_value_survives(tmp_path: Path) -> None:
    """It has the contract's maximal length, and only characters that need quotes."""
    values = [("'\\$" * 4000)[:10_240], ("\\\n" * 6000)[:10_240], "'" * 10_240]
    file = tmp_path / "secrets.env"
    file.write_text(text := dotenv.dump(entries(values)))
    assert sourced("sh", file, ["NAME_0", "NAME_1", "NAME_2"]) == values
    assert [value for _, _, value in read(text)] == values


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("name", ["1ST_KEY", "RANDOM", "UID", "OPTIND", "BASH_ARGV"])
def test_a_secret_that_no_shell_can_have_does_not_break_the_file(tmp_path: Path, shell: str, name: str) -> None:
    """It is written as a comment, which shells skip and `load` reads."""
    mount = {"file_path": "/etc/key"}
    written = [Entry(1, name, SecretValue(f"{CANARY}\n$(id)\0é"), mount), Entry(2, "NEXT", SecretValue("x"))]
    file = tmp_path / "secrets.env"
    file.write_text(text := dotenv.dump(written))
    assert sourced(shell, file, ["NEXT"]) == ["x"]
    assert [(line.name, line.value, line.mount) for line in load(text) if isinstance(line, Entry)] == [
        (entry.name, entry.value, entry.mount) for entry in written
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NAME=value", [(1, "NAME", "value")]),
        ("\ufeffNAME=value\r\nNEXT='a'\r\n", [(1, "NAME", "value"), (2, "NEXT", "a")]),
        ("# note\n\n  export NAME = value # note\n", [(3, "NAME", "value")]),
        ("NAME='$HOME ${HOME}'", [(1, "NAME", "$HOME ${HOME}")]),
        ('NAME="a\\n\\"b\nc"\nNEXT=', [(1, "NAME", 'a\n"b\nc'), (3, "NEXT", "")]),
        ("NAME='a\r\nb'\r\nNEXT=b", [(1, "NAME", "a\r\nb"), (3, "NEXT", "b")]),
        ('\n# gitpod-secret: 1ST "a\\u0000"\n', [(2, "1ST", "a\0")]),
        ("NAME=''\"'\"'$a'\n\nNEXT='b'", [(1, "NAME", "'$a"), (3, "NEXT", "b")]),
        ('{"NAME": "a", "NEXT": ""}', [(1, "NAME", "a"), (2, "NEXT", "")]),
        ('\n[{"name": "NAME", "value": "a"}]', [(1, "NAME", "a")]),
        ("", []),
        ("# note\n", []),
    ],
)
def test_valid_files_are_read(text: str, expected: list[tuple[int, str, str]]) -> None:
    """Each secret has the number of its line."""
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("# mount: env\nNAME=a", {"environment_variable": True}),
        ("# mount: file /a b/c\nNAME=a", {"file_path": "/a b/c"}),
        ('# mount: file "/a\\rb "\r\nexport NAME=a', {"file_path": "/a\rb "}),
        ("# mount: registry https://host\n1ST=a", {"container_registry_basic_auth_host": "https://host"}),
        ("# mount: api-only\nNAME=''\"'\"'$'", {"api_only": True}),
        ('[{"name": "NAME", "value": "a", "filePath": "/a", "apiOnly": false}]', {"file_path": "/a"}),
        ('[{"name": "NAME", "value": "a", "apiOnly": true, "filePath": null}]', {"api_only": True}),
        ('[{"name": "NAME", "value": "a", "apiOnly": true, "environmentVariable": false}]', {"api_only": True}),
    ],
)
def test_mounts_are_read_and_written(text: str, mount: dict[str, object]) -> None:
    """Dotenv has them in a comment above the secret, JSON in a field."""
    line = only(text)
    assert isinstance(line, Entry)
    assert line.mount == mount
    for dump in (dotenv.dump, json_file.dump):
        again = only(dump([line]))
        assert isinstance(again, Entry)
        assert (again.mount, again.value) == (mount, line.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"NAME {CANARY}", Invalid(1, "is not NAME=value")),
        (f"={CANARY}", Invalid(1, "is not NAME=value")),
        (f"\n'a' b{CANARY}=x", Invalid(2, "is not NAME=value")),
        (f"{CANARY}\n", Invalid(1, "has no =")),
        (f"{CANARY}=a", Invalid(1, "the name must be 3 to 127 letters, digits and underscores")),
        (f'NAME="{CANARY}\nMIIE=\nNEXT=x', Invalid(1, NOT_CLOSED)),
        (f"NAME=-----BEGIN KEY-----\n{CANARY}=\nMIIE=\n", Invalid(1, NOT_CLOSED)),
        (f"# mount: {CANARY}\nNAME=a", Invalid(2, BAD_MOUNT, "NAME")),
        ('# mount: file "/a\nNAME=a', Invalid(2, BAD_MOUNT, "NAME")),
        ("# mount: file\nNAME=a", Invalid(2, BAD_MOUNT, "NAME")),
        ("# mount: file /a\n\nNAME=a", Invalid(3, MISPLACED, "NAME")),
        ("# mount: file /a\n# note\nNAME=a", Invalid(3, MISPLACED, "NAME")),
        ("\r\n# mount: file /a\r\n", Invalid(2, MISPLACED)),
        (f'# gitpod-secret: NAME "{CANARY}\\x"', Invalid(1, "the value is not a string of JSON")),
        (f'{{\n"NAME": "{CANARY}"', Invalid(2, "is not valid JSON")),
        (f'["{CANARY}"]', Invalid(1, "is not an object")),
        ('{"NAME": 1}', Invalid(1, "name and value must be strings", "NAME")),
        (f'[{{"name": "NAME", "value": ["{CANARY}"]}}]', Invalid(1, "name and value must be strings", "NAME")),
        (
            f'[{{"name": "NAME", "value": "{CANARY}", "environmentVariable": false}}]',
            Invalid(1, "environmentVariable is false, and there is no other mount", "NAME"),
        ),
        ("[" * 100_000, Invalid(1, "is not valid JSON")),
    ],
)
def test_invalid_lines_are_refused(text: str, expected: Invalid) -> None:
    """The result has the line's number and the rule, never its text."""
    assert only(text) == expected


def test_an_invalid_line_costs_no_other() -> None:
    """The lines after it are read, with the right numbers, also with CRLF."""
    found = load("ONE=1\r\n'x' y\r\nTWO=2\r\nONE=3\r\n# mount: no\r\nSIX=6\r\nTHREE=3")
    assert [(line.number, line.name, isinstance(line, Entry)) for line in found] == [
        *[(1, "ONE", True), (2, "", False), (3, "TWO", True), (4, "ONE", False), (6, "SIX", False), (7, "THREE", True)],
    ]


def test_an_unknown_field_is_refused() -> None:
    """It could be a misspelt mount. The rule lists the known fields."""
    line = only(json.dumps([{"name": "NAME", "value": "a", f"{CANARY}": "/a"}]))
    assert isinstance(line, Invalid)
    assert "filePath" in line.rule
    assert CANARY not in repr(line)


def test_no_repr_shows_a_value() -> None:
    """Neither that of a valid line nor that of an invalid one."""
    assert CANARY not in repr(load(f"NAME={CANARY}\nNAME={CANARY}\n{CANARY}\n{CANARY}={CANARY}"))


def test_the_documented_files_are_read() -> None:
    """The examples of docs/cli/files.md have every mount, and both formats give the same."""
    blocks = re.findall(r"```(dotenv|json)\n(.*?)```", (ROOT / "docs/cli/files.md").read_text(), flags=re.DOTALL)
    found = [line for _, text in blocks for line in load(text)]
    assert [line.name for line in found] == [*(names := names_of(found[:4])), "2FA_SEED", *names]
    assert names == ["DATABASE_URL", "SSH_KEY", "REGISTRY_LOGIN", "ROBOT_TOKEN"]
    assert [getattr(line, "mount", None) for line in found[:4]] == [getattr(line, "mount", 0) for line in found[5:]]


def names_of(lines: list[Line]) -> list[str]:
    return [line.name for line in lines]


@quick
@given(name=st.text(alphabet="aZ09_-. é\n", max_size=5) | st.sampled_from(["A" * 127, "A" * 128, "", "AB", "ABC"]))
def test_a_name_is_what_the_contract_accepts(name: str) -> None:
    """The command's pattern and the contract's rules agree."""
    try:
        create_request({"name": name, "value": "a", "api_only": True, "scope": {"project_id": str(UUID(int=1))}})
    except InvalidRequestError:
        assert not NAME.fullmatch(name)
    else:
        assert NAME.fullmatch(name)
