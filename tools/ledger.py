"""What clients were told about the secrets that they wrote, to be compared with what is there after a crash."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256

from postgres import until

from gitpod import APIError, Gitpod

UPDATES, DELETES = 0.25, 0.15
"""How much of a writer's work they are; the rest are creates."""

WRITERS = 4
"""How many write at a time in a round of `make chaos`."""

READERS = 8
"""How many values are read at a time afterwards."""

PASSING = ("unavailable", "resource_exhausted", "aborted")
"""Why a service may refuse what is right, for a while."""


@dataclass(slots=True)
class Entry:
    """One secret, which one writer alone changes. A value of None: there is no such secret.

    `possible` is what its value may be: the last acknowledged, and what was written with an unknown outcome.
    `past` is what it was before by acknowledged writes.
    """

    name: str
    id: str | None = None
    version: int = 0
    possible: set[str | None] = field(default_factory=lambda: {None})
    past: set[str | None] = field(default_factory=set[str | None])

    def next_value(self) -> str:
        """The value of the next version, which no other secret or version has."""
        self.version += 1
        return sha256(f"{self.name} {self.version}".encode()).hexdigest()


class Writer(threading.Thread):
    """A client that creates secrets, and updates and deletes its own, until it is told to stop."""

    def __init__(
        self, client: Gitpod, project: str, number: int, seed: str, *, only_creates: bool = False, pause: float = 0
    ) -> None:
        """Prepare a writer whose choices follow from `seed`, which waits `pause` seconds after each write."""
        super().__init__(name=f"writer-{number}", daemon=True)
        self._client = client.with_options(max_retries=0)
        self._project = project
        self._number = number
        self._random = random.Random(f"{seed} {number}")  # noqa: S311 # to be repeated
        self._pause = pause
        self._creates = 1.0 if only_creates else 1 - UPDATES - DELETES
        self._stopped = threading.Event()
        self._known: list[Entry] = []
        self.entries: list[Entry] = []
        self.acknowledged: list[float] = []
        """When each write was, by `time.monotonic()`."""
        self.failed: Counter[str] = Counter()
        """How often there was each outcome of a failed write."""
        self.surprises: list[str] = []
        """Refusals of what is right, such as a name that is taken though nobody else made it."""

    def run(self) -> None:
        while not self._stopped.is_set():
            pause = self._pause if self._write() else 0.02
            self._stopped.wait(pause)

    def stop(self) -> None:
        """End after the write under way, and wait for that."""
        self._stopped.set()
        self.join(60)
        assert not self.is_alive(), "a call outlasted its timeout"

    def _write(self) -> bool:
        """One write, noted. False when it failed."""
        chance = self._random.random()
        if not self._known or chance < self._creates:
            verb, entry = "create", Entry(f"W{self._number}_{len(self.entries)}")
            self.entries.append(entry)
            value: str | None = entry.next_value()
        else:
            # Taken away here, and put back when there is no doubt about it.
            entry = self._known.pop(self._random.randrange(len(self._known)))
            verb = "update" if chance < self._creates + UPDATES else "delete"
            value = entry.next_value() if verb == "update" else None
        try:
            self._send(entry, value)
        except APIError as error:
            self._note_failure(verb, entry, value, error)
            return False
        self.acknowledged.append(time.monotonic())
        entry.past |= entry.possible
        entry.possible = {value}
        if value is not None:
            self._known.append(entry)
        return True

    def _send(self, entry: Entry, value: str | None) -> None:
        secrets = self._client.secrets
        if entry.id is None:
            assert value
            made = secrets.create(name=entry.name, value=value, project_id=self._project, api_only=True)
            entry.id = made.secret.id
        elif value is None:
            secrets.delete(secret_id=entry.id)
        else:
            secrets.update_value(secret_id=entry.id, value=value)

    def _note_failure(self, verb: str, entry: Entry, value: str | None, error: APIError) -> None:
        self.failed[error.outcome] += 1
        if error.outcome == "unknown":
            entry.possible.add(value)
        elif entry.id:
            self._known.append(entry)
        if error.outcome == "rejected" and error.code not in PASSING:
            self.surprises.append(f"{verb} {entry.name}: {error.code}")


@contextmanager
def writing(client: Gitpod, project: str, seed: str) -> Generator[tuple[list[Writer], Callable[[], int]]]:
    """A block in which clients write, begun once a first write was acknowledged; and how many were, by now."""
    writers = [Writer(client, project, number, seed) for number in range(WRITERS)]

    def acknowledged() -> int:
        return sum(len(writer.acknowledged) for writer in writers)

    for writer in writers:
        writer.start()
    try:
        until(lambda: acknowledged() > 0, "a first write is acknowledged")
        yield writers, acknowledged
    finally:
        for writer in writers:
            writer.stop()


@dataclass(slots=True)
class Comparison:
    """What is there, held against what clients were told. `notes` says which secret, and why."""

    lost: int = 0
    """Acknowledged writes that did not hold."""
    wrong: int = 0
    """What nobody wrote, or was told not to be there; refusals of what is right."""
    unacknowledged: int = 0
    """Creates with an unknown outcome that are there, as they may be."""
    notes: list[str] = field(default_factory=list[str])


def compare(client: Gitpod, project: str, writers: Sequence[Writer]) -> Comparison:
    """List the project and read every value in it, against what its writers were told."""
    found = Comparison(notes=[surprise for writer in writers for surprise in writer.surprises])
    found.wrong = len(found.notes)
    listed = list(client.secrets.list(filter={"scope": {"project_id": project}}, page_size=100))
    by_name = {secret.name: secret for secret in listed}
    # Each read is a commit, of its audit record: together they take less time.
    with ThreadPoolExecutor(READERS) as pool:
        reads = {name: pool.submit(_value, client, secret.id) for name, secret in by_name.items()}
    values = {name: read.result() for name, read in reads.items()}
    for entry in (entry for writer in writers for entry in writer.entries):
        secret = by_name.pop(entry.name, None)
        value = values.get(entry.name)
        is_same = secret is None or entry.id in (None, secret.id)
        if is_same and value in entry.possible:
            found.unacknowledged += secret is not None and entry.id is None
        elif is_same and value in entry.past:
            found.lost += 1
            found.notes.append(f"{entry.name}: an acknowledged write did not hold, in {entry.version} versions")
        else:
            found.wrong += 1
            found.notes.append(f"{entry.name}: is there with another id or value, or against what was said")
    strangers = len(by_name) + len(listed) - len({secret.name for secret in listed})
    if strangers:
        found.wrong += strangers
        found.notes.append(f"{strangers} listed that nobody made, or twice")
    return found


def _value(client: Gitpod, secret_id: str) -> str:
    try:
        return client.secrets.get_value(secret_id=secret_id).reveal()
    except APIError as error:
        return f"no value: {error.code}"
