"""Kill a PostgreSQL primary while clients create, promote its standby, and count what was lost."""

import tempfile
import time
import uuid
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ledger import Comparison, Writer, compare
from postgres import HOST, SUPERUSER, Cluster, until
from served import TOKEN, Service

from gitpod import Gitpod

WRITERS = 4


@dataclass(frozen=True, slots=True)
class Failover:
    """What clients saw of it."""

    acknowledged: int
    failed: dict[str, int]
    """Creates by the outcome of their errors."""
    comparison: Comparison
    false_conflicts: int
    """Creates answered by `already_exists`, though nobody else made that name."""
    promoted: float
    """Seconds from the kill until the standby took writes, with the pause."""
    unavailable: float
    """Seconds between the last create that was acknowledged before, and the first after."""

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, nothing is there that should not be, and no client was told a lie."""
        return not self.comparison.lost and not self.comparison.wrong

    def __str__(self) -> str:
        rows = {
            "acknowledged": self.acknowledged,
            "lost": self.comparison.lost,
            "false conflicts": self.false_conflicts,
            "wrong otherwise": self.comparison.wrong - self.false_conflicts,
            "failed, not sent": self.failed.get("not_sent", 0),
            "failed, rejected": self.failed.get("rejected", 0),
            "failed, unknown": f"{self.failed.get('unknown', 0)}, of which {self.comparison.unacknowledged} were done",
            "standby promoted after": f"{self.promoted:.2f} s",
            "unavailable for": f"{self.unavailable:.2f} s",
        }
        lines = [f"{name + ':':<24}{value}" for name, value in rows.items()]
        return "\n".join([*lines, *(f"  {note}" for note in self.comparison.notes)])


def fail_over(seconds: float = 2, pause: float = 1) -> Failover:
    """Create for so many seconds before and after the primary is killed, and promote its standby after a pause.

    In the pause, which stands for noticing the crash, there is only a standby that takes no writes. Needs
    `binaries()`.
    """
    project = str(uuid.uuid4())
    with tempfile.TemporaryDirectory() as folder, Cluster(durable=True) as primary:
        database = "secrets"
        primary.create_database(database)
        with primary.standby() as standby:
            hosts = f"{HOST}:{primary.port},{HOST}:{standby.port}"
            store = f"postgresql://{SUPERUSER}@{hosts}/{database}?target_session_attrs=read-write"
            with (
                Service(store, Path(folder)) as service,
                Gitpod(bearer_token=TOKEN, base_url=service.url, timeout=20) as client,
            ):
                writers = [Writer(client, project, number, "", only_creates=True) for number in range(WRITERS)]
                try:
                    promoted = _interrupt(writers, primary, standby, seconds, pause)
                finally:
                    for writer in writers:
                        if writer.ident:
                            writer.stop()
                return _summary(writers, compare(client, project, writers), promoted)


def _interrupt(writers: list[Writer], primary: Cluster, standby: Cluster, seconds: float, pause: float) -> float:
    """Let the writers work, crash the primary under them, and see that each goes on: how long promotion took."""
    for writer in writers:
        writer.start()
    until(lambda: all(writer.acknowledged for writer in writers), "every client has created")
    time.sleep(seconds)
    killed = time.monotonic()
    primary.kill()
    time.sleep(pause)
    standby.promote()
    promoted = time.monotonic()
    until(lambda: all(writer.acknowledged[-1] > promoted for writer in writers), "every client creates again", 60)
    time.sleep(seconds)
    return promoted - killed


def _summary(writers: list[Writer], comparison: Comparison, promoted: float) -> Failover:
    times = sorted(when for writer in writers for when in writer.acknowledged)
    failed = {outcome: sum(w.failed[outcome] for w in writers) for outcome in ("not_sent", "rejected", "unknown")}
    conflicts = sum(surprise.endswith("already_exists") for writer in writers for surprise in writer.surprises)
    gap = max(after - before for before, after in pairwise(times))
    return Failover(len(times), failed, comparison, conflicts, promoted, gap)
