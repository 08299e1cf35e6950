"""`gitpod-secrets export`, as a process against a service on a socket."""

import errno
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.shell import COMMAND, SECONDS, VALUE, Shell, Terminal

FILE = f"ONE={VALUE}\n# mount: file /etc/two\nTWO='{VALUE}\n\"'\n# mount: api-only\n3RD=''\n"
KILLED_AT_FSYNC = [
    sys.executable,
    "-c",
    "import os; from gitpod.cli import main; os.fsync = lambda _: os.kill(os.getpid(), 9); main()",
]


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder on a file system that has files without a name."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").exists() else None) as folder:  # noqa: S108 # a private folder in it
        yield Path(folder)


@pytest.fixture
def filled(shell: Shell) -> Shell:
    """A project with the secrets of FILE."""
    shell.run("import", "-", "--yes", stdin=FILE)
    return shell


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "/dev/null"], "--output: is not a regular file"),
        (["--output", "-"], "--output: - is no file; leave out --output to print the values"),
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


def test_a_link_of_another_user_is_not_followed(filled: Shell, tmp_path: Path) -> None:
    """In a folder such as /tmp, it could lead to any file of this user. Neither is a link to it."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a link away")
    target, link, own = tmp_path / "target", tmp_path / "link", tmp_path / "own"
    target.write_text("before")
    link.symlink_to("target")
    own.symlink_to("link")
    os.chown(link, 1, -1, follow_symlinks=False)
    for output in (link, own):
        done = filled.run("export", "--output", str(output), code=2)
        assert "error: --output: is a symbolic link of another user" in done.err
    assert target.read_text() == "before"
    link.unlink()
    link.symlink_to("own")
    assert "--output: is one of many symbolic links" in filled.run("export", "--output", str(own), code=2).err


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


@pytest.mark.parametrize("before", [None, "before"])
def test_a_kill_while_it_writes_leaves_no_value(filled: Shell, memory: Path, before: str | None) -> None:
    """Here it is killed when all is written, and nothing is in its place yet."""
    target = memory / "secrets.env"
    if before is not None:
        target.write_text(before)
    process = filled.start("export", "--output", str(target), command=KILLED_AT_FSYNC)
    assert process.wait(SECONDS) == -signal.SIGKILL
    assert [each.read_text() for each in memory.iterdir()] == ([] if before is None else [before])


@pytest.mark.parametrize("missing", ["del os.O_TMPFILE", "os.link = lambda *_, **__: os.stat('/nowhere')"])
def test_a_file_system_without_unnamed_files_is_written_to(filled: Shell, tmp_path: Path, missing: str) -> None:
    """A file with a temporary name takes the target's place, whether there is one or not."""
    folder = tmp_path / "folder"
    folder.mkdir()
    program = f"import os; from gitpod.cli import main; {missing}; main()"
    for _ in range(2):
        filled.run("export", "--output", str(folder / "out"), command=[sys.executable, "-c", program])
        [written] = folder.iterdir()
        assert (written.name, written.stat().st_mode & 0o777) == ("out", 0o600)
        assert VALUE in written.read_text()


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EPERM])
def test_why_a_target_cannot_be_replaced_is_said(filled: Shell, memory: Path, number: int) -> None:
    """As when a container has that very file as a mount point."""
    (memory / "out").write_text("before")
    refused = f"def refused(*_, **__): raise OSError({number}, os.strerror({number}))"
    program = f"import os; from gitpod.cli import main\n{refused}\nos.replace = refused; main()"
    done = filled.run("export", "--output", str(memory / "out"), command=[sys.executable, "-c", program], code=2)
    assert done.err.splitlines()[-1] == f"gitpod-secrets: error: --output: {os.strerror(number)}"
    assert [each.read_text() for each in memory.iterdir()] == ["before"]


def test_a_full_disk_leaves_the_file_as_it_was(filled: Shell, tmp_path: Path) -> None:
    """Here the system refuses files of more than 512 bytes."""
    filled.put("LONG_ONE", "x" * 2000)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "out").write_text("before")
    done = filled.script(f'ulimit -f 1; exec "$@" export --output {folder}/out', code=2)
    assert done.err.splitlines()[-1] == "gitpod-secrets: error: --output: File too large"
    assert [each.read_text() for each in folder.iterdir()] == ["before"]
