"""What real shells take and read, and that the command knows it."""

import re
import shutil
import subprocess
from io import StringIO
from pathlib import Path

import pytest
from dotenv.parser import parse_stream
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from gitpod import SecretValue
from gitpod.cli.files.dotenv import BACKTICK, BEHIND_QUOTE, NOT_CLOSED
from gitpod.cli.files.entries import Entry, Invalid
from gitpod.cli.files.load import load, warnings
from gitpod.cli.files.shells import OWN_VARIABLES, is_for_shells

OF_OTHER_VERSIONS = {"BASH_MONOSECONDS", "BASH_REMATCH"}
"""Own variables of bash 5.3, or read-only ones until bash 5.0."""
PROBE = r"""
while read -r name; do
  printf "%s='a \$b'\nNEXT='x'\n" "$name" > file
  (set -a; . ./file; /usr/bin/env -0; printf '%s=%s\0' "$name" "$(eval 'printf %s "$'"$name"'"')") > out 2> err
  if [ "$(/usr/bin/tr '\0' '\n' < out | /usr/bin/grep -cxF "$name=a \$b")" != 2 ] ||
     ! /usr/bin/grep -qzxF NEXT=x out || /usr/bin/grep -qF 'a $b' err; then printf '%s\n' "$name"; fi
done
"""
WHOLE = ["'a$'", "'\n'", "'C:\\d'", "''", '"b"', '"\'"', '"\\\\\\""', '"\\$"', "\\'", '\\"', "\\\\"]
"""Pieces that are read. Between them may stand what is not."""
PIECES = st.lists(st.sampled_from([*WHOLE, *WHOLE, *WHOLE, "c", "$", " ", "#", "'", '"', "\\"]), min_size=1, max_size=6)
quick = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much, HealthCheck.too_slow],
)


def entry(name: str) -> Entry:
    return Entry(1, name, SecretValue("x"))


def value_in(shell: str, folder: Path) -> str:
    """The value that a shell has after it sourced the file of a folder."""
    script = '. ./file; printf %s "$NAME"'
    return subprocess.run(
        [shell, "-c", script], capture_output=True, check=True, cwd=folder, timeout=60
    ).stdout.decode()


def named_in(shell: str) -> set[str]:
    """The words of a shell's program that may be names of variables, and those that the command knows.

    Without locales: bash takes them, and warns of one that the system does not have.
    """
    program = Path(shutil.which(shell) or "").resolve().read_bytes()
    words = {word.decode() for word in re.findall(rb"(?<=\0)[A-Za-z_][0-9A-Za-z_]{2,40}(?=\0)", program)}
    return (
        {word for word in words if word.isupper() and word[:3] != "LC_"}
        | OWN_VARIABLES
        | {"BASHHUB_TOKEN", "BASH_SECRET", "BASH_ENV"}
    )


def refused_by(shell: str, names: set[str], folder: Path) -> set[str]:
    """The names of which the shell, or a program that it starts, does not get the value; or whose error shows it."""
    done = subprocess.run(
        [shell, "-c", PROBE], input="".join(f"{name}\n" for name in sorted(names)), capture_output=True, text=True,
        check=True, cwd=folder, timeout=240,
    )  # fmt: skip
    return set(done.stdout.split())


@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_only_a_shells_own_variables_are_not_for_it(tmp_path: Path, shell: str) -> None:
    """Every word of the shell's program is tried: of those in capitals, it refuses the ones that are known."""
    names = named_in(shell)
    assert len(names) > 50
    refused = refused_by(shell, names, tmp_path)
    assert refused <= OWN_VARIABLES
    assert refused >= (OWN_VARIABLES - OF_OTHER_VERSIONS if shell == "bash" else {"OPTIND"})


@pytest.mark.parametrize(
    "name", ["BASHHUB_TOKEN", "BASH_SECRET", "BASHED", "UIDS", "RANDOM_SEED", "GROUPS_API", "_KEY"]
)
def test_other_names_are_for_shells(name: str) -> None:
    """Also one that begins as a variable of bash does."""
    assert is_for_shells(entry(name))


@pytest.mark.skipif(not shutil.which("zsh"), reason="there is no zsh")
def test_zsh_takes_what_bash_takes(tmp_path: Path) -> None:
    """Names that begin as a variable of bash does."""
    assert refused_by("zsh", {"BASHHUB_TOKEN", "BASH_SECRET", "DATABASE_URL"}, tmp_path) == set()


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (r"NAME='it'\''s'", "it's"),
        (r"export NAME='it'\''s' # c", "it's"),
        (r"""NAME='it'"'"'s'""", "it's"),
        ('NAME="say "\'"x"\'', 'say "x"'),
        (r"""NAME="a"\$'b'""", "a$b"),
        (r"""NAME='$x'"\$\`\"\\" """, '$x$`"\\'),
        ("NAME='a'\\''b\nc'", "a'b\nc"),
        (r"NAME='C:\dir'\''s'", r"C:\dir's"),
    ],
)  # fmt: skip
def test_joined_pieces_are_read_as_shells_read_them(tmp_path: Path, line: str, value: str) -> None:
    """bash, dash and the command have the same value."""
    [found] = load(line)
    assert isinstance(found, Entry)
    assert found.value.reveal() == value
    (tmp_path / "file").write_text(f"{line}\n")
    for shell in ("bash", "dash"):
        done = subprocess.run(
            [shell, "-c", '. ./file; printf %s "$NAME"'], capture_output=True, check=True, cwd=tmp_path
        )
        assert done.stdout.decode() == value


@quick
@given(pieces=PIECES)
@example(pieces=["'\n'", '"b"', "'", "'\n'"])
def test_no_joined_value_is_another_one_in_a_shell(tmp_path: Path, pieces: list[str]) -> None:
    """Whatever the pieces: if the command reads them and python-dotenv does not, bash reads the same."""
    text = f"NAME='x'\\'{''.join(pieces)}\n"
    assume(next(parse_stream(StringIO(text))).error)
    found = load(text)
    assume(isinstance(found[0], Entry))
    # Without what follows the value, which bash may not read.
    end = found[1].number - 1 if len(found) > 1 else None
    (tmp_path / "file").write_text("".join(text.splitlines(keepends=True)[:end]))
    assert isinstance(found[0], Entry)
    assert value_in("bash", tmp_path) == found[0].value.reveal()


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("NAME='don't'\nTWO='x'", [NOT_CLOSED]),
        ("NAME='it's", [BEHIND_QUOTE]),
        ("NAME='a'b'c\nMULTI=line'", [NOT_CLOSED]),
        ('NAME="a"b', [BEHIND_QUOTE]),
        ("NAME='it'\\''s\nMULTI=line", [NOT_CLOSED]),
        ("NAME='it\\'s\nMULTI=line", [NOT_CLOSED]),
        ("NAME='a''b'", [BEHIND_QUOTE]),
        ("NAME='a' b", [BEHIND_QUOTE]),
        ("NAME='a'\"$HOME\"", [BEHIND_QUOTE]),
        ("NAME='a'$HOME", [BEHIND_QUOTE]),
        ("NAME='a'~/b", [BEHIND_QUOTE]),
        ("NAME=`a`", [BACKTICK]),
        ("NAME=`a", [NOT_CLOSED]),
        ("export NAME = `one\nTWO=two\nthree` # c", [BACKTICK]),
        ("NAME=`one\nTWO=two\nTHREE=three", [NOT_CLOSED]),
    ],
)
def test_what_is_not_clear_is_refused(text: str, rules: list[str]) -> None:
    """As one thing: no line of it becomes a secret of its own."""
    assert [line.rule for line in load(text) if isinstance(line, Invalid)] == rules
    assert len(load(text)) == len(rules)
    assert load(text)[0].name in ("", "NAME")


def test_the_line_after_a_value_in_backticks_is_read() -> None:
    """It has its own number."""
    [_, line] = load("NAME=`one\r\nTWO=two\r\nthree`\r\nNEXT=v\r\n")
    assert isinstance(line, Entry)
    assert (line.number, line.name) == (4, "NEXT")


@pytest.mark.parametrize(
    "value", ["${NAME}", "a${x:-b}c", "$(id)", "$HOME/bin", '"${NAME}"', '"\\$HOME"', "a`id`b", '"a\n$(id)"', "x$A_B2"]
)
def test_what_other_programs_expand_is_named(value: str) -> None:
    """Outside of single quotes; the value is stored as it stands."""
    [warning] = warnings(load(f"ONE=1\n\nNAME={value}\nLAST=x"))
    assert warning.startswith("line 3: $NAME, ")


@pytest.mark.parametrize(
    "value", ["'${NAME}'", "pa$$word", "a$b", "$1", "$9x$", "100$", "$Abc", "$ABc", "a`b", "$", "'a'\\$B"]
)
def test_a_dollar_alone_is_not_worth_a_warning(value: str) -> None:
    """Passwords have it, and single quotes say that it is meant."""
    assert list(warnings(load(f"NAME={value}"))) == []


def test_a_warning_names_at_most_ten_lines() -> None:
    """Then it says how many more there are."""
    text = "".join(f"NAME_{number}=${{X}}\n" for number in range(12))
    assert [each.partition(":")[0] for each in warnings(load(text))] == [
        "lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more"
    ]
