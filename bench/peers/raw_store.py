"""A database without a service: `python -m bench.peers.raw_store sqlite|postgresql WHERE INSERTS`, inserts a commit."""

import importlib
import sqlite3
import sys
import uuid
from collections.abc import Callable
from typing import Any

from bench.peers.worker import work

ROW = ("b0e12f6c-4c67-429d-a4a6-d9838b5da047", "v" * 200)
TABLE = "CREATE TABLE IF NOT EXISTS rows_of_bench (id TEXT PRIMARY KEY, project TEXT, value TEXT)"


def on_sqlite(file: str, inserts: int) -> Callable[[], object]:
    """A commit in a file that is on the disk before it returns."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(TABLE)
    return _commit(connection, "INSERT INTO rows_of_bench VALUES (?, ?, ?)", inserts)


def on_postgresql(url: str, inserts: int) -> Callable[[], object]:
    """A commit over a connection of psycopg."""
    psycopg: Any = importlib.import_module("psycopg")
    connection = psycopg.connect(url, autocommit=True, prepare_threshold=1)
    connection.execute(TABLE)
    return _commit(connection, "INSERT INTO rows_of_bench VALUES (%s, %s, %s)", inserts)


def _commit(connection: Any, insert: str, inserts: int) -> Callable[[], object]:  # noqa: ANN401 # of either library
    def several() -> None:
        connection.execute("BEGIN")
        for _ in range(inserts):
            connection.execute(insert, (str(uuid.uuid4()), *ROW))
        connection.execute("COMMIT")

    def one() -> None:
        connection.execute(insert, (str(uuid.uuid4()), *ROW))

    return one if inserts == 1 else several


def main() -> None:
    engine, where, inserts = sys.argv[1:4]
    work({"sqlite": on_sqlite, "postgresql": on_postgresql}[engine](where, int(inserts)))


if __name__ == "__main__":
    main()
