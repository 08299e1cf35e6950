"""`gitpod-secrets` as a process: with pipes, or on a terminal."""

import fcntl
import json
import os
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitpod import Gitpod

COMMAND = (sys.executable, "-c", "from gitpod.cli import main; main()")
VALUE = "canary-value-5e0c"
ENV: Any = {"environment_variable": True}


@dataclass
class Done:
    """What a command came to."""

    out: bytes
    err: str

    @property
    def items(self) -> list[dict[str, Any]]:
        """The lines of JSON that it printed."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def rows(self) -> list[list[str]]:
        """The fields of each line that it printed."""
        return [line.split("\t") for line in self.out.decode().splitlines()]


@dataclass
class Shell:
    """Where commands run: with settings, and a home, of their own."""

    url: str
    token: str
    project: str
    home: Path

    def environment(self, **changes: Any) -> dict[str, str]:
        """The variables of a command."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("GITPOD_", "XDG_"))}
        own = {"GITPOD_BASE_URL": self.url, "GITPOD_API_KEY": self.token, "GITPOD_PROJECT_ID": self.project}
        return inherited | {"HOME": str(self.home)} | own | changes

    def start(self, *arguments: str, command: Sequence[str] = COMMAND, **changes: Any) -> "subprocess.Popen[bytes]":
        """Start a command."""
        pipe = subprocess.PIPE
        given = [*command, *arguments]
        return subprocess.Popen(given, stdin=pipe, stdout=pipe, stderr=pipe, env=self.environment(**changes))

    def run(self, *arguments: str, stdin: str | bytes = b"", code: int = 0, **changes: Any) -> Done:
        """Run a command to its end, which is expected; what it says on standard error holds no value."""
        process = self.start(*arguments, **changes)
        out, raw = process.communicate(stdin.encode() if isinstance(stdin, str) else stdin, timeout=60)
        err = raw.decode()
        assert process.returncode == code, err
        assert VALUE not in err
        assert "Traceback" not in err
        return Done(out, err)

    def put(self, name: str, value: str = VALUE, **params: Any) -> str:
        """Store a secret in the project, as a variable unless told otherwise, and return its id."""
        mount: dict[str, Any] = (
            {} if {"file_path", "api_only", "container_registry_basic_auth_host"} & params.keys() else ENV
        )
        with Gitpod(bearer_token=self.token, base_url=self.url) as client:
            scope = params.pop("scope", {"project_id": self.project})
            return client.secrets.put(name=name, value=value, scope=scope, **mount, **params).secret.id

    def stored(self) -> dict[str, str]:
        """The names and values in the project."""
        with Gitpod(bearer_token=self.token, base_url=self.url) as client:
            found = client.secrets.list(filter={"scope": {"project_id": self.project}})
            return {secret.name: client.secrets.get_value(secret_id=secret.id).reveal() for secret in found}

    def each(self, *commands: Sequence[str], stdin: str = VALUE, code: int = 0) -> list[Done]:
        """Run commands at the same time."""
        with ThreadPoolExecutor(4) as pool:
            running = [pool.submit(self.run, *command, stdin=stdin, code=code) for command in commands]
        return [each.result() for each in running]


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        # The first terminal that the leader of a session opens is its own.
        line = ["sh", "-c", 'exec "$@" <"$0" >"$0" 2>"$0"', os.ttyname(slave), *command]
        self.process = subprocess.Popen(line, env={"TERM": "xterm", **environment}, start_new_session=True)
        # Open until the process has it.
        self._slave = slave
        self.shown = ""

    def expect(self, text: str, seconds: float = 20) -> None:
        """Wait until it shows this, after what was expected before."""
        deadline = time.monotonic() + seconds
        while text not in self.shown:
            assert select.select([self._master], [], [], deadline - time.monotonic())[0], f"{text!r}: {self.shown}"
            self.shown += os.read(self._master, 65536).decode(errors="replace")
        self.past = self.shown[: self.shown.index(text) + len(text)]
        self.shown = self.shown[len(self.past) :]

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def end(self, code: int = 0) -> str:
        """Wait for its end; what it showed since the last that was expected."""
        assert self.process.wait(timeout=30) == code, self.shown
        os.close(self._slave)
        try:
            while data := os.read(self._master, 65536):
                self.shown += data.decode(errors="replace")
        except OSError:
            # So Linux says that nobody has the other end.
            pass
        os.close(self._master)
        return self.shown.replace("\r\n", "\n")
