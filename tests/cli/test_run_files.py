"""The files of `gitpod-secrets run --files`: what is refused, and that no value outlives the command."""

import os
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.peer import Peer, stall
from tests.support.service import TOKEN, Service
from tests.support.shell import SECONDS, VALUE, Shell

WAIT = ["sh", "-c", 'echo $$; read line; cat "$MY_KEY"']
"""Prints its number, and the file once it gets a line."""
DEEP = "import os\nfor _ in range(5000):\n    os.mkdir('d' * 200)\n    os.chdir('d' * 200)\nopen('f', 'w').close()"
"""Makes a tree that no path reaches the end of."""
KILLED_WHILE_WRITING = """
import os
from gitpod.cli import main
from gitpod.cli.files import mounts
write = mounts.write
def killed(*arguments):
    write(*arguments)
    os.killpg(0, 9)
mounts.write = killed
main()
"""


@pytest.fixture
def keyed(shell: Shell, lent: Path) -> Shell:
    """A project with a secret that is a file; private folders are made in `lent`."""
    shell.put("MY_KEY", file_path="/home/me/.ssh/id")
    shell.variables["XDG_RUNTIME_DIR"] = str(lent)
    return shell


def until_empty(folder: Path) -> None:
    """Wait until nothing is in a folder."""
    deadline = time.monotonic() + SECONDS
    while left := list(folder.iterdir()):
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def longest(lent: Path, depth: int) -> str:
    """A path of so many folders that is as long as the system allows below a private folder."""
    room = os.pathconf(lent, "PC_PATH_MAX") - 1 - len(f"{lent}/gitpod-secrets-0123456789abcdef")
    return "/a" * depth + "/" + "k" * min(255, room - 2 * depth - 1)


@pytest.mark.parametrize("depth", [1000, 1900])
def test_a_path_of_any_depth_is_written_and_removed(keyed: Shell, lent: Path, depth: int) -> None:
    """The status is the command's. Nothing is left of any secret."""
    keyed.put("DEEP_KEY", file_path=longest(lent, depth))
    done = keyed.run("run", "--files", "--", "sh", "-c", 'cat "$DEEP_KEY" "$MY_KEY"; exit 7', code=7)
    assert done.text == VALUE * 2
    assert list(lent.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("/a/../../b", "its path is not one to write to"),
        ("/a/..", "its path is not one to write to"),
        ("/./.", "its path is not one to write to"),
        ("/a\0b", "its path is not one to write to"),
        ("/a/" + "n" * 256, "a name in its path is longer than 255 bytes"),
        ("/" + "é" * 128 + "/a", "a name in its path is longer than 255 bytes"),
        ("/a" * 2048, "its path is longer than 4095 bytes with the folder in front"),
        ("/home/me/.ssh/id", "another secret is where its path leads: MY_KEY"),
        ("/home//me/./.ssh/id/", "another secret is where its path leads: MY_KEY"),
        ("/home/me/.ssh/id/below", "another secret is where its path leads: MY_KEY"),
        ("/home/me/.ssh/id" + "/a" * 1000, "another secret is where its path leads: MY_KEY"),
    ],
)
def test_a_path_that_cannot_be_written_is_refused(
    keyed: Shell, service: Service, lent: Path, path: str, rule: str
) -> None:
    """The secret is named, and no value is read, so none is written."""
    keyed.put("ODD_ONE", file_path=path)
    before = service.log.read_text().count("GetSecretValue")
    done = keyed.run("run", "--files", "echo", "started", code=2)
    assert (done.out, done.err) == (b"", f"gitpod-secrets: error: ODD_ONE: {rule}\n")
    assert service.log.read_text().count("GetSecretValue") == before
    assert list(lent.iterdir()) == []


def test_a_folder_in_the_place_of_a_file_is_refused(keyed: Shell, lent: Path) -> None:
    """It makes no difference which of the two was stored first."""
    keyed.put("ODD_ONE", file_path="/home/me")
    err = keyed.run("run", "--files", "true", code=2).err
    assert err == "gitpod-secrets: error: MY_KEY: another secret is where its path leads: ODD_ONE\n"
    assert list(lent.iterdir()) == []


def test_a_path_overrides_the_same_path_written_otherwise(keyed: Shell) -> None:
    """A stronger scope's secret takes the place of a weaker one's."""
    user = "6f1c9f3e-8a57-4d53-9b39-0f6f1f3a7a52"
    keyed.put("OTHER_KEY", "other", scope={"user_id": user}, file_path="/home/./me//.ssh/id")
    scopes = ["--user", user, "--project", keyed.project]
    assert keyed.run("run", "--files", *scopes, "--", "sh", "-c", 'cat "$OTHER_KEY$MY_KEY"').text == "other"


def test_a_path_is_the_same_in_every_locale(keyed: Shell) -> None:
    """The variable holds the path byte for byte."""
    keyed.put("FAR_KEY", file_path="/ключ/é")
    for name, mode in (("C", "0"), ("C.UTF-8", "1")):
        show = ["sh", "-c", 'cat "$FAR_KEY"; echo "$FAR_KEY"']
        done = keyed.run("run", "--files", "--", *show, LC_ALL=name, PYTHONUTF8=mode)
        assert done.text.startswith(VALUE)
        assert done.text.endswith("/ключ/é\n")


def test_a_failure_while_writing_leaves_nothing(keyed: Shell, lent: Path) -> None:
    """Here the system refuses files of more than 512 bytes, after one that is smaller."""
    keyed.put("NEW_KEY", "x" * 2000, file_path="/new")
    done = keyed.script('ulimit -f 1; exec "$@" run --files echo started', code=2)
    assert (done.out, done.err) == (b"", "gitpod-secrets: error: NEW_KEY: cannot write its file: File too large\n")
    assert list(lent.iterdir()) == []


@pytest.mark.parametrize("function", ["posix_spawn", "fork"])
def test_processes_that_do_not_start_are_said(keyed: Shell, lent: Path, function: str) -> None:
    """As under a limit of processes."""
    fails = "def fails(*_, **__): raise BlockingIOError(11, 'Resource temporarily unavailable')"
    program = f"import os; from gitpod.cli import main\n{fails}\nos.{function} = fails; main()"
    done = keyed.run("run", "--files", "echo", "started", command=[sys.executable, "-c", program], code=2)
    assert done.out == b""
    assert done.err.splitlines()[-1].endswith("Resource temporarily unavailable")
    until_empty(lent)


@pytest.mark.parametrize(
    "script",
    ["chmod 500 {0}/home/me/.ssh {0}/home; chmod 0 {0}", f'cd {{0}}; "{sys.executable}" -c "{DEEP}"'],
    ids=["closed", "deep"],
)
def test_what_the_command_does_to_the_folder_does_not_keep_it(keyed: Shell, lent: Path, script: str) -> None:
    """Folders that cannot be written to, and a tree that no path reaches the end of."""
    keyed.run("run", "--files", "--", "sh", "-c", script.format('"${MY_KEY%/home/me/.ssh/id}"'))
    assert list(lent.iterdir()) == []


@pytest.mark.parametrize("whom", ["the command", "both", "both by their group"])
def test_no_file_survives_a_kill(keyed: Shell, lent: Path, whom: str) -> None:
    """SIGKILL cannot be caught, so another process removes the folder."""
    process = keyed.start("run", "--files", "--", *WAIT)
    assert process.stdout
    command = int(process.stdout.readline())
    assert [each.read_text() for each in lent.glob("*/home/me/.ssh/id")] == [VALUE]
    if whom == "both":
        process.kill()
    if whom == "both by their group":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        os.kill(command, signal.SIGKILL)
    assert process.wait(SECONDS) == -signal.SIGKILL
    until_empty(lent)


def test_a_command_that_is_left_alone_keeps_its_files(keyed: Shell, lent: Path) -> None:
    """When only gitpod-secrets is killed, the files are there until the command ends."""
    process = keyed.start("run", "--files", "--", *WAIT)
    assert process.stdout
    process.stdout.readline()
    process.kill()
    process.wait(SECONDS)
    out, _ = process.communicate(b"\n", timeout=SECONDS)
    assert out == VALUE.encode()
    until_empty(lent)


def test_no_file_survives_a_kill_while_files_are_written(keyed: Shell, lent: Path) -> None:
    """Nor is a folder left when the secrets were only being read."""
    process = keyed.start("run", "--files", "true", command=(sys.executable, "-c", KILLED_WHILE_WRITING))
    assert process.wait(SECONDS) == -signal.SIGKILL
    until_empty(lent)
    peer = Peer(stall(SECONDS))
    process = keyed.start("run", "--files", "true", GITPOD_BASE_URL=peer.url)
    peer.wait()
    os.killpg(process.pid, signal.SIGKILL)
    until_empty(lent)
    peer.close()


def test_the_process_that_removes_the_folder_knows_no_secret(keyed: Shell) -> None:
    """It has no variable or argument of the caller, and not its standard streams."""
    process = keyed.start("run", "--files", "--", *WAIT, SOME_TOKEN=TOKEN)
    assert process.stdout
    command = int(process.stdout.readline())
    children = map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
    [remover] = [Path(f"/proc/{child}") for child in children if child != command]
    assert (remover / "environ").read_bytes() == b""
    assert (remover / "cmdline").read_bytes().split(b"\0")[1:-2] == [b"-I", b"-S"]
    files = {str(each.readlink()).partition(":")[0] for each in (remover / "fd").iterdir()}
    assert files <= {"pipe", "/dev/null", "anon_inode"}
    process.communicate(b"\n", timeout=SECONDS)
    assert not remover.exists()


@pytest.mark.parametrize("path", ["aaaaa", "/////", "..//a", "./../"])
def test_a_path_that_no_service_should_list_is_refused(shell: Shell, lent: Path, path: str) -> None:
    """Here somebody has changed the store."""
    own = Shell(f"sqlite:///{shell.home}/own.db", TOKEN, shell.project, shell.home)
    own.put("ODD_ONE", file_path="/aaaa")
    with closing(sqlite3.connect(shell.home / "own.db", isolation_level=None)) as database:
        [[record]] = database.execute("SELECT record FROM secrets").fetchall()
        database.execute("UPDATE secrets SET record = ?", [record.replace(b"/aaaa", path.encode())])
    done = own.run("run", "--files", "echo", "started", code=2, XDG_RUNTIME_DIR=str(lent))
    assert (done.out, done.err) == (b"", "gitpod-secrets: error: ODD_ONE: its path is not one to write to\n")
    assert list(lent.iterdir()) == []
