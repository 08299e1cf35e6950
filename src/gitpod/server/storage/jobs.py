"""The work of a request for group commit, and how its result gets to the thread or the event loop that waits."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

from gitpod.server.errors import OutcomeUnknownError
from gitpod.server.storage.failures import UNKNOWN
from gitpod.server.storage.rows import AuditRecord

TX = TypeVar("TX", bound="Recording")


class Recording(Protocol):
    """A transaction that collects the audit records of its work, and writes them just before the commit."""

    def prepare(self, works: Iterable[Callable[[Any], Any]]) -> None:
        """Take the first steps of the works of a batch together, where their transaction knows them."""

    def flush(self, *, after_loss: bool) -> None:
        """Write the collected records. `after_loss`: an earlier transaction of the same work may be committed yet."""

    def is_recorded(self, record: AuditRecord) -> bool:
        """Tell whether a transaction with this record was committed."""
        ...


class Pool(Protocol):
    """Threads that commit for event loops."""

    def run(self, work: Callable[[], object], /) -> None:
        """Run work in a thread. Raises RuntimeError or MemoryError when it takes none."""


class Job(Generic[TX]):
    """The work of one request, and its result or error."""

    def __init__(self, work: Callable[[TX], Any], record: AuditRecord) -> None:
        self.work = work
        self.record = record
        self.is_done = False
        self.result: Any = None
        self.error: Exception | None = OutcomeUnknownError("the work was interrupted")

    def run(self, transaction: TX) -> None:
        """Do the work, and keep its result."""
        self.result = self.work(transaction)

    def lead(self, serve: Callable[[], None]) -> bool:
        """Make whoever waits for this job commit the queue, or run `serve`, which does. False if it cannot."""
        raise NotImplementedError


class ThreadJob(Job[TX]):
    """A job for which a thread waits, which may become the leader."""

    def __init__(self, work: Callable[[TX], Any], record: AuditRecord) -> None:
        super().__init__(work, record)
        self.woken = threading.Event()

    def lead(self, serve: Callable[[], None]) -> bool:  # noqa: ARG002 # the thread leads by itself
        """Wake the thread (Job.lead)."""
        self.woken.set()
        return True


class LoopJob(Job[TX]):
    """A job that a task awaits, so its commit takes a thread of a pool.

    Args:
        work, record: as `GroupCommit.run` takes them.
        pool: commits.
        release: is called in the event loop once the job is out of the queue and its work has ended.
        unread: is called there with a result that the task did not wait for.
    """

    def __init__(
        self,
        work: Callable[[TX], Any],
        record: AuditRecord,
        pool: Pool,
        release: Callable[[], None] | None,
        unread: Callable[[Any], None] | None,
    ) -> None:
        super().__init__(work, record)
        self.loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Any] = self.loop.create_future()
        self.timer: asyncio.TimerHandle | None = None
        self._pool = pool
        self._release = release
        self._unread = unread

    def lead(self, serve: Callable[[], None]) -> bool:
        """Commit the queue in a thread of the pool (Job.lead)."""
        try:
            self._pool.run(serve)
        except (RuntimeError, MemoryError):
            return False
        return True

    def end(self) -> None:
        """Give the result to the task, if it still waits."""
        if self.timer is not None:
            self.timer.cancel()
        if self.answer.done():
            # The task was cancelled, or was told that the outcome is not known.
            self.leave()
        elif self.error is None:
            self.answer.set_result(self.result)
        else:
            self.answer.set_exception(self.error)
        if self._release is not None:
            self._release()

    def leave(self) -> None:
        """Take note that nobody reads the result."""
        if self.error is None and self._unread is not None:
            self._unread(self.result)

    def give_up(self) -> None:
        """Tell the task that the outcome of its work is not known."""
        if not self.answer.done():
            self.answer.set_exception(OutcomeUnknownError(UNKNOWN))


def answer(jobs: Iterable[Job[Any]]) -> None:
    """Wake whoever waits for jobs that have ended, an event loop once for all of them."""
    loops: dict[asyncio.AbstractEventLoop, list[LoopJob[Any]]] = {}
    for job in jobs:
        job.is_done = True
        if isinstance(job, ThreadJob):
            job.woken.set()
        elif isinstance(job, LoopJob):
            loops.setdefault(job.loop, []).append(job)
    for loop, ended in loops.items():
        # Nobody waits in a loop that was closed.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_end, ended)


def _end(jobs: list[LoopJob[Any]]) -> None:
    for job in jobs:
        job.end()
