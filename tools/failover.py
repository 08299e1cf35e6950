"""`make failover`: let a Patroni cluster lose its leader while clients write, and count losses and seconds.

Without Patroni, etcd and HAProxy it kills a plain primary instead, and promotes its standby.
"""

import argparse
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import pairwise

from failover_pair import fail_over
from ledger import Comparison, Writer, compare
from patroni_cluster import Node, PatroniCluster, missing
from postgres import MISSING, binaries, until
from served import TOKEN, Service

from gitpod import Gitpod

WRITERS = 3
"""Clients of each path."""
PAUSE = 0.02
"""Seconds that a client waits after each write, so that reading all values afterwards does not take longer."""
SLACK = 3.0
"""Seconds that writes to all hosts may take longer to go on than the cluster takes to have a new leader."""
PATIENCE = 60.0
"""Seconds to wait for a new leader, and for each client to write again."""

EVENTS: dict[str, Callable[[PatroniCluster, Node], None]] = {
    "postgres-killed": lambda _, leader: leader.kill_postgres(),
    "both-killed": lambda _, leader: leader.kill(),
    "patroni-stopped": lambda _, leader: leader.stop_patroni(),
    "both-stopped": lambda _, leader: leader.stop(),
    "switchover": lambda cluster, leader: cluster.switch(leader),
}
"""What happens to the leader in a round."""
COLUMNS = "| {:<15} | {:<10} | {:>12} | {:>4} | {:>5} | {:>7} | {:>8} | {:>11} | {:>16} |"
"""A row of Markdown, as docs/service/high-availability.md has it."""
HEADINGS = ("event", "path", "acknowledged", "lost", "false", "unknown", "rejected", "longest gap", "new leader after")


@dataclass(frozen=True, slots=True)
class Seen:
    """What the clients of one path saw in one round."""

    event: str
    path: str
    writers: list[Writer]
    comparison: Comparison
    began: float
    """When the event began, by `time.monotonic()`."""
    elected: float
    """Seconds from then until Patroni said of another node that it takes writes."""
    ended: float

    @property
    def gap(self) -> float:
        """The longest time without an acknowledged write from the event on, in seconds."""
        times = sorted(when for writer in self.writers for when in writer.acknowledged)
        before = [when for when in times if when < self.began][-1:]
        return max(b - a for a, b in pairwise([*before, *(when for when in times if when >= self.began), self.ended]))

    @property
    def false_conflicts(self) -> int:
        """Creates answered by `already_exists`, though nobody else made that name."""
        return sum(surprise.endswith("already_exists") for writer in self.writers for surprise in writer.surprises)

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, no client was told a lie, and the service found the new leader in time."""
        is_true = not self.comparison.lost and not self.comparison.wrong
        return is_true and (self.path != "multi-host" or self.gap <= self.elected + SLACK)

    def __str__(self) -> str:
        unknown, rejected = (sum(w.failed[outcome] for w in self.writers) for outcome in ("unknown", "rejected"))
        counts = (sum(len(w.acknowledged) for w in self.writers), self.comparison.lost, self.false_conflicts)
        row = (*counts, unknown, rejected, f"{self.gap:.1f} s", f"{self.elected:.1f} s")
        notes = [f"    {note}" for note in self.comparison.notes]
        return "\n".join([COLUMNS.format(self.event, self.path, *row), *notes])


def on_patroni(events: list[str], seconds: float) -> Iterator[Seen]:
    """Let the leader of a cluster suffer each event in turn. Needs that nothing is `missing()`.

    Clients write `seconds` long before the event, after all of them go on, and after the former leader is back.
    """
    with ExitStack() as stack:
        cluster = stack.enter_context(PatroniCluster())
        # What runs in the cluster's folder ends with the cluster, however this process ends.
        folder = cluster.folder / "services"
        folder.mkdir(mode=0o700)
        os.environ["PGPASSWORD"] = cluster.password
        clients: dict[str, Gitpod] = {}
        for path, url in cluster.urls.items():
            service = stack.enter_context(Service(url, folder))
            clients[path] = stack.enter_context(Gitpod(bearer_token=TOKEN, base_url=service.url, timeout=20))
        for event in events:
            yield from _round(cluster, clients, event, seconds)


def _round(cluster: PatroniCluster, clients: dict[str, Gitpod], event: str, seconds: float) -> Iterator[Seen]:
    projects = {path: str(uuid.uuid4()) for path in clients}
    writers = {
        path: [Writer(client, projects[path], number, event, pause=PAUSE) for number in range(WRITERS)]
        for path, client in clients.items()
    }
    every = [writer for each in writers.values() for writer in each]
    leader = cluster.leader()
    try:
        for writer in every:
            writer.start()
        until(lambda: all(writer.acknowledged for writer in every), "every client has written")
        time.sleep(seconds)
        began, elected = _strike(cluster, leader, event)
        # When they do not, the gap tells.
        with suppress(TimeoutError):
            until(lambda: all(w.acknowledged[-1] > began + elected for w in every), "all write again", PATIENCE)
        time.sleep(seconds)
        leader.go_on()
        time.sleep(seconds)
    finally:
        ended = time.monotonic()
        for writer in every:
            if writer.ident:
                writer.stop()
    cluster.heal()
    for path, client in clients.items():
        comparison = compare(client, projects[path], writers[path])
        yield Seen(event, path, writers[path], comparison, began, elected, ended)


def _strike(cluster: PatroniCluster, leader: Node, event: str) -> tuple[float, float]:
    """Let the event happen: when it began, and how many seconds later there was another leader."""
    others = [node for node in cluster.nodes if node is not leader]
    # A switchover is answered when it is over.
    striking = threading.Thread(target=EVENTS[event], args=(cluster, leader), daemon=True)
    began = time.monotonic()
    striking.start()
    while not any(node.leads for node in others):
        if time.monotonic() > began + PATIENCE:
            raise TimeoutError(f"no other node leads {PATIENCE:g} s after this: {event}")
        time.sleep(0.05)
    elected = time.monotonic() - began
    striking.join(PATIENCE)
    return began, elected


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", nargs="+", choices=list(EVENTS), default=list(EVENTS), help="the rounds (all)")
    parser.add_argument("--seconds", type=float, default=3, help="how long clients write before and after each (3)")
    options = parser.parse_args()
    if binaries() is None:
        print(f"skipped: {MISSING}")
        return
    if absent := missing():
        print(f"not on Patroni: these packages of Debian are not installed: {', '.join(absent)}\n")
        pair = fail_over(options.seconds)
        print(pair)
        sys.exit(0 if pair.holds else 1)
    print(f"{COLUMNS.format(*HEADINGS)}\n{'| --- ' * len(HEADINGS)}|", flush=True)
    failed = 0
    for seen in on_patroni(options.events, options.seconds):
        print(seen, flush=True)
        failed += not seen.holds
    sys.exit(1 if failed else 0)


def stopped(signal_number: int, _frame: object) -> None:
    # Services, clusters and their folders go away as the stack unwinds.
    sys.exit(128 + signal_number)


if __name__ == "__main__":
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, stopped)
    main()
