"""What docs/service.md tells operators is done as they would do it, and names all that there is."""

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Self
from urllib.request import urlopen

import click
import pytest
from postgres import HOST, Cluster, binaries
from tests.support.service import ROOT

from gitpod import Gitpod, InternalServerError
from gitpod.cli.commands.root import cli
from gitpod.server.app import MAX_REQUEST_BYTES
from gitpod.server.edge.headers import LONGEST_CALL
from gitpod.server.serving import grpc_server, serve
from gitpod.server.serving.http_connection import Connection
from gitpod.server.storage import commit, database

GUIDE = (ROOT / "docs/service.md").read_text()
UNIT = ROOT / "examples/gitpod-secrets.service"
PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
KEY = "gitpod-secrets-key-1:" + "A" * 43 + "="
PATH = os.pathsep.join([str(Path(sys.executable).parent), *filter(None, [str(binaries() or "")]), os.environ["PATH"]])
TOOLS = ("buf", "curl", "openssl")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code, and the headings that it stands under."""

    headings: str
    language: str
    code: str


def parsed() -> Iterator[Block]:
    """The guide's blocks, in order."""
    headings: list[str] = []
    for heading, language, code in re.findall(r"^(#+ [^\n]+)$|^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL):
        if heading:
            headings = [*headings[: heading.index(" ") - 1], heading]
        else:
            yield Block(" ".join(headings), language, code)


BLOCKS = list(parsed())
ON_POSTGRESQL = [block for block in BLOCKS if "PostgreSQL" in block.headings or block.language == "sql"]
ON_SQLITE = [block for block in BLOCKS if block not in ON_POSTGRESQL]


class Reader:
    """Pastes blocks into two shells in one folder: one that serves, and one for everything else."""

    def __init__(self, folder: Path, replaced: dict[str, str]) -> None:
        self.folder = folder
        self.replaced = replaced | {port: str(free_port()) for port in ("8080", "8443", "50051")}
        (folder / "examples").symlink_to(ROOT / "examples")
        unwanted = re.compile(r"(GITPOD|OTEL|PG)|.*_proxy$", re.IGNORECASE)
        self.environment = {name: value for name, value in os.environ.items() if not unwanted.match(name)}
        self.environment["PATH"] = PATH
        self._service: subprocess.Popen[str] | None = None
        (folder / "exports").touch()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._service:
            self._service.kill()
            self._service.communicate()

    def follow(self, blocks: list[Block]) -> str:
        """Run what of them can be run. Returns what they printed."""
        return "".join(self._paste(block) for block in blocks if block.language in ("sh", "python"))

    def stop(self) -> None:
        """Stop what serves, which must end well."""
        if self._service:
            self._service.terminate()
            self._service.communicate(timeout=30)
            assert self._service.returncode == 0, (self.folder / "log").read_text()
        self._service = None

    def _paste(self, block: Block) -> str:
        code = block.code
        for shown, real in self.replaced.items():
            code = code.replace(shown, real)
        if "gitpod-secrets serve" in code:
            self.stop()
            self._serve(code.replace("gitpod-secrets serve", "exec gitpod-secrets serve"))
            return ""
        if block.language == "python":
            (self.folder / "block.py").write_text(code)
            code = "python block.py"
        done = subprocess.run(
            ["sh", "-ec", f". ./exports\n{code}\nexport -p > exports"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _serve(self, code: str) -> None:
        with (self.folder / "log").open("a") as log:
            self._service = subprocess.Popen(
                ["sh", "-ec", code],
                cwd=self.folder,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._service.stdout
        line = self._service.stdout.readline()
        assert line.startswith("export GITPOD_BASE_URL="), (self.folder / "log").read_text()


def free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def collector() -> Generator[tuple[int, list[tuple[str, bytes]]]]:
    """Something that takes what OTLP sends: its port, and the paths and bodies."""
    taken: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] # of any arguments
            """Nothing."""

    with HTTPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port, taken
        finally:
            server.shutdown()
            thread.join()


def values(path: Path, key: Path) -> list[str]:
    """Every value in a store, opened by a key."""
    copy = path.with_name(f"{path.name}.opened")
    shutil.copy(path, copy)
    shutil.copy(key, f"{copy}.key")
    with Gitpod(base_url=f"sqlite:///{copy}") as client:
        return [client.secrets.get_value(secret_id=secret.id).reveal() for secret in client.secrets.list()]


@pytest.mark.skipif(
    not all(shutil.which(tool, path=PATH) for tool in TOOLS), reason=f"one of {', '.join(TOOLS)} is not installed"
)
def test_alone_on_sqlite(tmp_path: Path) -> None:
    """Every block on SQLite, in order; then a backup of each age opens, also one from before `reencrypt`."""
    taken: list[tuple[str, bytes]]
    with collector() as (port, taken), Reader(tmp_path, {"4318": str(port)}) as reader:
        alone = [block for block in ON_SQLITE if "## On SQLite" in block.headings]
        printed = reader.follow(alone)
        [backup] = [block for block in ON_SQLITE if "backup(copy)" in block.code]
        reader.follow([backup])
        (tmp_path / "backup.db").rename(tmp_path / "early.db")
        printed += reader.follow([block for block in ON_SQLITE if block not in alone])
        reader.stop()
    assert "ok\nok\n" in printed
    assert "ok\nDATABASE_URL\n" in printed
    assert "access-control-allow-origin" in printed
    assert "DATABASE_URL 40\n" in printed
    secret = b"postgresql://user:pass@localhost:5432/db"
    assert {"/v1/traces", "/v1/metrics"} <= {path for path, _ in taken}
    assert not any(secret in body or b"gps_" in body for _, body in taken)
    for name in ("early.db", "backup.db"):
        assert values(tmp_path / name, tmp_path / "secrets.db.key") == [secret.decode()]
        assert (tmp_path / "backup.db").stat().st_mode & 0o077 == 0


def test_on_postgresql(cluster: Cluster, tmp_path: Path) -> None:
    """Every block on PostgreSQL, in order, by three users with the documented rights."""
    try:
        with Reader(tmp_path, {"db.example.com": f"{HOST}:{cluster.port}"}) as reader:
            printed = reader.follow(ON_POSTGRESQL)
            reader.stop()
        assert "DATABASE_URL 40\n" in printed
        [statement] = [block.code for block in BLOCKS if block.language == "sql"]
        assert cluster.run("psql", "-v", "ON_ERROR_STOP=1", "-d", "secrets", "-c", statement) is None
        assert cluster.execute("SELECT count(*) > 0 FROM audit", "secrets") == [(True,)]
        denied = cluster.run("psql", "-d", "secrets", "-c", "SET ROLE secrets_service; DELETE FROM audit")
        assert denied is not None
        assert "permission denied" in denied
    finally:
        for name in ("secrets", "restored"):
            cluster.drop_database(name)
        cluster.execute("DROP ROLE IF EXISTS secrets_owner")
        cluster.execute("DROP ROLE IF EXISTS secrets_operator")
        cluster.execute("DROP ROLE IF EXISTS secrets_service")


@pytest.mark.slow
def test_who_writes_to_the_database_moves_and_alters_no_value_but_rolls_back(tmp_path: Path) -> None:
    """A value opens where it was sealed, with what it was sealed with; its own older row is as good as the newest."""
    with (
        Gitpod(base_url=f"sqlite:///{tmp_path}/s.db") as client,
        closing(sqlite3.connect(tmp_path / "s.db", isolation_level=None)) as thief,
    ):
        made = [
            client.secrets.create(name=name, value="old", project_id=PROJECT, file_path=f"/{name}").secret.id
            for name in ("ONE", "TWO")
        ]
        [before] = thief.execute("SELECT ciphertext, record FROM secrets WHERE id = ?", made[:1]).fetchall()
        for change in (
            "ciphertext = (SELECT ciphertext FROM secrets WHERE id = ?2)",
            "scope_id = ?2",
            "record = CAST(replace(record, '/ONE', '/OWN') AS BLOB)",
        ):
            [row] = thief.execute("SELECT ciphertext, scope_id, record FROM secrets WHERE id = ?", made[:1]).fetchall()
            thief.execute(f"UPDATE secrets SET {change} WHERE id = ?1", made if "?2" in change else made[:1])  # noqa: S608 # these
            with pytest.raises(InternalServerError, match="data_loss"):
                client.secrets.get_value(secret_id=made[0])
            with pytest.raises(InternalServerError, match="data_loss"):
                client.secrets.update_value(secret_id=made[0], value="laundered")
            restored = "UPDATE secrets SET ciphertext = ?, scope_id = ?, record = ? WHERE id = ?"
            thief.execute(restored, (*row, made[0]))
        client.secrets.update_value(secret_id=made[0], value="new")
        thief.execute("UPDATE secrets SET ciphertext = ?, record = ? WHERE id = ?", (*before, made[0]))
        assert client.secrets.get_value(secret_id=made[0]).reveal() == "old"


def test_what_is_not_run_can_be_read() -> None:
    """Every block is of a known language; scripts that are not run parse, and JSON is a log line."""
    assert {block.language for block in BLOCKS} == {"sh", "python", "json", "shell", "sql"}
    for block in BLOCKS:
        if block.language == "shell":
            subprocess.run(["sh", "-n"], input=block.code, text=True, check=True)
        if block.language == "json":
            assert json.loads(block.code)["message"] == "request"


def test_every_option_and_command_is_documented() -> None:
    """Of those that operators have."""
    pending: list[click.Command] = [cli.commands[name] for name in ("serve", "token", "keys", "migrate", "audit")]
    commands: list[click.Command] = []
    while pending:
        command = pending.pop()
        commands.append(command)
        pending += command.commands.values() if isinstance(command, click.Group) else []
    names = [str(command.name) for command in commands]
    options = [option for command in commands for each in command.params for option in each.opts if option[0] == "-"]
    assert len(options) > 30
    assert [name for name in names + options if not re.search(rf"(?<![\w-]){name}(?![\w-])", GUIDE)] == []


def test_every_environment_variable_is_documented() -> None:
    """Of those that the service and the command read, or hand on; a user's are in the command's manual."""
    sources = [path for folder in ("server", "cli") for path in (ROOT / "src/gitpod" / folder).rglob("*.py")]
    manual = (ROOT / "docs/cli.md").read_text()
    found = {name for path in sources for name in re.findall(r'"((?:GITPOD|OTEL)_[A-Z_]+)"', path.read_text())}
    assert len(found) >= 6
    assert [name for name in sorted(found) if f"`{name}`" not in GUIDE + manual] == []


def test_the_documented_limits_are_the_codes() -> None:
    """The numbers of the tables."""
    shown = {
        f"{MAX_REQUEST_BYTES // 1024} KiB, decompressed": True,
        f"{LONGEST_CALL // 1000} s, or what the client grants": True,
        f"{Connection.max_connections}; cut when for {Connection.stall_timeout:g} s": True,
        f"At most {database.CONNECTIONS} for each process": True,
        f"{database.BUSY_TIMEOUT:g} s; {commit.QUEUE_TIMEOUT:g} s; then": True,
        f"there, for {commit.SETTLE_TIMEOUT:g} s": True,
        f"gives those under way {serve.GRACE} s": True,
        f"{grpc_server.MAX_METADATA_BYTES // 1024} KiB": True,
    }
    assert {text: text in GUIDE for text in shown} == shown


def test_the_stand_in_of_a_kms_binds_to_what_it_is_told(tmp_path: Path) -> None:
    """What was wrapped for one data key is not unwrapped as another."""
    (tmp_path / "key").write_bytes(bytes(32))

    def kms(action: str, given: bytes, bound: str) -> subprocess.CompletedProcess[bytes]:
        environment = os.environ | {"KMS_KEY_FILE": str(tmp_path / "key"), "GITPOD_ASSOCIATED_DATA": bound}
        command = [sys.executable, str(ROOT / "examples/kms"), action]
        return subprocess.run(command, input=given, env=environment, capture_output=True, check=False)

    wrapped = kms("wrap", b"dmFsdWU=", "00ff").stdout
    assert kms("unwrap", wrapped, "00ff").stdout == b"dmFsdWU=\n"
    refused = kms("unwrap", wrapped, "00fe")
    assert (refused.returncode, refused.stdout) == (1, b"")
    assert b"Traceback" not in refused.stderr


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_understands_the_unit() -> None:
    """Without a warning."""
    done = subprocess.run(["systemd-analyze", "verify", str(UNIT)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_units_command_serves(tmp_path: Path) -> None:
    """With key and token from the folder that systemd puts credentials in, whatever their mode."""
    [command] = re.findall(r"^ExecStart=/bin/sh -ec '(.+)'$", UNIT.read_text(), re.MULTILINE)
    [settings] = re.findall(r"^Environment=(.+)$", UNIT.read_text(), re.MULTILINE)
    for name, text in {"key": KEY, "token": "t0ken"}.items():
        (tmp_path / name).write_text(f"{text}\n")
        (tmp_path / name).chmod(0o440)
    script = command.replace("$$", "$").replace("%d", str(tmp_path)).replace("/opt/gitpod-secrets/bin/", "")
    given = dict(setting.split("=", 1) for setting in settings.split())
    given["GITPOD_SECRETS_STORE"] = f"sqlite:///{tmp_path}/secrets.db"
    given["PATH"] = PATH
    process = subprocess.Popen(
        ["/bin/sh", "-ec", script.replace("8080", "0")],
        env=os.environ | given,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout
    try:
        url = process.stdout.readline().strip().removeprefix("export GITPOD_BASE_URL=")
        with urlopen(f"{url}/readyz") as answer:  # noqa: S310 # ours
            assert answer.status == 200
        with Gitpod(base_url=url, bearer_token="t0ken") as client:
            assert list(client.secrets.list()) == []
        assert list(tmp_path.glob("*.key")) == []
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 0
