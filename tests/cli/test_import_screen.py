"""What `import` shows on a terminal, by what is on the screen."""

import re
from pathlib import Path

import pytest
from tests.support.peer import Peer, answer, in_turn
from tests.support.shell import VALUE, Shell, Terminal

SAME = "".join(f"SAME_{number}={VALUE}\n" for number in range(40))
FILE = f"{SAME}CHANGED=new\n# mount: file /etc/two\nADDED='{VALUE}'\n"
PLAN = [
    "LINE  NAME     ACTION  MOUNT",
    "41    CHANGED  update  env",
    "43    ADDED    create  file /etc/two",
]
TIME = r"\d+\.\d s"


@pytest.fixture
def file(shell: Shell, tmp_path: Path) -> Path:
    """A file of which forty secrets are stored, one has another value, and one is new."""
    shell.run("import", "-", "--yes", stdin=f"{SAME}CHANGED=old\n")
    file = tmp_path / "secrets.env"
    file.write_text(FILE)
    return file


def asked(shell: Shell, file: Path, *arguments: str) -> Terminal:
    """An import that has asked its question on a terminal of 80 columns."""
    terminal = shell.on_terminal("import", str(file), *arguments, columns=80)
    terminal.expect(f"Make these changes in project {shell.project[:8]}… at {shell.url}? [y/N]")
    return terminal


def test_a_plan_has_what_changes(shell: Shell, file: Path) -> None:
    """A number stands for the lines that change nothing. A no changes nothing."""
    terminal = asked(shell, file)
    assert terminal.lines[:4] == [*PLAN, "gitpod-secrets: plan: 40 unchanged, 1 update, 1 create"]
    assert VALUE not in terminal.past
    terminal.type("n\n")
    assert "nothing was changed" in terminal.end(1)
    assert shell.stored()["CHANGED"] == "old"


def test_a_summary_ends_an_import(shell: Shell, file: Path) -> None:
    """It has the numbers and the time. No progress bar and no empty line stays on the screen."""
    terminal = asked(shell, file)
    terminal.type("y\n")
    end = terminal.end()
    assert "42/42" in end
    assert VALUE not in end
    assert re.fullmatch(rf"gitpod-secrets: 40 unchanged, 1 updated, 1 created in {TIME}", terminal.lines[-1])
    assert "" not in terminal.lines
    assert len(terminal.lines) <= 7
    assert (len(shell.stored()), shell.stored()["CHANGED"]) == (42, "new")


def test_a_file_without_a_secret_is_said(shell: Shell, tmp_path: Path) -> None:
    """In one line."""
    file = tmp_path / "empty.env"
    file.write_text("# no secrets yet\n")
    terminal = shell.on_terminal("import", str(file), columns=80)
    terminal.end()
    assert [line for line in terminal.lines if line] == ["gitpod-secrets: plan: nothing, as the file names no secret"]


def test_nothing_to_do_is_two_lines(shell: Shell, file: Path) -> None:
    """There is no table and no question."""
    file.write_text(SAME)
    terminal = shell.on_terminal("import", str(file), columns=80)
    terminal.end()
    assert terminal.lines[0] == "gitpod-secrets: plan: 40 unchanged"
    assert re.fullmatch(f"gitpod-secrets: 40 unchanged in {TIME}", terminal.lines[1])


def test_wrong_lines_are_shown_in_full_and_once(shell: Shell, file: Path) -> None:
    """They come below the plan, before the question."""
    file.write_text(f"{FILE}NO_EQUALS\n# mount: env\nADDED={VALUE}\n")
    terminal = asked(shell, file)
    assert terminal.lines[:3] == PLAN
    assert "error: line 44: has no =" in terminal.past
    assert "error: line 46: ADDED: the name is taken by a line before it" in terminal.past
    terminal.type("y\n")
    end = terminal.end(1)
    assert "error" not in end
    assert "40 unchanged, 1 updated, 1 created, 2 invalid in " in end
    assert "hint: correct the lines that are wrong" in end


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_dry_run_fits_the_terminal(shell: Shell, file: Path, columns: int) -> None:
    """Each change is one line, also with a long path. What programs get does not depend on the terminal."""
    file.write_text(f"# mount: file /{'日本語/' * 40}\nLONG_PATH={VALUE}\n")
    terminal = shell.on_terminal("import", str(file), "--dry-run", columns=columns)
    terminal.end()
    assert [line.split()[0] for line in terminal.lines] == ["LINE", "2", "gitpod-secrets:"]
    assert "…" in terminal.lines[1]


def test_a_dumb_terminal_gets_lines(shell: Shell, file: Path) -> None:
    """There is no bar, which would need more than characters."""
    terminal = shell.on_terminal("import", str(file), "--yes", columns=80, TERM="dumb", NO_COLOR="")
    assert "\x1b" not in terminal.end()
    assert [*terminal.lines[:3], len(terminal.lines)] == [*PLAN, 5]


def test_failures_are_shown_in_full_and_the_rest_counted(shell: Shell, tmp_path: Path) -> None:
    """A refused call is named with its line. Those that were not tried have one line together."""
    (tmp_path / "secrets.env").write_text("".join(f"NAME_{number:03}={VALUE}\n" for number in range(200)))
    refused = answer(503, b'{"code": "unavailable", "message": "away"}')
    with_empty_list = in_turn(answer(200, content_type="application/proto"), refused)
    peer = Peer(with_empty_list)
    arguments = ("import", str(tmp_path / "secrets.env"), "--yes", "--concurrency", "1")
    terminal = shell.on_terminal(*arguments, columns=200, GITPOD_BASE_URL=peer.url)
    terminal.end(6)
    peer.close()
    after = terminal.lines[202:]
    assert [line.partition(": unavailable")[0] for line in after[:2]] == [
        f"gitpod-secrets: error: line {line}: NAME_{line - 1:03}: failed" for line in (1, 2)
    ]
    assert after[2] == "gitpod-secrets: error: 198 skipped: not tried, as the service could not be reached"
    assert re.fullmatch(rf"gitpod-secrets: 2 failed, 198 skipped in {TIME}", after[3])
