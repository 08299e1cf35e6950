"""`make chaos`: kill, stop or starve the service or its database under clients; what was acknowledged must be there."""

import argparse
import random
import signal
import sqlite3
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg
from ledger import WRITERS, Comparison, compare, writing
from no_threads import without_threads
from postgres import MISSING, Cluster, binaries, until
from psycopg import sql
from served import TOKEN, Service
from unwell import stopped_postgres, unwell_sqlite

from gitpod import Gitpod

TARGETS = ("both", "service", "postgres")
"""What is killed on PostgreSQL, in turn."""
COLUMNS = "{:>4}  {:<8}  {:<8}  {:>12}  {:>4}  {:>5}  {:>14}  {}"
HEADINGS = ("run", "engine", "killed", "acknowledged", "lost", "wrong", "unacknowledged", "integrity")


@dataclass(frozen=True, slots=True)
class Run:
    """One crash, and what was there after it. `comparison.unacknowledged` counts what may be there or not."""

    number: int
    engine: str
    killed: str
    acknowledged: int
    comparison: Comparison
    integrity: str
    is_intact: bool

    @property
    def holds(self) -> bool:
        """Whether all that was acknowledged is there, and nothing else."""
        return self.is_intact and not self.comparison.lost and not self.comparison.wrong

    def __str__(self) -> str:
        seen = self.comparison
        counts = (self.acknowledged, seen.lost, seen.wrong, seen.unacknowledged)
        row = COLUMNS.format(self.number, self.engine, self.killed, *counts, self.integrity)
        return "\n".join([row, *(f"      {note}" for note in seen.notes)])


def on_sqlite(runs: int, seed: int) -> Iterator[Run]:
    """Kill the service on SQLite, each time on a new store."""
    for number in range(1, runs + 1):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "secrets.db"
            chance = random.Random(f"{seed} sqlite {number}")  # noqa: S311 # to be repeated
            with Service(f"sqlite:///{path}", Path(folder)) as service:
                acknowledged, seen = _crash(service, None, "service", chance)
            with closing(sqlite3.connect(path)) as connection:
                integrity = "; ".join(row[0] for row in connection.execute("PRAGMA integrity_check"))
            yield Run(number, "sqlite", "service", acknowledged, seen, integrity, integrity == "ok")


def on_postgres(runs: int, seed: int) -> Iterator[Run]:
    """Kill the service on PostgreSQL, or PostgreSQL, or both, each time on a new database. Needs `binaries()`."""
    with Cluster(durable=True) as cluster:
        for number in range(1, runs + 1):
            target, database = TARGETS[(number - 1) % len(TARGETS)], f"chaos{number}"
            chance = random.Random(f"{seed} postgres {number}")  # noqa: S311 # to be repeated
            with (
                tempfile.TemporaryDirectory() as folder,
                Service(cluster.create_database(database), Path(folder)) as service,
            ):
                acknowledged, seen = _crash(service, cluster, target, chance)
            yield Run(number, "postgres", target, acknowledged, seen, *_check(cluster, database))
            cluster.drop_database(database)


def _crash(service: Service, cluster: Cluster | None, target: str, chance: random.Random) -> tuple[int, Comparison]:
    """Kill in mid-stream and start again: how many writes were acknowledged, and what is there."""
    project = str(uuid.UUID(int=chance.getrandbits(128), version=4))
    seed, moment = str(chance.random()), chance.uniform(0.02, 0.8)
    kills: list[Callable[[], None]] = [service.kill] if target != "postgres" else []
    kills += [cluster.kill] if cluster and target != "service" else []
    chance.shuffle(kills)
    with (
        Gitpod(bearer_token=TOKEN, base_url=service.url, timeout=20, max_retries=0) as client,
        writing(client, project, seed) as (writers, acknowledged),
    ):
        time.sleep(moment)
        for kill in kills:
            kill()
        if cluster and target == "postgres":
            # The service lives on, and finds its database again by itself.
            cluster.start()
            before = acknowledged()
            until(lambda: acknowledged() > before + WRITERS, "writes go on after the restart of PostgreSQL")
    if cluster and target == "both":
        cluster.start()
    if target != "postgres":
        service.start()
    with Gitpod(bearer_token=TOKEN, base_url=service.url) as client:
        seen = compare(client, project, writers)
    service.stop()
    return acknowledged(), seen


def _check(cluster: Cluster, database: str) -> tuple[str, bool]:
    """Verify every table and index; without pg_amcheck, read every row, of which damaged ones raise."""
    extension = "SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck'"
    if cluster.has("pg_amcheck") and cluster.execute(extension):
        options = ["--install-missing", "--heapallindexed", "--parent-check", f"--database={database}"]
        said = cluster.run("pg_amcheck", *options)
        return said or "ok", said is None
    counted = 0
    try:
        for (name,) in cluster.execute("SELECT relname FROM pg_stat_user_tables", database):
            count = sql.SQL("SELECT count(t.*) FROM {} t").format(sql.Identifier(str(name)))
            counted += int(str(cluster.execute(count, database)[0][0]))
    except psycopg.Error as error:
        return str(error).strip(), False
    return f"{counted} rows", True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sqlite", type=int, default=20, metavar="N", help="runs on SQLite (20)")
    parser.add_argument("--postgres", type=int, default=5, metavar="M", help="runs on PostgreSQL (5)")
    parser.add_argument("--threads", type=int, default=5, metavar="T", help="runs in which no thread starts (5)")
    parser.add_argument("--unwell", type=int, default=6, metavar="U", help="runs on each engine that is not well (6)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="what the choices follow from")
    options = parser.parse_args()
    print(f"seed {options.seed}\n\n{COLUMNS.format(*HEADINGS)}", flush=True)
    failed = total = 0
    engines = [on_sqlite(options.sqlite, options.seed)]
    engines.append(Run(*fields) for fields in without_threads(options.threads, options.seed))
    engines.append(Run(*fields) for fields in unwell_sqlite(options.unwell, options.seed))
    if binaries() is not None and options.postgres:
        engines.append(on_postgres(options.postgres, options.seed))
        engines.append(Run(*fields) for fields in stopped_postgres(options.unwell, options.seed))
    for run in (run for engine in engines for run in engine):
        print(run, flush=True)
        total += 1
        failed += not run.holds
    if binaries() is None and options.postgres:
        print(f"\nskipped on PostgreSQL: {MISSING}")
    print(f"\n{total - failed} of {total} runs kept all that was acknowledged")
    sys.exit(1 if failed else 0)


def stopped(signal_number: int, _frame: object) -> None:
    # Services, clusters and folders go away as the stack unwinds.
    sys.exit(128 + signal_number)


if __name__ == "__main__":
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, stopped)
    main()
