"""`gitpod-secrets run`, as a process against a service on a socket, with pipes or on a terminal."""

import json
import os
import signal
import sqlite3
import sys
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.support.peer import Peer, free_port, stall
from tests.support.service import TOKEN
from tests.support.shell import COMMAND, SECONDS, VALUE, Shell, Terminal

SHOW = """
import json, os, pathlib
files = {name: path for name, path in os.environ.items() if path.endswith("/.ssh/id")}
print(json.dumps({
    "environment": dict(os.environ),
    "files": {name: pathlib.Path(path).read_text() for name, path in files.items()},
    "modes": [oct(each.stat().st_mode & 0o777) for path in map(pathlib.Path, files.values())
              for each in [path, *path.parents][:5]],
    "arguments": [pathlib.Path(f"/proc/{pid}/cmdline").read_text() for pid in (os.getpid(), os.getppid())],
}))
"""
SHOW_PY = [sys.executable, "-c", SHOW]
COUNT = """
import signal, sys, time
seen = []
def note(number, _):
    seen.append(signal.Signals(number).name)
    print(seen[-1], seen.count(seen[-1]), flush=True)
for name in sys.argv[1:]:
    signal.signal(getattr(signal, name), note)
print("ready", flush=True)
while "SIGTERM" not in seen:
    time.sleep(0.05)
sys.exit(len(seen))
"""
"""Prints the signals that it gets, and how often, until it gets SIGTERM."""
PASSED = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGTERM"]
COUNT_PY = [sys.executable, "-c", COUNT, *PASSED]
MODES = pytest.mark.parametrize("mode", [[], ["--files"]], ids=["execute", "wait"])
# macOS does not say who sent a signal.
LESS = (sys.executable, "-c", "import signal; del signal.sigwaitinfo; from gitpod.cli import main; main()")


def shown(shell: Shell, *arguments: str, **changes: Any) -> dict[str, Any]:
    """Run a command that prints its environment, files and arguments."""
    found: dict[str, Any] = json.loads(shell.run("run", *arguments, "--", *SHOW_PY, **changes).out)
    return found


def test_variables_are_in_the_environment(shell: Shell) -> None:
    """Other mounts are left out, which --debug reports. The token is not passed on."""
    shell.put("ENV_ONE")
    shell.put("API_ONE", api_only=True)
    shell.put("FILE_ONE", file_path="/me/.ssh/id")
    shell.put("REG_ONE", "user:password", container_registry_basic_auth_host="https://r.example.com")
    found = shown(shell, HERE="1", GITPOD_SECRETS_KEY="env:KEK", KEK="of an embedded store")
    names = found["environment"].keys()
    assert {name for name in names if name.endswith("_ONE")} == {"ENV_ONE"}
    assert found["environment"]["ENV_ONE"] == VALUE
    assert {"HERE", "GITPOD_BASE_URL"} <= names
    assert not {"GITPOD_SECRETS_KEY", "KEK"} & names
    assert "GITPOD_API_KEY" not in names
    assert not any(VALUE in each for each in found["arguments"])
    err = shell.run("--debug", "run", "--", "true").err
    assert sorted(err.splitlines()) == [f"gitpod-secrets: {each}_ONE is left out" for each in ("API", "FILE", "REG")]


def test_a_secret_may_be_a_token(shell: Shell) -> None:
    """A secret with that name gives the command a token of its own, such as one with fewer rights."""
    shell.put("GITPOD_API_KEY", value="a-token-of-its-own")
    assert shown(shell)["environment"]["GITPOD_API_KEY"] == "a-token-of-its-own"


def test_a_user_overrides_a_project_and_that_an_organization(shell: Shell) -> None:
    """This holds for names and for paths. A service account counts as a user."""
    scopes = {kind: str(uuid.uuid4()) for kind in ("organization", "project", "user", "service-account")}
    given = {kind: [f"--{kind}", each] for kind, each in scopes.items()}
    names = {"organization": "OPUS", "project": "PUS", "user": "U", "service-account": "S"}
    for kind, letters in names.items():
        scope = {f"{kind.replace('-', '_')}_id": scopes[kind]}
        for letter in letters:
            shell.put(f"IN_{letter}", kind, scope=scope)
        if kind in ("organization", "project"):
            shell.put(f"OF_{letters[0]}", kind, scope=scope, file_path="/me/.ssh/id")
    mine = shown(shell, *given["user"], *given["organization"], *given["project"])["environment"]
    assert [mine[f"IN_{letter}"] for letter in "OPUS"] == ["organization", "project", "user", "project"]
    its = shown(shell, "--files", *given["project"], *given["service-account"], *given["organization"])
    assert [its["environment"][f"IN_{letter}"] for letter in "OPUS"] == [
        "organization",
        "project",
        "project",
        "service-account",
    ]
    assert its["files"] == {"OF_P": "project"}


def test_files_are_private_and_gone_afterwards(shell: Shell, lent: Path) -> None:
    """Each is at its path below a private folder, and the variable of its name holds that path."""
    shell.put("MY_KEY", file_path="/home/me/.ssh/id")
    shell.put("OTHER_KEY", "other", file_path="/.ssh/id")
    shell.put("ENV_ONE")
    found = shown(shell, "--files", XDG_RUNTIME_DIR=str(lent))
    path = found["environment"]["MY_KEY"]
    assert path.startswith(f"{lent}/gitpod-secrets-")
    assert path.endswith("/home/me/.ssh/id")
    assert found["files"] == {"MY_KEY": VALUE, "OTHER_KEY": "other"}
    assert found["environment"]["ENV_ONE"] == VALUE
    assert found["modes"][:5] == ["0o600", "0o700", "0o700", "0o700", "0o700"]
    assert not any(VALUE in each for each in found["arguments"])
    assert list(lent.iterdir()) == []


def test_a_folder_that_others_may_enter_is_not_used(shell: Shell, lent: Path) -> None:
    """Shared memory is used in its place, as the folder in it is private."""
    shell.put("MY_KEY", file_path="/home/me/.ssh/id")
    lent.chmod(0o755)
    found = shown(shell, "--files", XDG_RUNTIME_DIR=str(lent))
    assert found["environment"]["MY_KEY"].startswith("/dev/shm/" if Path("/dev/shm").exists() else "/tmp")  # noqa: S108 # where it is
    assert found["modes"][4] == "0o700"
    assert not Path(found["environment"]["MY_KEY"]).exists()


@MODES
def test_the_exit_status_is_passed_on(shell: Shell, lent: Path, mode: list[str]) -> None:
    """A command that ends by a signal ends this process by the same signal. No folder is left."""
    for script, code in {"exit 0": 0, "exit 7": 7, "exit 255": 255, "kill -TERM $$": -15, "kill -KILL $$": -9}.items():
        shell.run("run", *mode, "sh", "-c", script, code=code, XDG_RUNTIME_DIR=str(lent))
    script = f""""$@" run {" ".join(mode)} sh -c 'kill -SEGV $$'; echo $?"""
    assert shell.script(script, interpreter="bash", XDG_RUNTIME_DIR=str(lent)).out == b"139\n"
    assert list(lent.iterdir()) == []


@MODES
def test_a_command_that_cannot_be_executed_is_reported(shell: Shell, lent: Path, mode: list[str]) -> None:
    """The status is 127 or 126, as in shells."""
    for command, code in (("no-such-command", 127), ("/etc/passwd/x", 127), ("/etc/passwd", 126), ("/", 126)):
        err = shell.run("run", *mode, "--", command, code=code, XDG_RUNTIME_DIR=str(lent)).err
        assert err.startswith(f"gitpod-secrets: error: {command}: ")
    assert list(lent.iterdir()) == []


@MODES
def test_nothing_is_started_without_every_value(shell: Shell, lent: Path, mode: list[str]) -> None:
    """The exit status is that of the failure, and the secret is named."""
    own = Shell(f"sqlite:///{shell.home}/own.db", TOKEN, shell.project, shell.home)
    for name in ("ONE", "TWO"):
        own.put(name)
    with closing(sqlite3.connect(shell.home / "own.db", isolation_level=None)) as database:
        database.execute("UPDATE secrets SET ciphertext = x'0102' WHERE name = 'TWO'")
    done = own.run("run", *mode, "echo", "started", code=6, XDG_RUNTIME_DIR=str(lent))
    assert done.out == b""
    assert "gitpod-secrets: error: TWO: " in done.err
    nobody = f"http://127.0.0.1:{free_port()}"
    assert shell.run("run", *mode, "echo", "started", code=6, GITPOD_BASE_URL=nobody).out == b""
    assert list(lent.iterdir()) == []


def test_a_nul_is_refused_in_a_variable(shell: Shell) -> None:
    """A NUL fits into a file, and is refused for a variable."""
    shell.put("NUL_ONE", f"{VALUE}\0", file_path="/me/.ssh/id")
    assert shown(shell, "--files")["files"] == {"NUL_ONE": f"{VALUE}\0"}
    shell.put("NUL_ONE", f"{VALUE}\0", replace=True)
    err = shell.run("run", "echo", "started", code=2).err
    assert err == "gitpod-secrets: error: NUL_ONE: holds a NUL character, which no environment can carry\n"


def test_values_of_all_kinds_arrive(shell: Shell) -> None:
    """In every locale, the command gets every value byte for byte."""
    text = "\U0001f511 é \"'$x\n\\"
    shell.put("TEXT_ONE", value=text)
    show = [sys.executable, "-c", "import os; os.write(1, os.environb[b'TEXT_ONE'])"]
    assert shell.run("run", "--", *show, LC_ALL="C", PYTHONUTF8="0").out == text.encode()


def test_files_in_the_way_of_each_other_are_refused(shell: Shell, lent: Path) -> None:
    """The error names one of the secrets."""
    shell.put("ONE", file_path="/me/.ssh/id")
    shell.put("TWO", file_path="/me/.ssh")
    err = shell.run("run", "--files", "true", code=2, XDG_RUNTIME_DIR=str(lent)).err
    assert "another secret is where its path leads" in err
    assert list(lent.iterdir()) == []


@pytest.mark.parametrize(("mode", "command"), [([], COMMAND), (["--files"], COMMAND), (["--files"], LESS)])
def test_signals_are_passed_on(shell: Shell, lent: Path, mode: list[str], command: tuple[str, ...]) -> None:
    """The command gets each signal once. The folder is removed when the command ends."""
    process = shell.start("run", *mode, "--", *COUNT_PY, command=command, XDG_RUNTIME_DIR=str(lent))
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    for name in PASSED:
        process.send_signal(getattr(signal, name))
        assert process.stdout.readline() == f"{name} 1\n".encode()
    assert process.communicate(timeout=SECONDS) == (b"", b"")
    assert process.returncode == len(PASSED)
    assert list(lent.iterdir()) == []


@MODES
def test_an_interrupt_ends_the_reading(shell: Shell, lent: Path, mode: list[str]) -> None:
    """Nothing is started, and no folder is left."""
    peer = Peer(stall(30))
    process = shell.start("run", *mode, "true", GITPOD_BASE_URL=peer.url, XDG_RUNTIME_DIR=str(lent))
    peer.wait()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out, err.strip()) == (130, b"", b"")
    assert list(lent.iterdir()) == []
    peer.close()


@pytest.mark.parametrize(("mode", "command"), [([], COMMAND), (["--files"], COMMAND), (["--files"], LESS)])
def test_ctrl_c_reaches_the_command_once(shell: Shell, mode: list[str], command: tuple[str, ...]) -> None:
    """The terminal's signals reach it directly; those of other processes are passed on."""
    terminal = Terminal([*command, "run", *mode, "--", *COUNT_PY], shell.environment())
    terminal.expect("ready")
    for keys, name in (("\x03", "SIGINT"), ("\x1c", "SIGQUIT")):
        terminal.type(keys)
        terminal.expect(f"{name} 1")
    terminal.process.send_signal(signal.SIGUSR1)
    terminal.expect("SIGUSR1 1")
    terminal.process.send_signal(signal.SIGTERM)
    assert "SIG" not in terminal.end(4).replace("SIGTERM 1", "")


@MODES
def test_job_control_works(shell: Shell, lent: Path, mode: list[str]) -> None:
    """In a pipeline, Ctrl-Z stops it and `fg` continues it. The shell sees which signal ended it."""
    line = " ".join(f"'{part}'" for part in (*COMMAND, "run", *mode, "--", sys.executable))
    program, script = lent.parent / "count.py", lent.parent / "run.sh"
    program.write_text(COUNT)
    script.write_text(f"exec {line} {program} SIGCONT")
    bash = ["bash", "--norc", "--noprofile", "-i"]
    terminal = Terminal(bash, shell.environment(PS1="$ ", XDG_RUNTIME_DIR=str(lent), HISTFILE=""))
    for awaited, typed in (
        ("$ ", f"sh {script} | cat\n"),
        ("ready", "\x1a"),
        ("Stopped", ""),
        ("$ ", "fg\n"),
        ("SIGCONT 1", "\x03"),
        ("$ ", "echo ${PIPESTATUS[0]}=\n"),
        ("130=", ""),
        ("$ ", "exit 0\n"),
    ):
        terminal.expect(awaited)
        terminal.type(typed)
    terminal.end()
    assert list(lent.iterdir()) == []


def test_a_command_that_stops_itself_stops_the_job(shell: Shell, lent: Path) -> None:
    """The shell would else wait for ever. less stops itself on Ctrl-Z."""
    process = shell.start("run", "--files", "sh", "-c", "kill -STOP $$; echo on", XDG_RUNTIME_DIR=str(lent))
    assert os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    *_, child = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(child), signal.SIGCONT)
    process.send_signal(signal.SIGCONT)
    assert process.communicate(timeout=SECONDS) == (b"on\n", b"")
    assert process.returncode == 0
    assert list(lent.iterdir()) == []
