"""Stores that are not well while clients write: full disks, removed files, databases that do not go on."""

import os
import random
import resource
import sqlite3
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import psycopg
from ledger import WRITERS, Comparison, compare, writing
from postgres import Cluster, until
from processes import family, paused
from served import TOKEN, Service

from gitpod import Gitpod

LONGEST = 60.0
"""Seconds for writes to fail or to go on again: the service gives up a silent connection after 10."""
PAUSE = 40.0
"""Seconds for which backends stay stopped when no write goes on before they do."""
MOST_CONNECTIONS = 16
"""Connections of one service (`limits.CONNECTIONS`)."""
DISK = 32 * 1024 * 1024
"""The size of the small disk, in bytes."""
SERVING = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name = 'gitpod-secrets'"

Fields = tuple[int, str, str, int, Comparison, str, bool]
"""The fields of a `chaos.Run`."""
Stream = Callable[[], int]
"""How many writes were acknowledged until now."""


def unwell_sqlite(runs: int, seed: int) -> Iterator[Fields]:
    """Fill the disk, remove the log or its shared memory, in turn, each time on a new store. Yields the fields."""
    trouble = {"disk": _fill_disk, "wal": _remove("-wal"), "shm": _remove("-shm")}
    for number in range(1, runs + 1):
        what = list(trouble)[(number - 1) % len(trouble)]
        chance = random.Random(f"{seed} unwell {number}")  # noqa: S311 # to be repeated
        with tempfile.TemporaryDirectory() as folder, _small_disk(Path(folder), what == "disk") as disk:
            path = disk / "secrets.db"
            with Service(f"sqlite:///{path}", Path(folder)) as service:
                acknowledged, seen = _stream(service, chance, partial(trouble[what], service, path))
            with closing(sqlite3.connect(path)) as connection:
                integrity = "; ".join(row[0] for row in connection.execute("PRAGMA integrity_check"))
        yield number, "sqlite", what, acknowledged, seen, integrity, integrity == "ok"


def stopped_postgres(runs: int, seed: int) -> Iterator[Fields]:
    """Stop the backends of the service, or all of PostgreSQL, and let them go on. Yields the fields of a `Run`."""
    with Cluster(durable=True) as cluster:
        for number in range(1, runs + 1):
            what, database = ("backends", "server")[(number - 1) % 2], f"unwell{number}"
            chance = random.Random(f"{seed} stopped {number}")  # noqa: S311 # to be repeated
            with (
                tempfile.TemporaryDirectory() as folder,
                Service(cluster.create_database(database), Path(folder)) as service,
            ):
                stop = _stop_backends if what == "backends" else _stop_server
                acknowledged, seen = _stream(service, chance, partial(stop, cluster, database))
            yield number, "postgres", what, acknowledged, seen, "not checked", True
            cluster.drop_database(database)


def postmaster(cluster: Cluster) -> int:
    """The id of a cluster's first process."""
    return int((cluster.folder / "data/postmaster.pid").read_text().split()[0])


def _stream(service: Service, chance: random.Random, trouble: Callable[[Stream], None]) -> tuple[int, Comparison]:
    """Make trouble while clients write: how many writes were acknowledged, and what is there after a restart."""
    project, seed = str(uuid.UUID(int=chance.getrandbits(128), version=4)), str(chance.random())
    with (
        Gitpod(bearer_token=TOKEN, base_url=service.url, timeout=50, max_retries=0) as client,
        writing(client, project, seed) as (writers, acknowledged),
    ):
        time.sleep(chance.uniform(0.02, 0.8))
        trouble(acknowledged)
    service.stop()
    service.start()
    with Gitpod(bearer_token=TOKEN, base_url=service.url) as client:
        seen = compare(client, project, writers)
    service.stop()
    return acknowledged(), seen


def _ends(stream: Stream) -> None:
    """Wait until no write is acknowledged any more."""
    last, since = stream(), time.monotonic()

    def has_ended() -> bool:
        nonlocal last, since
        if stream() != last:
            last, since = stream(), time.monotonic()
        return time.monotonic() - since > 1

    until(has_ended, "no write is acknowledged any more", LONGEST)


def _goes_on(stream: Stream, seconds: float = LONGEST) -> None:
    """Wait until every writer can have had an acknowledgement."""
    before = stream()
    until(lambda: stream() > before + WRITERS, "writes go on", seconds)


def _remove(suffix: str) -> Callable[[Service, Path, Stream], None]:
    def remove(_: Service, path: Path, stream: Stream) -> None:
        Path(f"{path}{suffix}").unlink()
        _ends(stream)

    return remove


def _fill_disk(service: Service, path: Path, stream: Stream) -> None:
    """Leave no room until writes fail, then make room. Without a disk of its own, the service's files may not grow."""
    if path.parent.is_mount():
        rest = path.with_name("rest")
        with rest.open("wb", buffering=0) as file:
            with suppress(OSError):
                while True:
                    file.write(bytes(4096))
            _ends(stream)
        rest.unlink()
    else:
        log = Path(f"{path}-wal").stat().st_size
        resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (log, resource.RLIM_INFINITY))
        _ends(stream)
        resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    _goes_on(stream)


@contextmanager
def _small_disk(folder: Path, is_wanted: bool) -> Generator[Path]:  # noqa: FBT001 # a plain yes or no
    """Mount a small disk in the folder where this process may; else yield the folder itself."""
    disk = folder / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(disk)]
    if not is_wanted or os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        yield disk
        return
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _stop_backends(cluster: Cluster, database: str, stream: Stream) -> None:
    """Stop every backend that the service has now, also in the middle of a commit.

    Writes go on over new ones, unless one of them holds a lock of the whole server.
    """
    with psycopg.connect(cluster.socket_url(), autocommit=True) as superuser:
        pids = [pid for (pid,) in superuser.execute(SERVING, [database])]
        with paused(pids):
            with suppress(TimeoutError):
                _goes_on(stream, PAUSE)
            left = len(superuser.execute(SERVING, [database]).fetchall()) - len(pids)
            assert left <= MOST_CONNECTIONS, f"{left} connections of the service were left behind"
    _goes_on(stream)


def _stop_server(cluster: Cluster, _: str, stream: Stream) -> None:
    """Stop every process of the server, and let it go on."""
    with paused(family(postmaster(cluster))):
        _ends(stream)
        time.sleep(2)
    _goes_on(stream)
