"""`gitpod-secrets export`, as a process against a service on a socket."""

import uuid
from pathlib import Path

import pytest
from tests.support.shell import COMMAND, VALUE, Shell, Terminal

FILE = f"ONE={VALUE}\n# mount: file /etc/two\nTWO='{VALUE}\n\"'\n# mount: api-only\n3RD=''\n"


@pytest.fixture
def filled(shell: Shell) -> Shell:
    """A project with the secrets of FILE."""
    shell.run("import", "-", "--yes", stdin=FILE)
    return shell


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "/dev/null"], "--output: is not a regular file"),
        (["--output", "/nowhere/file"], "--output: there is no such folder"),
        (["--output", "/bin/true/file"], "--output: Not a directory"),
        (["--project", "x"], "is not a valid UUID"),
    ],
)
def test_a_target_that_cannot_be_written_is_refused(shell: Shell, arguments: list[str], message: str) -> None:
    """It is reported before a value is read."""
    done = shell.run("export", *arguments, code=2)
    assert done.out == b""
    assert message in done.err


def test_a_terminal_shows_no_values_unless_asked(filled: Shell, tmp_path: Path) -> None:
    """`--reveal` prints them; a redirected output needs no option."""
    refused = filled.on_terminal("export").end(2)
    assert VALUE not in refused
    assert "--reveal" in refused
    assert filled.on_terminal("export", "--reveal").end().count(VALUE) == 2
    redirected = ["sh", "-c", 'exec "$@" >"$0"', str(tmp_path / "out"), *COMMAND, "export"]
    assert VALUE not in Terminal(redirected, filled.environment()).end()
    assert VALUE in (tmp_path / "out").read_text()


def test_output_replaces_a_file_in_one_step(filled: Shell, tmp_path: Path) -> None:
    """It replaces the target of a link, gets mode 0600, and leaves no temporary file."""
    folder = tmp_path / "folder"
    folder.mkdir()
    target, link = folder / "secrets.env", folder / "link"
    target.write_text("before")
    target.chmod(0o644)
    link.symlink_to(target)
    done = filled.run("export", "--output", str(link))
    assert done.out == b""
    assert "wrote 3" in done.err
    assert "no shell can have it as a variable" in done.err
    assert (target.stat().st_mode & 0o777, link.is_symlink()) == (0o600, True)
    assert VALUE in target.read_text()
    assert sorted(path.name for path in folder.iterdir()) == ["link", "secrets.env"]


def test_a_user_overrides_the_project_and_that_the_organization(shell: Shell) -> None:
    """Of secrets with the same name, the one of the strongest scope is exported."""
    user, organization = str(uuid.uuid4()), str(uuid.uuid4())
    scopes = [("--organization", organization, "ABCD"), ("--user", user, "A"), ("--project", shell.project, "AB")]
    for option, each, names in scopes:
        text = "".join(f"NAME_{name}={option[2:]}\n" for name in names)
        shell.run("import", "-", "--yes", option, each, stdin=text)
    done = shell.run("export", *(part for option, each, _ in scopes for part in (option, each)))
    values = [line.split("=")[1].strip("'") for line in done.text.splitlines()]
    assert values == ["user", "project", "organization", "organization"]
