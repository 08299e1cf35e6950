"""What docs/service/ tells operators is done as they would do it, and names all that there is."""

import json
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import click
import pytest
from postgres import HOST, Cluster
from tests.support import pages
from tests.support.service import ROOT
from tests.support.service_guide import BLOCKS, GUIDE, ON_POSTGRESQL, ON_SQLITE, PATH, Reader, collector, values
from tests.support.tidy import untracked

from gitpod import Gitpod, InternalServerError
from gitpod.cli.commands.root import cli
from gitpod.server import shares, threads
from gitpod.server.edge import trailers
from gitpod.server.edge.applications import LONGEST_REQUEST
from gitpod.server.edge.headers import LONGEST_CALL
from gitpod.server.edge.options import MAX_REQUEST_BYTES
from gitpod.server.edge.readiness import LONGEST_CHECK
from gitpod.server.serving import grpc_server, http2, http2_frames, http2_settings, http2_stream, serve
from gitpod.server.serving.http_connection import Connection
from gitpod.server.serving.http_head import MAX_HEAD_BYTES
from gitpod.server.serving.http_requests import MAX_PIECES
from gitpod.server.storage import limits

PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
TOOLS = ("buf", "curl", "openssl")


@pytest.mark.skipif(
    not all(shutil.which(tool, path=PATH) for tool in TOOLS), reason=f"one of {', '.join(TOOLS)} is not installed"
)
def test_alone_on_sqlite(tmp_path: Path) -> None:
    """Every block on SQLite, in order; then a backup of each age opens, also one from before `reencrypt`."""
    taken: list[tuple[str, bytes]]
    with collector() as (port, taken), Reader(tmp_path, {"4318": str(port)}) as reader:
        alone = [block for block in ON_SQLITE if block.page in ("index", "tls", "health")]
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
    assert untracked(tmp_path, "examples", "exports", "log", "block.py") == []
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
        assert untracked(tmp_path, "examples", "exports", "log", "block.py") == []
        [statement] = [block.code for block in BLOCKS if block.language == "sql"]
        assert cluster.run("psql", "-v", "ON_ERROR_STOP=1", "-d", "secrets", "-c", statement) is None
        assert cluster.execute("SELECT count(*) > 0 FROM audit", "secrets") == [(True,)]
        for change in ("DELETE FROM audit", "UPDATE audit SET outcome = 'ok'", "UPDATE audit SET sequence = DEFAULT"):
            denied = cluster.run("psql", "-d", "secrets", "-c", f"SET ROLE secrets_service; {change}")
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
    assert {block.language for block in BLOCKS} == {"sh", "python", "json", "shell", "sql", "text"}
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
    manual = pages.text("cli")
    found = {name for path in sources for name in re.findall(r'"((?:GITPOD|OTEL)_[A-Z_]+)"', path.read_text())}
    assert len(found) >= 6
    assert [name for name in sorted(found) if f"`{name}`" not in GUIDE + manual] == []


def test_the_documented_limits_are_the_codes() -> None:
    """The numbers of the tables."""
    [keep_alive] = [option.default for option in cli.commands["serve"].params if option.name == "keep_alive"]
    shown = {
        f"{MAX_REQUEST_BYTES // 1024} KiB, decompressed": True,
        f"{LONGEST_CALL // 1000} s, or what the client grants": True,
        f"{Connection.max_connections}; cut when for {Connection.stall_timeout:g} s": True,
        f"after {keep_alive} s between an answer and the next request": True,
        f"{MAX_HEAD_BYTES // 1024} KiB; {MAX_PIECES:,} |": True,
        f"At most {limits.CONNECTIONS} for each process": True,
        f"{limits.BUSY_TIMEOUT:g} s; {limits.QUEUE_TIMEOUT:g} s; then": True,
        f"there, for {limits.SETTLE_TIMEOUT:g} s": True,
        f"{limits.ANSWER_TIMEOUT:g} s; {limits.SETTLE_TIMEOUT:g} s; then": True,
        f"or was written less than {limits.FRESH:g} s ago": True,
        f"no write went through for {limits.WRITER_TIMEOUT:g} s": True,
        f"has waited for more than {limits.STUCK_TIMEOUT:g} s": True,
        f"failed after {LONGEST_CHECK:g} s": True,
        f"gives those under way {serve.GRACE} s": True,
        f"| {http2_settings.MAX_HEAD_BYTES // 1024} KiB; {http2_stream.MAX_PIECES:,} |": True,
        f"the process ends {serve.LATEST_END} s after the signal": True,
        f"{LONGEST_REQUEST:g} s; then `deadline_exceeded`": True,
        f"{shares.TOKEN_CALLS} of a token; {shares.ORGANIZATION_CALLS} of an organization": True,
        f"| {shares.TOKEN_PLACES} of a token, and {shares.ORGANIZATION_PLACES} of an organization; the": True,
        f"{shares.STRANGERS}, which {threads.STRANGERS} threads look up": True,
        f"{http2.AGE + http2.LONGEST_CALL:g} s, of which the last {http2.LONGEST_CALL:g} are": True,
        f"Without a call, {http2.IDLE:g} s. Cut when for {http2_stream.STALL:g} s": True,
        f"{http2_frames.CREDIT:,}, and {http2_frames.CALL_CREDIT} more for each call that was answered; a reset": True,
        f"a reset counts as {http2_frames.RESET_COST}": True,
        f"{(trailers.MAX_MESSAGE_BYTES + trailers.MAX_DETAILS_BYTES) // 1024} KiB, as many clients refuse": True,
        f"| {grpc_server.CONNECTIONS}, or what the limit of open files": True,
        f"{http2_settings.STREAMS}; clients keep": True,
        f"{grpc_server.OPEN_CALLS} checks, {grpc_server.OPEN_CALLS} watches": True,
        f"when its check takes longer than {LONGEST_CHECK:g} s": True,
        f"all of its threads, {threads.Pools().count + 1}, before": True,
    }
    assert {text: text in GUIDE for text in shown} == shown
