"""What `list` shows on a terminal, by what is on the screen, and what programs get."""

import re
import uuid
from typing import Any

import pytest
from tests.support.pages import page
from tests.support.shell import VALUE, Shell
from wcwidth import wcswidth

AGO = r"(now|\d+ (s|min) ago)"


def fill(shell: Shell, number: int) -> None:
    """Store a number of secrets."""
    shell.run("import", "-", "--yes", stdin="".join(f"NAME_{each:03}={VALUE}\n" for each in range(number)))


def screen(shell: Shell, *arguments: str, columns: int = 80, **changes: Any) -> list[str]:
    """What is on the screen after `list`."""
    terminal = shell.on_terminal("list", *arguments, columns=columns, **changes)
    terminal.end()
    return terminal.lines


def where(shell: Shell) -> str:
    """The scope and the service."""
    return f"project {shell.project[:8]}… at {shell.url}"


def test_an_empty_scope_is_said(shell: Shell) -> None:
    """Standard output of a program stays empty, and so does its standard error."""
    assert screen(shell) == [f"gitpod-secrets: no secrets in {where(shell)}"]
    assert screen(shell, "--name", "X*") == [f"gitpod-secrets: no secret matches in {where(shell)}"]
    piped = shell.run("list")
    assert (piped.out, piped.err) == (b"", "")


def test_three_secrets(shell: Shell) -> None:
    """The scope is said once above the table, an age stands for the time, and the total is below."""
    ids = [
        shell.put("DATABASE_URL"),
        shell.put("NPM_CONFIG", file_path="/home/gitpod/.npmrc"),
        shell.put("DEPLOY_KEY", api_only=True),
    ]
    above, head, *rows, total = screen(shell)
    assert (above, head, total) == (where(shell), "NAME          MOUNT                ID        UPDATED", "3 secrets")
    names = (
        "DATABASE_URL  env                ",
        "NPM_CONFIG    /home/gitpod/.npmrc",
        "DEPLOY_KEY    api-only           ",
    )
    for row, name, secret_id in zip(rows, names, ids, strict=True):
        assert re.fullmatch(rf"{re.escape(name)}  {secret_id[:8]}  {AGO}", row)


def test_the_documented_screen_is_shown(shell: Shell) -> None:
    """The manual's table, but for the place, the ids and the ages."""
    [shown] = re.findall(r"^```text\n(project .*?)^```$", page("cli/output"), re.MULTILINE | re.DOTALL)
    shell.put("DATABASE_URL")
    shell.put("NPM_CONFIG", file_path="/home/gitpod/.npmrc")
    own = r"(?<=  )[0-9a-f]{8}  .*"
    assert [re.sub(own, "", line) for line in screen(shell)[1:]] == [
        re.sub(own, "", line) for line in shown.splitlines()[1:]
    ]


def test_five_hundred_secrets(shell: Shell) -> None:
    """Each has one line, and an id that stands for it alone."""
    fill(shell, 500)
    lines = screen(shell, "--sort", "name")
    assert [line.split()[0] for line in lines[2:-1]] == [f"NAME_{each:03}" for each in range(500)]
    shown = {line.split()[2] for line in lines[2:-1]}
    assert len(shown) == 500
    assert all(len(each) >= 8 for each in shown)
    assert lines[-1] == "500 secrets"


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_line_fits_the_terminal(shell: Shell, columns: int) -> None:
    """Also with a long path, and with characters that take two columns."""
    shell.put("A_SECRET", file_path="/日本語/" + "ファイル" * 20)
    shell.put("ANOTHER", file_path="/etc/[red]x")
    lines = screen(shell, columns=columns)
    table = lines[next(at for at, line in enumerate(lines) if line.startswith("NAME")) :]
    assert [line.split()[0] for line in table] == ["NAME", "A_SECRET", "ANOTHER", "2"]
    assert all(wcswidth(line) <= columns for line in table)
    assert ("…" in table[1]) == (columns < 200)


def test_scopes_have_a_column_where_they_differ(shell: Shell) -> None:
    """In the words of the options. Two that begin alike are shown in full."""
    alike = [f"01990c1f-8aaa-7{each}-8aaa-aaaaaaaaaaaa" for each in ("001", "002")]
    user = str(uuid.uuid4())
    name = f"NAME_{uuid.uuid4().hex}"  # other tests share the service
    only = ["--all", "--name", name]
    for option, each in (("--project", alike[0]), ("--user", user)):
        shell.run("put", name, option, each, stdin=VALUE)
    lines = screen(shell, *only, columns=200)
    assert lines[0] == f"all scopes at {shell.url}"
    assert lines[1].split() == ["NAME", "MOUNT", "SCOPE", "ID", "UPDATED"]
    assert f"user {user[:8]}…" in "\n".join(lines)
    shell.run("put", name, "--project", alike[1], stdin=VALUE)
    assert all(each in "\n".join(screen(shell, *only, columns=200)) for each in alike)


def test_wide_shows_everything(shell: Shell) -> None:
    """`--wide` has the whole id, scope and time, as programs get them."""
    secret_id = shell.put("NAME", file_path="/" + "x" * 100)
    shown = "".join(screen(shell, "--wide"))
    [row] = shell.run("list").rows
    assert row[:4] == ["NAME", "/" + "x" * 100, f"projectId {shell.project}", secret_id]
    assert all(cell.replace(" ", "") in shown.replace(" ", "") for cell in row)


@pytest.mark.parametrize(
    ("changes", "is_bold"),
    [({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": "", "TERM": "dumb"}, False)],
    ids=["styles", "NO_COLOR", "dumb"],
)
def test_styles_can_be_turned_off(shell: Shell, changes: dict[str, Any], *, is_bold: bool) -> None:
    """`NO_COLOR` and a terminal that knows characters alone get no style, and the same text."""
    shell.put("NAME")
    terminal = shell.on_terminal("list", columns=80, **changes)
    assert ("\x1b[" in terminal.end()) == is_bold
    assert terminal.lines[1].split() == ["NAME", "MOUNT", "ID", "UPDATED"]


def names(shell: Shell, *arguments: str) -> list[str]:
    """The names that `list` prints for programs."""
    return [row[0] for row in shell.run("list", *arguments).rows]


def test_filters_and_orders(shell: Shell) -> None:
    """By a pattern of names and by mount; in the order of names, of creation or of changes."""
    shell.put("DB_URL")
    shell.put("APP_KEY", file_path="/k")
    shell.put("DB_KEY", api_only=True)
    shell.put("R_AUTH", "u:p", container_registry_basic_auth_host="https://r.example.com")
    shell.run("update", "DB_URL", stdin=VALUE)
    assert names(shell) == ["DB_URL", "APP_KEY", "DB_KEY", "R_AUTH"]
    assert names(shell, "--name", "DB_*") == ["DB_URL", "DB_KEY"]
    assert names(shell, "--name", "db_*") == []
    mounts = {kind: names(shell, "--mount", kind) for kind in ("env", "file", "registry", "api-only")}
    assert mounts == {"env": ["DB_URL"], "file": ["APP_KEY"], "registry": ["R_AUTH"], "api-only": ["DB_KEY"]}
    assert names(shell, "--sort", "name") == ["APP_KEY", "DB_KEY", "DB_URL", "R_AUTH"]
    assert names(shell, "--sort", "updated")[-1] == "DB_URL"
    assert names(shell, "--name", "*KEY", "--mount", "file", "--json")[0].startswith("{")


def test_the_beginning_of_an_id_stands_for_it(shell: Shell) -> None:
    """As the list shows it, unless a secret has that name, or a second id begins so."""
    secret_id = shell.put("NAME")
    for beginning in (secret_id[:8], secret_id[:8].upper(), secret_id[:13]):
        assert shell.run("get", beginning).text == VALUE
    shell.run("get", secret_id[:7], code=4)
    shell.put(secret_id[:8], "by name")
    assert shell.run("get", secret_id[:8]).text == "by name"
    shell.run("delete", "--yes", secret_id[:12])
    assert shell.stored() == {secret_id[:8]: "by name"}


def test_a_character_that_the_terminal_lacks_is_a_question_mark(shell: Shell) -> None:
    """The list is still shown."""
    shell.put("NAME", file_path="/日本")
    assert screen(shell, PYTHONIOENCODING="latin-1")[2].split()[:2] == ["NAME", "/??"]
