"""A service that can start no more threads, as under a limit of processes: what clients are told must be true."""

import random
import signal
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from ledger import Comparison, Writer, compare
from postgres import until
from served import TOKEN, Service

from gitpod import Gitpod

FIRST, MORE = 4, 36
"""Writers before the moment from which no thread starts, and those that come after it."""

MAIN = """
import signal, sys, threading
from gitpod.cli import main

name = "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"
real, left = getattr(threading, name), {most}

def start(*arguments, **options):
    global left
    left -= 1
    if left < 0:
        raise RuntimeError("can't start new thread")
    return real(*arguments, **options)

def from_now_on(*_):
    global left
    left = 0

setattr(threading, name, start)
signal.signal(signal.SIGUSR1, from_now_on)
main()
"""
"""The service, of which so many threads can be started, and none any more after SIGUSR1."""


def without_threads(runs: int, seed: int) -> Iterator[tuple[int, str, str, int, Comparison, str, bool]]:
    """Let no thread start while clients write, each time on a new store. Yields the fields of a `Run`."""
    for number in range(1, runs + 1):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "secrets.db"
            chance = random.Random(f"{seed} threads {number}")  # noqa: S311 # to be repeated
            with Service(f"sqlite:///{path}", Path(folder), main=MAIN.format(most=10_000)) as service:
                acknowledged, seen = _starve(service, chance)
                # It ends, though it can start no thread for that.
                service.stop()
            with closing(sqlite3.connect(path)) as connection:
                integrity = "; ".join(row[0] for row in connection.execute("PRAGMA integrity_check"))
            yield number, "sqlite", "threads", acknowledged, seen, integrity, integrity == "ok"


def _starve(service: Service, chance: random.Random) -> tuple[int, Comparison]:
    """Let no thread start in mid-stream: how many writes were acknowledged, and what is there."""
    project, seed = str(uuid.UUID(int=chance.getrandbits(128), version=4)), str(chance.random())
    with Gitpod(bearer_token=TOKEN, base_url=service.url, timeout=20, max_retries=0) as client:
        writers = [Writer(client, project, number, seed) for number in range(FIRST + MORE)]
        for writer in writers[:FIRST]:
            writer.start()
        try:
            until(lambda: any(writer.acknowledged for writer in writers), "a first write is acknowledged")
            service.send(signal.SIGUSR1)
            for writer in writers[FIRST:]:
                writer.start()
            time.sleep(chance.uniform(0.5, 2))
        finally:
            for writer in writers:
                if writer.is_alive():
                    writer.stop()
        seen = compare(client, project, writers)
    return sum(len(writer.acknowledged) for writer in writers), seen
