"""`gitpod-secrets edit`, on a terminal, with real editors and with scripts in their place."""

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from tests.cli.test_run_files import until_empty
from tests.support.service import TOKEN, Service
from tests.support.shell import COMMAND, SECONDS, VALUE, Shell, Terminal

FAULTY = """
import sys
from gitpod.cli import client, main
from gitpod.testing import FaultPlan
plan = FaultPlan().add(sys.argv.pop(1), "UpdateSecretValue", retry_after="0", times=3)
make = client.make_client
client.make_client = lambda *given, **options: plan.aim(make(*given, **options))
main()
"""
"""The command, whose first update and its two retries meet a fault."""
KEEPS_COPIES = """
set backup undofile swapfile viminfo='100,<50,s10,h
set backupdir=~/.copies undodir=~/.copies directory=~/.copies
"""
"""Settings of vi that keep copies of a file, and of what was deleted in it, in the home folder."""


@pytest.fixture
def edited(shell: Shell, lent: Path) -> Shell:
    """A project with the secret MY_NAME; private folders are made in `lent`, which is empty at the end."""
    shell.put("MY_NAME")
    shell.variables |= {"XDG_RUNTIME_DIR": str(lent), "VISUAL": "", "EDITOR": "false"}
    return shell


def by(shell: Shell, script: str) -> Shell:
    """The shell, in which the editor is a script; the file is its `$1`."""
    path = shell.home / "an editor"
    path.write_text(script)
    shell.variables["EDITOR"] = f"sh '{path}'"
    return shell


def updates(service: Service) -> int:
    """How many updates the service has logged."""
    return service.log.read_text().count("UpdateSecretValue")


@pytest.mark.parametrize(
    ("script", "stored"),
    [
        ('sed -i s/canary/dog/ "$1"', "dog-value-5e0c"),
        ('printf "two\\nlines" > "$1"', "two\nlines"),
        ('printf "é\\0\\r" > "$1"', "é\0\r"),
        ('printf new > "$1.new"; mv "$1.new" "$1"', "new"),
        ("printf '%s\\n' 's/canary/dog/' w q | ed -s \"$1\"", "dog-value-5e0c"),
        ('echo >> "$1"; echo >> "$1"', f"{VALUE}\n"),
    ],
    ids=["sed", "lines", "characters", "another file", "ed", "a line break on purpose"],
)
def test_the_edited_value_is_stored(edited: Shell, lent: Path, script: str, stored: str) -> None:
    """It is stored as it is in the file. Nothing is left of the file."""
    shown = by(edited, script).on_terminal("edit", "MY_NAME").end()
    assert "gitpod-secrets: updated MY_NAME" in shown
    assert edited.stored() == {"MY_NAME": stored}
    assert list(lent.iterdir()) == []


@pytest.mark.skipif(shutil.which("vi") is None, reason="there is no vi")
@pytest.mark.parametrize("editor", ["vi", "env TZ=UTC vi"])
@pytest.mark.parametrize("keys", ["Adog\x1b:wq\r", "ccdog\x1b:wq\r"], ids=["added", "replaced"])
def test_vi_keeps_no_copy(edited: Shell, lent: Path, keys: str, editor: str) -> None:
    """Whatever the user's settings. The line break that vi adds at the end is not stored."""
    (edited.home / ".copies").mkdir()
    (edited.home / ".vimrc").write_text(KEEPS_COPIES)
    terminal = edited.on_terminal("edit", "MY_NAME", EDITOR=editor, TERM="vt100")
    terminal.expect(VALUE)
    terminal.type(keys)
    assert "updated MY_NAME, without the line break that the editor added" in terminal.end()
    assert edited.stored() == {"MY_NAME": VALUE + "dog" if keys[0] == "A" else "dog"}
    files = [each for each in edited.home.rglob("*") if each.is_file()]
    assert [each for each in files if VALUE.encode() in each.read_bytes()] == []
    assert list(lent.iterdir()) == list((edited.home / ".copies").iterdir()) == []


@pytest.mark.parametrize("script", ["true", 'touch "$1"', 'echo >> "$1"', 'printf "w\\nq\\n" | ed -s "$1"'])
def test_an_unchanged_value_is_not_sent(edited: Shell, service: Service, script: str) -> None:
    """A line break at the end is no change if the value had none."""
    before = updates(service)
    shown = by(edited, script).on_terminal("edit", "MY_NAME").end()
    assert "gitpod-secrets: MY_NAME is unchanged; nothing is sent\n" in shown
    assert updates(service) == before


@pytest.mark.parametrize(("script", "how"), [("exit 3", "with status 3"), ("kill -9 $$", "by signal 9")])
def test_nothing_is_sent_when_the_editor_fails(edited: Shell, service: Service, script: str, how: str) -> None:
    """As after `:cq` in vi."""
    before = updates(service)
    shown = by(edited, f'echo other > "$1"; {script}').on_terminal("edit", "MY_NAME").end(1)
    assert f"error: the editor ended {how}; nothing is sent" in shown
    assert updates(service) == before


REFUSED = {
    ': > "$1"': "the value is empty, and an update cannot set an empty one",
    'echo > "$1"': "the value is empty, and an update cannot set an empty one",
    "printf '\\377' > \"$1\"": "the text is not UTF-8",
    'rm "$1"': "the file cannot be read after the edit: No such file",
    'head -c 2000000 /dev/zero > "$1"': "the file is larger than 1048576 bytes",
    'head -c 20000 /dev/zero | tr "\\0" x > "$1"': "value: must be at most 10240 characters",
}


@pytest.mark.parametrize("script", REFUSED)
def test_a_text_that_cannot_be_stored_can_be_edited_again(edited: Shell, service: Service, script: str) -> None:
    """Without that, the user is told that the text is lost."""
    before = updates(service)
    once = f'if [ -e "$0.again" ]; then echo better > "$1"; else {script}; fi'
    terminal = by(edited, once).on_terminal("edit", "MY_NAME")
    terminal.expect("Edit again? Otherwise your text is lost. [y/N]: ")
    assert REFUSED[script] in terminal.past
    terminal.type("n\n")
    assert "error: your text is not kept" in terminal.end(2)
    assert updates(service) == before
    terminal = edited.on_terminal("edit", "MY_NAME")
    terminal.expect("[y/N]: ")
    (edited.home / "an editor.again").touch()
    terminal.type("y\n")
    terminal.end()
    assert edited.stored() == {"MY_NAME": "better"}


@pytest.mark.parametrize("kind", ["refuse", "drop_after_commit", "status", "garbage"])
def test_a_text_is_not_lost_when_the_call_fails(edited: Shell, kind: str) -> None:
    """The editor shows it again, and it is sent even if it stays as it is."""
    by(edited, 'grep -q other "$1" || printf other > "$1"')
    terminal = Terminal([sys.executable, "-c", FAULTY, kind, "edit", "MY_NAME"], edited.environment())
    terminal.expect("Edit again?")
    assert "gitpod-secrets: error: " in terminal.past
    terminal.type("y\n")
    assert "updated MY_NAME" in terminal.end()
    assert edited.stored() == {"MY_NAME": "other"}


def test_a_return_to_the_old_value_is_sent_when_the_new_one_may_be_stored(edited: Shell) -> None:
    """The answer to the update was lost, and the service has the new value."""
    by(edited, f'if grep -q other "$1"; then printf {VALUE} > "$1"; else printf other > "$1"; fi')
    program = [sys.executable, "-c", FAULTY, "drop_after_commit", "edit", "MY_NAME"]
    terminal = Terminal(program, edited.environment())
    terminal.expect("Edit again?")
    assert edited.stored() == {"MY_NAME": "other"}
    terminal.type("y\n")
    assert "updated MY_NAME" in terminal.end()
    assert edited.stored() == {"MY_NAME": VALUE}


@pytest.mark.parametrize(("answer", "code", "value"), [("y", 0, "mine"), ("n", 5, "theirs")])
def test_a_value_that_changed_meanwhile_is_not_overwritten_unasked(
    edited: Shell, answer: str, code: int, value: str
) -> None:
    """The service is asked again after the edit."""
    by(edited, 'echo begun; while [ ! -e "$0.go" ]; do sleep 0.05; done; printf mine > "$1"')
    terminal = edited.on_terminal("edit", "MY_NAME")
    terminal.expect("begun")
    edited.put("MY_NAME", "theirs")
    (edited.home / "an editor.go").touch()
    where = f"project {edited.project[:8]}… at {edited.url}"
    terminal.expect(f"MY_NAME got another value while you edited it. Overwrite that in {where}? [y/N]: ")
    terminal.type(f"{answer}\n")
    if code:
        terminal.expect("Edit again?")
        terminal.type("n\n")
    terminal.end(code)
    assert edited.stored() == {"MY_NAME": value}


def test_a_secret_that_was_deleted_meanwhile_is_said(edited: Shell) -> None:
    """It is not created again."""
    by(edited, 'echo begun; while [ ! -e "$0.go" ]; do sleep 0.05; done; printf mine > "$1"')
    terminal = edited.on_terminal("edit", "MY_NAME")
    terminal.expect("begun")
    edited.run("delete", "--yes", "MY_NAME")
    (edited.home / "an editor.go").touch()
    terminal.expect("Edit again?")
    assert "error: not_found" in terminal.past
    terminal.type("n\n")
    terminal.end(4)
    assert edited.stored() == {}


def test_no_editor_starts_before_the_checks(edited: Shell, lent: Path) -> None:
    """The secret must exist, and there must be a terminal."""
    by(edited, 'echo started; echo new > "$1"')
    shown = edited.on_terminal("edit", "NO_SUCH").end(4)
    assert "hint: gitpod-secrets create stores a new secret" in shown
    assert "started" not in shown
    done = edited.run("edit", "MY_NAME", code=2)
    assert done.err.splitlines()[0] == "gitpod-secrets: error: edit needs a terminal"
    assert (done.out, edited.stored()) == (b"", {"MY_NAME": VALUE})
    assert list(lent.iterdir()) == []


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"VISUAL": "no-such-editor --wait"}, "VISUAL: there is no such command"),
        ({"EDITOR": "vi 'x"}, "EDITOR: has a quote that is not closed"),
        ({"EDITOR": "''"}, "EDITOR: there is no such command"),
        ({"EDITOR": "", "PATH": "/nowhere"}, "VISUAL and EDITOR are not set, and there is no vi"),
    ],
)
def test_an_editor_that_is_not_there_is_said(edited: Shell, variables: dict[str, str], message: str) -> None:
    """Before a value is read."""
    changes = [f"{name}={each}" for name, each in variables.items()]
    terminal = Terminal(["env", *changes, *COMMAND, "edit", "MY_NAME"], edited.environment())
    assert message in terminal.end(2)


def test_the_editor_gets_no_token_and_a_private_file(edited: Shell) -> None:
    """VISUAL comes before EDITOR; it may have options. The file is named after the secret."""
    script = edited.home / "script"
    script.write_text('test "$1" = --wait; shift; env > "$0.env"; stat -c %a "$1" "$(dirname "$1")"; basename "$1"')
    shown = edited.on_terminal("edit", "MY_NAME", VISUAL=f"sh '{script}' --wait", EDITOR="no-such").end()
    assert shown.splitlines()[:3] == ["600", "700", "MY_NAME"]
    assert TOKEN not in (edited.home / "script.env").read_text()


@pytest.mark.parametrize("ending", ["kill -9 $$", "kill -6 $$", "exit 137"])
def test_an_editor_that_is_killed_leaves_the_terminal_as_it_was(edited: Shell, ending: str) -> None:
    """Not in the mode of an editor, in which a shell shows no typed character."""
    by(edited, f"stty raw -echo; {ending}")
    line = 'modes=$(stty -g); "$0" "$@"; test "$modes" = "$(stty -g)" && echo "the modes are the same"'
    terminal = Terminal(["sh", "-c", line, *COMMAND, "edit", "MY_NAME"], edited.environment())
    assert "the modes are the same" in terminal.end()


def test_no_core_dump_has_the_value(edited: Shell) -> None:
    """Neither of the command nor of the editor: a limit of one byte."""
    by(edited, "grep core /proc/$$/limits /proc/$PPID/limits")
    line = 'ulimit -S -c "$(ulimit -H -c)"; "$0" "$@"'
    shown = Terminal(["sh", "-c", line, *COMMAND, "edit", "MY_NAME"], edited.environment()).end()
    assert {row.split()[-3] for row in shown.splitlines() if "core file size" in row} <= {"0", "1"}


def test_ctrl_c_is_for_the_editor(edited: Shell) -> None:
    """gitpod-secrets waits for the editor, which may go on."""
    by(edited, "trap 'printf caught > \"$1\"; exit 0' INT; echo begun; while :; do sleep 0.05; done")
    terminal = edited.on_terminal("edit", "MY_NAME")
    terminal.expect("begun")
    terminal.type("\x03")
    assert "updated MY_NAME" in terminal.end()
    assert edited.stored() == {"MY_NAME": "caught"}


def test_ctrl_c_at_the_question_leaves_nothing(edited: Shell, lent: Path) -> None:
    """The text is not kept, and the value stays."""
    terminal = by(edited, ': > "$1"').on_terminal("edit", "MY_NAME")
    terminal.expect("Edit again?")
    assert [each.name for each in lent.glob("*/*")] == ["MY_NAME"]
    terminal.type("\x03")
    terminal.end(130)
    assert (list(lent.iterdir()), edited.stored()) == ([], {"MY_NAME": VALUE})


KILLS = [
    ("the command", signal.SIGKILL),
    ("the command", signal.SIGTERM),
    ("the command", signal.SIGHUP),
    ("the editor", signal.SIGKILL),
    ("both", signal.SIGKILL),
]


@pytest.mark.parametrize(("whom", "how"), KILLS)
def test_no_file_survives_a_kill(edited: Shell, lent: Path, whom: str, how: signal.Signals) -> None:
    """Nor do the copies that the editor made beside it. The editor may still run."""
    by(edited, 'cp "$1" "$1~"; echo "pid $$."; while :; do sleep 0.05; done')
    terminal = edited.on_terminal("edit", "MY_NAME")
    terminal.expect("pid ")
    terminal.expect(".")
    assert [each.read_text() for each in lent.glob("*/MY_NAME*")] == [VALUE, VALUE]
    pids = {"the command": terminal.process.pid, "the editor": int(terminal.past.rstrip("."))}
    for pid in pids.values() if whom == "both" else [pids[whom]]:
        os.kill(pid, how)
    assert terminal.process.wait(SECONDS) == (1 if whom == "the editor" else -how)
    until_empty(lent)
    assert edited.stored() == {"MY_NAME": VALUE}
