"""Group commit of tasks in event loops."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from tests.support.storage import Writes

from gitpod.server.storage.rows import AuditRecord
from gitpod.server.storage.transaction import Transaction
from gitpod.server.threads import Threads

T = TypeVar("T")


class AwaitedWrites(Writes):
    """The same for event loops: each request is a task in a loop of its own, and a thread of a pool commits."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.pool = Threads(4, "writers")
        self.released = 0

    def run(self, record: AuditRecord, work: Callable[[Transaction], T]) -> T:
        """Await the work."""
        return asyncio.run(self.run_async(record, work, self.pool, self.release))

    def release(self) -> None:
        """Count that nothing of a request is in the store any more."""
        self.released += 1
