"""Group commit: what several requests write at the same time shares one transaction, and one wait for the disk.

There is no thread for it. The first request that finds nobody writing leads: it commits its own work and
all that has queued up meanwhile, and hands the lead to the next in the queue.
"""

import random
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar, cast

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from gitpod.server.errors import StoreUnavailableError, StoreUncertainError
from gitpod.server.storage.database import BUSY, READ_ONLY, SERIALIZATION_FAILURES, Database, as_unavailable, sqlstate
from gitpod.server.storage.rows import AuditRecord

T = TypeVar("T")
TX = TypeVar("TX", bound="Recording")

LARGEST_BATCH = 64
QUEUE_TIMEOUT = 10.0
"""Seconds that work may wait for its turn."""
SETTLE_TIMEOUT = 20.0
"""Seconds in which to find out whether a commit took place whose connection broke."""


class Recording(Protocol):
    """A transaction, which keeps the audit records of its work until it is about to be committed."""

    def flush(self) -> None:
        """Write the records."""

    def is_recorded(self, record: AuditRecord) -> bool:
        """Whether a transaction with this record was committed."""
        ...


class CommitLostError(Exception):
    """The connection broke during a commit: it may have taken place, or may yet."""


class Job(Generic[TX]):
    """Work of one request, and what came of it."""

    def __init__(self, work: Callable[[TX], Any], record: AuditRecord) -> None:
        self.work = work
        self.record = record
        self.woken = threading.Event()
        self.is_done = False
        self.result: Any = None
        self.error: Exception | None = StoreUncertainError("the work was interrupted")

    def run(self, transaction: TX) -> None:
        """Do the work."""
        self.result = self.work(transaction)


class GroupCommit(Generic[TX]):
    """Runs work in transactions. Each is made by `begin` of a connection."""

    def __init__(self, database: Database, begin: Callable[[Connection], TX]) -> None:
        self._database = database
        self._begin = begin
        self._mutex = threading.Lock()
        self._queue: list[Job[TX]] = []
        self._is_led = False

    def run(self, record: AuditRecord, work: Callable[[TX], T]) -> T:
        """Return what `work` returns, once it is durable. It may be run several times; one of them is kept.

        Args:
            record: what `work` will hand to its transaction, whatever its outcome: by it the commit is known.
            work: called with a transaction, in any thread.

        Raises:
            StoreUnavailableError: nothing was written.
            StoreUncertainError: it may have been.
        """
        job = Job(work, record)
        with self._mutex:
            self._queue.append(job)
            leads, self._is_led = not self._is_led, True
        if not leads:
            try:
                self._wait(job)
            except BaseException:
                self._leave(job)
                raise
        if not job.is_done:
            self._lead()
        if job.error is not None:
            raise job.error
        return cast("T", job.result)

    def _wait(self, job: Job[TX]) -> None:
        """Wait until the work is done, or the lead is handed over."""
        if not job.woken.wait(QUEUE_TIMEOUT):
            with self._mutex:
                if job in self._queue and not job.woken.is_set():
                    self._queue.remove(job)
                    raise StoreUnavailableError(BUSY)
            # Somebody has begun it, and will end it.
            job.woken.wait()

    def _leave(self, job: Job[TX]) -> None:
        """Wait no longer, and hand over the lead if it came meanwhile."""
        with self._mutex:
            if job in self._queue:
                self._queue.remove(job)
                if job.woken.is_set():
                    self._hand_over()

    def _hand_over(self) -> None:
        self._is_led = bool(self._queue)
        if self._queue:
            self._queue[0].woken.set()

    def _lead(self) -> None:
        """Do the first of what has queued up, and hand over."""
        with self._mutex:
            batch, self._queue = self._queue[:LARGEST_BATCH], self._queue[LARGEST_BATCH:]
        try:
            self._write(batch)
        finally:
            with self._mutex:
                self._hand_over()
            for job in batch:
                job.is_done = True
                job.woken.set()

    def _write(self, batch: list[Job[TX]]) -> None:
        """Commit the work of all at once, or, if that fails for anyone, of each by itself."""
        try:
            self._attempt(batch)
        except StoreUnavailableError as error:
            _fail(batch, error)
        except Exception as error:  # noqa: BLE001 # whosever work it was, the others' is still to be done
            deadline = time.monotonic() + SETTLE_TIMEOUT
            for index, job in enumerate(batch):
                self._settle(job, deadline, lost=isinstance(error, CommitLostError))
                if isinstance(job.error, StoreUnavailableError) and not isinstance(error, CommitLostError):
                    _fail(batch[index:], job.error)
                    return

    def _attempt(self, jobs: list[Job[TX]]) -> None:
        """Do the work in one transaction.

        Raises:
            StoreUnavailableError: it could not begin.
            CommitLostError: it may have been committed, and nobody knows. After any other error it was not.
        """
        with self._database.writer() as connection:
            transaction = self._begin(connection)
            for job in jobs:
                job.run(transaction)
            transaction.flush()
            try:
                connection.commit()
            except DBAPIError as error:
                if error.connection_invalidated:
                    raise CommitLostError from None
                raise
        for job in jobs:
            job.error = None

    def _settle(self, job: Job[TX], deadline: float, *, lost: bool) -> None:
        """Do the work by itself, after the commit that held it failed or was lost."""
        result = job.result
        while time.monotonic() < deadline:
            try:
                if lost and self._is_recorded(job.record):
                    job.result, job.error = result, None
                    return
                self._attempt([job])
            except CommitLostError:
                # The record is unique, so the attempt before this one did not take place.
                lost, result = True, job.result
            except StoreUnavailableError as error:
                if not lost:
                    job.error = error
                    return
            except Exception as error:  # noqa: BLE001 # told to whoever's work it is
                meaning = self._meaning(error)
                # While a lost commit may yet take place, no other error says that nothing was written.
                if not lost and not _is_passing(error):
                    job.error = meaning
                    return
            else:
                return
            time.sleep(random.uniform(0.005, 0.05))  # noqa: S311 # so that two who collided do not again
        job.error = StoreUncertainError("the outcome is not known") if lost else StoreUnavailableError(BUSY)

    def _is_recorded(self, record: AuditRecord) -> bool:
        with self._database.writer() as connection:
            return self._begin(connection).is_recorded(record)

    def _meaning(self, error: Exception) -> Exception:
        """What to tell of an error after which nothing was written."""
        if not isinstance(error, DBAPIError):
            return error
        if sqlstate(error) == READ_ONLY:
            # Connections to a server that is no primary any more.
            self._database.engine.dispose()
        return as_unavailable(error) or error


def _is_passing(error: Exception) -> bool:
    """Whether the same work may succeed by itself."""
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or sqlstate(error) in SERIALIZATION_FAILURES


def _fail(jobs: Iterable[Job[Any]], error: StoreUnavailableError) -> None:
    for job in jobs:
        job.error = StoreUnavailableError(*error.args)
