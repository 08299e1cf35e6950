"""Private PostgreSQL clusters for tests and tools. Each lives in a temporary folder, and goes away with the process."""

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import LiteralString, Self
from urllib.parse import quote

import psycopg
from processes import account, processes
from psycopg import sql

MISSING = "PostgreSQL is not installed"
"""Why a caller skips what needs a cluster, when `binaries()` is None."""

HOST = "127.0.0.1"
SUPERUSER = "postgres"
MAX_CONNECTIONS = 200
PORTS = range(20_000, 32_000)
"""Below the ports that systems give to outgoing connections, which could take a stopped cluster's."""

# Survives its parent, whatever ends it: reads the postmaster's id whenever that changes, and cleans up at the end of
# its input. SIGQUIT stops a postmaster and all of its children without a word to the disk.
GUARD = """
while read -r line; do pid=$line; done
[ -z "$pid" ] || kill -QUIT "$pid"
tries=100
until rm -rf "$0" 2>/dev/null || [ $tries = 0 ]; do tries=$((tries - 1)); sleep 0.1; done
"""


def binaries() -> Path | None:
    """The folder of initdb and postgres: of the one on PATH, else of the newest version; None when there is none."""
    found = shutil.which("initdb")
    # Distributions link some programs, or wrap them, elsewhere; the rest lies beside the real ones.
    folders = [Path(found).resolve().parent] if found else []
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    folders += sorted(versions, key=lambda folder: _number(folder.parent.name), reverse=True)
    return next((each for each in folders if (each / "initdb").exists() and (each / "postgres").exists()), None)


def until(holds: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Wait for something to hold. Raises `TimeoutError`, which says what did not."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds:g} s still not so: {what}")
        time.sleep(0.01)


class Cluster:
    """A running PostgreSQL, as a context manager. Connections need no password, so it listens on loopback alone.

    Stops and leaves nothing behind when the block is left, and when the process ends in any other way.
    """

    def __init__(self, *, durable: bool = False, primary: "Cluster | None" = None) -> None:
        """Make and start it, as a standby of `primary` when that is given. Raises `RuntimeError` without PostgreSQL.

        `durable` leaves fsync on, as in production; without it a commit is safe from a crash of the cluster,
        not of the machine, and quicker.
        """
        found = binaries()
        if found is None:
            raise RuntimeError(MISSING)
        self._binaries = found
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        self._account = owner = account()
        self.port = free_port()
        # A socket's path must fit in about 100 characters, and other temporary folders may be deep or closed.
        short = "/tmp"  # noqa: S108 # mkdtemp makes a folder of its own in it
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir=short if Path(short).is_dir() else None))
        self._data, self._log = self.folder / "data", self.folder / "log"
        try:
            self._guard = self._start_guard()
        except BaseException:
            self.folder.rmdir()
            raise
        try:
            # -1 leaves it whose it is.
            user, group = owner["user"], owner["group"]
            os.chown(self.folder, -1 if user is None else user, -1 if group is None else group)
            if primary:
                self._copy(primary)
            else:
                self._initialize()
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def url(self, database: str = "postgres") -> str:
        """The libpq URL of a database over TCP."""
        return f"postgresql://{SUPERUSER}@{HOST}:{self.port}/{database}"

    def socket_url(self, database: str = "postgres") -> str:
        """The libpq URL of a database over the Unix socket."""
        return f"postgresql://{SUPERUSER}@/{database}?host={quote(str(self.folder), safe='')}&port={self.port}"

    def execute(self, statement: LiteralString | sql.Composed, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement as the superuser, in a connection of its own and outside of a transaction."""
        with psycopg.connect(self.socket_url(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def create_database(self, name: str) -> str:
        """Make an empty database, and return its URL."""
        self.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, and close whatever is connected to it."""
        self.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def start(self) -> None:
        """Start it on its port, also after a crash, and return once it takes connections."""
        settings = {
            "listen_addresses": HOST,
            "unix_socket_directories": str(self.folder),
            "max_connections": str(MAX_CONNECTIONS),
        }
        if not self._durable:
            settings |= dict.fromkeys(("fsync", "full_page_writes"), "off")
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._binaries / "postgres"), "-D", str(self._data), "-p", str(self.port), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=environment(),
                # Ctrl-C is for the program that uses the cluster, which then stops it.
                start_new_session=True,
                **self._account,
            )
        self._tell_guard(self._process.pid)
        until(self._is_ready, "the cluster takes connections")

    def stop(self) -> None:
        """Stop it in good order; connections are closed."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None
        self._tell_guard(None)

    def kill(self) -> None:
        """Crash it: SIGKILL for the postmaster and every child, all of them gone on return."""
        if self._process is None:
            return
        # Stopped, it starts no further child meanwhile.
        self._process.send_signal(signal.SIGSTOP)
        children = {pid for pid, parent, _ in processes() if parent == self._process.pid}
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait(30)
        self._process = None
        self._tell_guard(None)
        # One that only waits to be reaped is gone.
        until(
            lambda: not any(pid in children and state != "Z" for pid, _, state in processes()),
            "every process of the cluster is gone",
        )

    def close(self) -> None:
        """Stop it, and remove its folder. Safe to repeat."""
        try:
            self.stop()
        finally:
            if self._guard.stdin:
                self._guard.stdin.close()
            self._guard.wait(30)

    def standby(self) -> "Cluster":
        """Make a synchronous standby, a context manager too.

        From now on a commit here waits for it, for ever when it is gone; its `promote()` is for when this one is.
        """
        standby = Cluster(durable=self._durable, primary=self)
        try:
            # Only now, so that the copy of this cluster's settings does not wait for a standby of its own.
            self.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            self.execute("SELECT pg_reload_conf()")
            state: LiteralString = "SELECT sync_state FROM pg_stat_replication"
            until(lambda: self.execute(state) == [("sync",)], "the standby is synchronous")
        except BaseException:
            standby.close()
            raise
        return standby

    def promote(self) -> None:
        """Make this standby a primary, and return once it takes writes."""
        self.execute("SELECT pg_promote(true, 30)")
        until(lambda: self.execute("SELECT pg_is_in_recovery()") == [(False,)], "the standby is a primary")

    def run(self, program: str, *arguments: str) -> str | None:
        """Run one of PostgreSQL's programs against it: None when all was well, else what it said."""
        connection = ["-h", str(self.folder), "-p", str(self.port), "-U", SUPERUSER]
        done = self._run(program, *connection, *arguments)
        return (done.stdout + done.stderr).strip() if done.returncode else None

    def has(self, program: str) -> bool:
        """Whether a program of PostgreSQL is installed; some distributions pack the rarer ones by themselves."""
        return (self._binaries / program).exists()

    def _start_guard(self) -> "subprocess.Popen[bytes]":
        # A caller that finds its processes by a variable, and ends them all, leaves this one to its work.
        environment = {"PATH": os.environ.get("PATH", os.defpath)}
        command = ["sh", "-c", GUARD, str(self.folder)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, cwd="/", env=environment, start_new_session=True)

    def _initialize(self) -> None:
        options = ["--auth=trust", "--no-sync", "--no-instructions", "--data-checksums"]
        self._make("initdb", *options, "--encoding=UTF8", "--locale=C", f"--username={SUPERUSER}", str(self._data))

    def _copy(self, primary: "Cluster") -> None:
        options = ["--checkpoint=fast", "--no-sync", "--write-recovery-conf"]
        self._make("pg_basebackup", *options, "-d", primary.url(), "-D", str(self._data))

    def _make(self, program: str, *arguments: str) -> None:
        done = self._run(program, *arguments)
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.strip()}")

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self._binaries / program), *arguments]
        given = environment()
        return subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=self.folder, env=given, **self._account
        )

    def _is_ready(self) -> bool:
        """Whether it says so in postmaster.pid, as pg_ctl has it: line 1 is the process, line 8 its state."""
        assert self._process
        if self._process.poll() is not None:
            self._process = None
            self._tell_guard(None)
            raise RuntimeError(f"PostgreSQL did not start:\n{self._log.read_text()[-2000:]}")
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(self._process.pid) and lines[7].strip() == "ready"  # noqa: PLR2004 # its line 8

    def _tell_guard(self, pid: int | None) -> None:
        assert self._guard.stdin
        self._guard.stdin.write(f"{pid or ''}\n".encode())
        self._guard.stdin.flush()


def environment() -> dict[str, str]:
    """This process's, without what would lead PostgreSQL's programs elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def free_port() -> int:
    """A port of loopback that nothing listens on now."""
    for port in random.sample(PORTS, 100):
        with suppress(OSError), socket.create_server((HOST, port)):
            return port
    raise RuntimeError("found no free port")


def _number(version: str) -> float:
    try:
        return float(version)
    except ValueError:
        return 0
