"""`gitpod-secrets` as a process: with pipes, or on a terminal. Every process is killed with its test."""

import fcntl
import json
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyte
from tests.support.processes import state

from gitpod import Gitpod

COMMAND = (sys.executable, "-c", "from gitpod.cli import main; main()")
VALUE = "canary-value-5e0c"
ENV: Any = {"environment_variable": True}
SECONDS = 60
"""How long to wait for a command, on a machine that is busy."""
ROWS = 1000
"""Lines of the screen that a test sees: more than any command prints, so that none scrolls away."""
PRINTING = {"get", "export", "inject", "run"}
"""The commands whose output may have values."""

_started: list["subprocess.Popen[bytes]"] = []


def start(command: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
    """Start a process in a session of its own, which `kill_all` ends with everything in it."""
    process = subprocess.Popen[bytes](command, start_new_session=True, **options)
    _started.append(process)
    return process


def kill_all() -> None:
    """Kill what is left of the processes that were started, and of their children, also the stopped ones."""
    leaders = {process.pid for process in _started}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            # The session is the fourth field after the name, which is in parentheses (proc_pid_stat(5)).
            if int(stat.read_text().rpartition(")")[2].split()[3]) in leaders:
                os.kill(int(stat.parent.name), signal.SIGKILL)
    while _started:
        process = _started.pop()
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            with suppress(OSError):  # what was still to be written
                if stream:
                    stream.close()


@dataclass
class Done:
    """What a command printed."""

    out: bytes
    err: str

    @property
    def text(self) -> str:
        """What it printed on standard output."""
        return self.out.decode()

    @property
    def items(self) -> list[dict[str, Any]]:
        """The lines of JSON that it printed."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def rows(self) -> list[list[str]]:
        """The fields of each line that it printed."""
        return [line.split("\t") for line in self.text.splitlines()]


@dataclass
class Shell:
    """Runs commands with settings, and a home, of their own."""

    url: str
    token: str
    project: str
    home: Path
    variables: dict[str, str] = field(default_factory=dict[str, str])

    def environment(self, **changes: Any) -> dict[str, str]:
        """The variables of a command."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("GITPOD_", "XDG_"))}
        own = {"GITPOD_BASE_URL": self.url, "GITPOD_API_KEY": self.token, "GITPOD_PROJECT_ID": self.project}
        return inherited | {"HOME": str(self.home)} | own | self.variables | changes

    def start(self, *arguments: str, command: Sequence[str] = COMMAND, **changes: Any) -> "subprocess.Popen[bytes]":
        """Start a command with pipes."""
        pipe = subprocess.PIPE
        return start([*command, *arguments], stdin=pipe, stdout=pipe, stderr=pipe, env=self.environment(**changes))

    def run(
        self,
        *arguments: str,
        stdin: str | bytes = b"",
        code: int = 0,
        command: Sequence[str] = COMMAND,
        **changes: Any,
    ) -> Done:
        """Run a command to its end, and check its exit status, and that it shows no value to people."""
        process = self.start(*arguments, command=command, **changes)
        out, raw = process.communicate(stdin.encode() if isinstance(stdin, str) else stdin, timeout=SECONDS)
        err = raw.decode()
        assert process.returncode == code, err
        assert VALUE not in err
        assert PRINTING & {*arguments} or VALUE.encode() not in out
        assert "Traceback" not in err
        return Done(out, err)

    def script(self, text: str, code: int = 0, interpreter: str = "sh", **changes: Any) -> Done:
        """Run a shell script to its end, with the command as `"$@"`."""
        return self.run(command=[interpreter, "-c", text, interpreter, *COMMAND], code=code, **changes)

    def each(self, *commands: Sequence[str], stdin: str = VALUE, code: int = 0) -> list[Done]:
        """Run commands at the same time."""
        with ThreadPoolExecutor(4) as pool:
            running = [pool.submit(self.run, *command, stdin=stdin, code=code) for command in commands]
        return [each.result() for each in running]

    def on_terminal(self, *arguments: str, **changes: Any) -> "Terminal":
        """Start a command on a terminal, of 200 columns unless `columns` says another number."""
        columns = changes.pop("columns", 200)
        return Terminal([*COMMAND, *arguments], self.environment(**changes), columns)

    def client(self) -> Gitpod:
        """A client of the same service."""
        return Gitpod(bearer_token=self.token, base_url=self.url)

    def put(self, name: str, value: str = VALUE, **params: Any) -> str:
        """Store a secret in the project, as a variable unless told otherwise, and return its id."""
        mount: dict[str, Any] = (
            {} if {"file_path", "api_only", "container_registry_basic_auth_host"} & params.keys() else ENV
        )
        with self.client() as client:
            scope = params.pop("scope", {"project_id": self.project})
            return client.secrets.put(name=name, value=value, scope=scope, **mount, **params).secret.id

    def stored(self) -> dict[str, str]:
        """The names and values in the project."""
        with self.client() as client:
            found = client.secrets.list(filter={"scope": {"project_id": self.project}})
            return {secret.name: client.secrets.get_value(secret_id=secret.id).reveal() for secret in found}


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], columns: int = 200) -> None:
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        # The first terminal that the leader of a session opens is its own.
        line = ["sh", "-c", 'exec "$@" <"$0" >"$0" 2>"$0"', os.ttyname(slave), *command]
        # Without colours, a text that a test expects is in one piece.
        self.process = start(line, env={"TERM": "xterm", "NO_COLOR": "1", **environment})
        # Without it, the terminal would have no other end until the process opens it.
        self._slave = slave
        self.shown = ""
        """What it has shown since the last text that was expected."""
        self.past = ""
        """What it had shown before, from the text expected before that one."""
        self._screen = pyte.Screen(columns, ROWS)
        self._emulator = pyte.ByteStream(self._screen)

    @property
    def lines(self) -> list[str]:
        """The lines on the screen, without spaces at their ends, up to the last that has a text."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip().split("\n")

    def expect(self, text: str) -> None:
        """Wait until it shows a text, after the one that was expected before."""
        deadline = time.monotonic() + SECONDS
        while text not in self.shown:
            assert self._read(deadline - time.monotonic()), f"{text!r} is not in {self.shown!r}"
        end = self.shown.index(text) + len(text)
        self.past, self.shown = self.shown[:end], self.shown[end:]

    def type(self, text: str) -> None:
        """Press keys, once the command waits.

        Python misses Ctrl-C until the next key if it comes after a prompt was printed and before the read begins.
        """
        while state(self.process.pid) == "R":
            time.sleep(0.01)
        os.write(self._master, text.encode())

    def end(self, code: int = 0) -> str:
        """Wait for its end, and return what it showed since the last text that was expected."""
        deadline = time.monotonic() + SECONDS
        # It ends only when what it wrote is read.
        while self.process.poll() is None and time.monotonic() < deadline:
            self._read(0.05)
        while self._read(0):
            pass
        assert self.process.returncode == code, self.shown
        os.close(self._slave)
        os.close(self._master)
        return self.shown.replace("\r\n", "\n")

    def _read(self, seconds: float) -> bool:
        """Read what it shows within some seconds; False for nothing."""
        if not select.select([self._master], [], [], max(seconds, 0))[0]:
            return False
        data = os.read(self._master, 65536)
        self.shown += data.decode(errors="replace")
        self._emulator.feed(data)
        return True
