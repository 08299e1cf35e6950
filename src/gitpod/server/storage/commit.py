"""Group commit: requests that write at the same time share one transaction, and so one wait for the disk.

One leader at a time commits everything that is queued. A thread that finds no leader becomes the leader: it commits
its own work together with the rest, then hands over. Work that comes from an event loop is committed by a thread of a
pool, which goes on until the queue is empty, and wakes the loop once a batch.
"""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar, cast

from gitpod.server.errors import OutcomeUnknownError, StoreUnavailableError
from gitpod.server.storage import limits
from gitpod.server.storage.database import Database
from gitpod.server.storage.failures import (
    BUSY,
    READ_ONLY,
    UNKNOWN,
    StoreGoneError,
    as_unavailable,
    is_broken,
    is_transient,
    sqlstate,
)
from gitpod.server.storage.jobs import TX, Job, LoopJob, Pool, ThreadJob, answer
from gitpod.server.storage.rows import AuditRecord
from gitpod.server.storage.sql import Session

T = TypeVar("T")

LARGEST_BATCH = 64
NO_THREAD = "the service is closed, or starts no more threads; nothing was written"


class GroupCommit(Generic[TX]):
    """Runs work in transactions. `begin` makes a transaction on a connection."""

    def __init__(self, database: Database, begin: Callable[[Session], TX]) -> None:
        self._database = database
        self._begin = begin
        self._mutex = threading.Lock()
        self._queue: list[Job[TX]] = []
        self._is_led = False
        self._began: float | None = None

    @property
    def led_for(self) -> float:
        """Seconds for which the present batch has been under way, 0 when there is none."""
        began = self._began
        return 0.0 if began is None else time.monotonic() - began

    def run(self, record: AuditRecord, work: Callable[[TX], T]) -> T:
        """Return what `work` returns, once it is durable.

        Args:
            record: the audit record that `work` adds to its transaction, whatever its result. After a broken
                connection, its id shows whether the commit took place.
            work: is called with a transaction, in any thread. It may be called several times, but only one of
                its transactions is committed.

        Raises:
            StoreUnavailableError: nothing was written.
            OutcomeUnknownError: the work may or may not have been committed.
        """
        job = ThreadJob(work, record)
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

    async def run_async(
        self,
        record: AuditRecord,
        work: Callable[[TX], T],
        pool: Pool,
        release: Callable[[], None] | None = None,
        unread: Callable[[T], None] | None = None,
    ) -> T:
        """`run` for an event loop, which does not wait for locks or disks.

        Args:
            record: as `run` takes it.
            work: the same.
            pool: threads that commit. One does at a time; another one while a lost commit is being settled.
            release: is called in the loop once nothing of this work is in the store. When the task is cancelled,
                that may be later than the end of this call.
            unread: is called in the loop with a result that is committed, and that this call does not return.

        Raises:
            StoreUnavailableError: nothing was written; also when the pool takes no work.
            OutcomeUnknownError: the work may or may not have been committed.
        """
        job = LoopJob(work, record, pool, release, unread)
        with self._mutex:
            self._queue.append(job)
            leads, self._is_led = not self._is_led, True
        if leads and not job.lead(self._serve):
            with self._mutex:
                self._hand_over()
        job.timer = job.loop.call_later(limits.QUEUE_TIMEOUT, self._expire, job)
        try:
            return cast("T", await job.answer)
        except asyncio.CancelledError:
            if self._take_out(job):
                job.end()
            elif job.answer.done() and not job.answer.cancelled():
                # The result came, and before the task could read it, the task was cancelled.
                job.leave()
            raise

    def _expire(self, job: LoopJob[TX]) -> None:
        """End the wait for the turn; if the work has begun, wait on for its end."""
        if self._take_out(job):
            job.error = StoreUnavailableError(BUSY)
            job.end()
        else:
            job.timer = job.loop.call_later(limits.FOLLOW_TIMEOUT, job.give_up)

    def _take_out(self, job: Job[TX]) -> bool:
        """Remove a job from the queue. False if its work has begun."""
        with self._mutex:
            if job not in self._queue:
                return False
            self._queue.remove(job)
            return True

    def _wait(self, job: ThreadJob[TX]) -> None:
        """Wait until a leader has done the work, or this request becomes the leader."""
        if job.woken.wait(limits.QUEUE_TIMEOUT):
            return
        with self._mutex:
            if job in self._queue and not job.woken.is_set():
                self._queue.remove(job)
                raise StoreUnavailableError(BUSY)
        # A leader has begun the work. Its waits are bounded, but a disk that does not answer has no bound.
        if not job.woken.wait(limits.FOLLOW_TIMEOUT):
            raise OutcomeUnknownError(UNKNOWN)

    def _leave(self, job: ThreadJob[TX]) -> None:
        """Leave the queue after an interrupt. If this request has become the leader meanwhile, the next one leads."""
        with self._mutex:
            if job in self._queue:
                self._queue.remove(job)
                if job.woken.is_set():
                    self._hand_over()

    def _hand_over(self) -> None:
        """Let the first of the queue lead. Those that can start no thread for it are told that nothing was written."""
        while self._queue and not self._queue[0].lead(self._serve):
            job = self._queue.pop(0)
            job.error = StoreUnavailableError(NO_THREAD)
            answer([job])
        self._is_led = bool(self._queue)

    def _serve(self) -> None:
        """Lead until the queue is empty, in a thread of a pool."""
        while self._lead(stays=True):
            pass

    def _lead(self, *, stays: bool = False) -> bool:
        """Commit the first batch of the queue, and hand over. Returns whether this thread leads on.

        Args:
            stays: whether it leads on while the queue is not empty.
        """
        with self._mutex:
            batch, self._queue = self._queue[:LARGEST_BATCH], self._queue[LARGEST_BATCH:]
        leads, self._began = True, time.monotonic()
        try:
            error = self._write(batch) if batch else None
            if error is not None:
                if isinstance(error, OutcomeUnknownError) or is_broken(error):
                    # The next batch does not wait until the fate of this one is known.
                    leads = False
                    self._end_lead()
                self._settle_each(batch, error)
        except BaseException:
            stays = False
            raise
        finally:
            if leads:
                leads = self._end_lead(stays=stays)
            answer(batch)
        return leads

    def _end_lead(self, *, stays: bool = False) -> bool:
        """End a batch. Returns whether this thread leads on, because it stays and there is more; else hands over."""
        with self._mutex:
            self._began = None
            if stays and self._queue:
                return True
            self._hand_over()
            return False

    def _write(self, batch: list[Job[TX]]) -> Exception | None:
        """Commit a batch in one transaction. Returns the error after which each request is settled by itself."""
        try:
            self._attempt(batch)
        except StoreUnavailableError as error:
            _fail(batch, error)
        except Exception as error:  # noqa: BLE001 # one request's error must not fail the others
            return error
        return None

    def _settle_each(self, batch: list[Job[TX]], error: Exception) -> None:
        """Commit the work of each request by itself after the batch failed."""
        deadline = time.monotonic() + limits.SETTLE_TIMEOUT
        lost = isinstance(error, OutcomeUnknownError)
        for index, job in enumerate(batch):
            self._settle(job, deadline, lost=lost)
            if isinstance(job.error, StoreUnavailableError) and not lost:
                _fail(batch[index:], job.error)
                return

    def _attempt(self, jobs: list[Job[TX]], *, after_loss: bool = False) -> None:
        """Do the work in one transaction. `after_loss`: an earlier one of the same work may be committed yet.

        Raises:
            StoreUnavailableError: the transaction could not begin, or took too long.
            OutcomeUnknownError: the commit got no answer. After any other error nothing was committed.
        """
        with self._database.writer() as session:
            deadline = time.monotonic() + limits.QUEUE_TIMEOUT
            transaction = self._begin(session)
            transaction.prepare(job.work for job in jobs)
            for job in jobs:
                job.run(transaction)
                if time.monotonic() > deadline:
                    # Each answer came in time, but together they take too long for those who wait.
                    raise StoreUnavailableError(BUSY)
            transaction.flush(after_loss=after_loss)
            self._database.commit(session)
        for job in jobs:
            job.error = None

    def _settle(self, job: Job[TX], deadline: float, *, lost: bool) -> None:
        """Commit the work of one request after the batch failed. `lost`: the batch may have been committed."""
        result = job.result
        while time.monotonic() < deadline:
            try:
                if lost and self._is_recorded(job.record):
                    job.result, job.error = result, None
                    return
                self._attempt([job], after_loss=lost)
            except OutcomeUnknownError:
                # The record's id is unique, so reaching this commit proves that no earlier one took place.
                lost, result = True, job.result
            except StoreUnavailableError as error:
                if not lost:
                    job.error = error
                    return
                if isinstance(error, StoreGoneError):
                    break
            except Exception as error:  # noqa: BLE001 # becomes the error of its request
                translated = self._translated(error)
                # While a lost commit may still take place, another error does not prove that nothing was written.
                if not lost and not is_transient(error):
                    job.error = translated
                    return
            else:
                return
            time.sleep(random.uniform(0.005, 0.05))  # noqa: S311 # so that two transactions do not collide again
        job.error = OutcomeUnknownError(UNKNOWN) if lost else StoreUnavailableError(BUSY)

    def _is_recorded(self, record: AuditRecord) -> bool:
        with self._database.writer() as session:
            is_recorded = self._begin(session).is_recorded(record)
            if is_recorded:
                self._database.confirm(session)
            return is_recorded

    def _translated(self, error: Exception) -> Exception:
        """Return the error to raise for one after which nothing was written."""
        if sqlstate(error) == READ_ONLY:
            # The open connections lead to a server that is no longer the primary.
            self._database.reconnect()
        return as_unavailable(error) or error


def _fail(jobs: Iterable[Job[Any]], error: StoreUnavailableError) -> None:
    for job in jobs:
        job.error = StoreUnavailableError(*error.args)
