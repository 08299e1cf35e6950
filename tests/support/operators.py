"""A store that operators work on: their commands as processes, its service, and its rows."""

import os
import signal
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import text
from tests.support.shell import Terminal

from gitpod import Gitpod
from gitpod.server.storage.database import Database

COMMAND = [sys.executable, "-c", "from gitpod.cli import main; main()"]
PROJECT = str(uuid.uuid4())
VALUE = "canary-value-7f3a"
KEY_IN_BASE64 = "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI="
OTHERS = "is not the one that this store was made with"
KMS = """
import base64, os, sys, time
given, bound = sys.stdin.buffer.read(), os.environ["GITPOD_ASSOCIATED_DATA"].encode()
if sys.argv[1] == "wrap":
    print("kms:" + base64.b64encode(bound + b"." + base64.b64decode(given)).decode())
else:
    context, _, plain = base64.b64decode(given.removeprefix(b"kms:")).partition(b".")
    sys.exit("another context") if context != bound else print(base64.b64encode(plain).decode())
    if gate := os.environ.pop("GATE", None):
        os.close(os.open(gate, os.O_CREAT))
        while os.path.exists(gate):
            time.sleep(0.01)
"""
"""What stands for a KMS: as every KMS, it refuses what was wrapped in another context. GATE names a file that
it makes once it has unwrapped, and whose removal it waits for."""


@dataclass
class Done:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[list[str]]:
        """The fields of each line of a table."""
        return [line.split("\t") for line in self.out.splitlines()]


@dataclass
class Place:
    """A store of either kind, and the folder of its keys."""

    url: str
    folder: Path
    key: str | None = None
    environment: dict[str, str] = field(default_factory=dict[str, str])
    serving: list[subprocess.Popen[str]] = field(default_factory=list[subprocess.Popen[str]])

    def given(self) -> dict[str, str]:
        """The variables of a command on the store."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GITPOD_")}
        key = {"GITPOD_SECRETS_KEY": self.key} if self.key else {}
        return inherited | {"GITPOD_SECRETS_STORE": self.url} | key | self.environment

    def start(self, *arguments: str, stderr: Any = subprocess.PIPE, **environment: str) -> subprocess.Popen[str]:
        """Start a command on the store."""
        given = self.given() | environment
        return subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=stderr, text=True, env=given)

    def run(self, *arguments: str, code: int = 0, **environment: str) -> Done:
        """Run a command on the store to its end, which is expected."""
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=60)
        assert process.returncode == code, err
        assert "Traceback" not in err
        return Done(process.returncode, out, err)

    def screen(self, *arguments: str, columns: int = 80) -> list[str]:
        """The lines of a terminal on which a command ran to its end."""
        terminal = Terminal([*COMMAND, *arguments], self.given(), columns)
        terminal.end()
        return [line for line in terminal.lines if line]

    def refusals(self, commands: list[list[str]]) -> list[str]:
        """What commands say that fail, run at the same time."""
        with ThreadPoolExecutor() as pool:
            running = [pool.submit(self.run, *command, code=2) for command in commands]
        return [each.result().err for each in running]

    def serve(self, **environment: str) -> str:
        """Serve it until the test ends, and return the URL."""
        log = self.folder / "service.log"
        with log.open("a") as stderr:
            process = self.start("serve", "--port", "0", stderr=stderr, **environment)
        self.serving.append(process)
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("export GITPOD_BASE_URL="), log.read_text()
        return line.split("=", 1)[1].strip()

    def stop(self) -> None:
        """End what serves it."""
        for process in self.serving:
            process.send_signal(signal.SIGTERM)
        for process in self.serving:
            process.communicate(timeout=30)
        self.serving.clear()

    def sql(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        """The rows of a statement."""
        database = Database(self.url)
        try:
            with database.engine.begin() as connection:
                found = connection.execute(text(statement), values)
                return [tuple(row) for row in found] if found.returns_rows else []
        finally:
            database.close()

    def snapshot(self) -> dict[str, object]:
        """All that is kept: the bytes of each file, or the rows of each table, in any order."""
        if self.url.startswith("sqlite:"):
            return {file.name: file.read_bytes() for file in sorted(self.folder.iterdir()) if file.is_file()}
        tables = self.sql("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        rows = {name: self.sql(f'SELECT * FROM "{name}"') for (name,) in tables}  # noqa: S608 # the catalogue's names
        return {name: sorted(map(repr, found)) for name, found in rows.items()}

    def age_keys(self) -> None:
        """Make the data keys older than services take to use them."""
        self.sql("UPDATE data_keys SET created_at = created_at - 60000000")

    def sealed_by(self, key_id: str, names: str = "") -> int:
        """How many values a data key seals, of the secrets whose names begin so."""
        statement = "SELECT count(*) FROM secrets WHERE key_id = :key_id AND name LIKE :names"
        return int(self.sql(statement, key_id=key_id, names=f"{names}%")[0][0])

    def newest_key(self) -> str:
        """The id of the newest data key."""
        return str(self.sql("SELECT id FROM data_keys ORDER BY created_at DESC, id DESC LIMIT 1")[0][0])


def client(token: str, url: str) -> Gitpod:
    """A client of a service or a store."""
    return Gitpod(bearer_token=token, base_url=url, max_retries=0)
