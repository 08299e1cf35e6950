"""A pool of threads that says truly whether it took a piece of work, also when the system starts no more threads."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier, BrokenBarrierError, Thread
from typing import ParamSpec, TypeVar

from connectrpc.code import Code
from connectrpc.errors import ConnectError

from gitpod.server.errors import ServiceError

P = ParamSpec("P")
T = TypeVar("T")

WRITERS, READERS, KEYS, STRANGERS = 4, 4, 4, 4
"""How many threads of each kind `Pools` has."""
NO_MORE = (
    "cannot start the threads of the service: the system allows no more; raise the limit of processes "
    "(systemd TasksMax, cgroup pids.max, ulimit -u) or of memory"
)


class Threads(ThreadPoolExecutor):
    """A `ThreadPoolExecutor` whose `submit` has no effect when it raises.

    The standard one queues the work before it starts a thread. If that start fails, `submit` raises RuntimeError, and
    another thread does the work nevertheless.

    Args:
        count: the most threads.
        name: the prefix of their names.
    """

    def __init__(self, count: int, name: str) -> None:
        super().__init__(count, thread_name_prefix=name)
        self._count = count

    def start_all(self) -> None:
        """Start all threads, so that none has to be started while the service runs.

        Raises:
            ServiceError: the system does not start that many. The pool is shut down then.
        """
        met = Barrier(self._count + 1)
        try:
            for _ in range(self._count):
                super().submit(_meet, met)
        except (RuntimeError, MemoryError):
            met.abort()
            self.shutdown()
            raise ServiceError(NO_MORE) from None
        met.wait()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedule a call (concurrent.futures.Executor).

        Raises:
            RuntimeError: the pool was shut down, or no thread can be started. The call does not take place.
        """
        future: Future[T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 # whoever waits for the future gets it
                future.set_exception(error)
            else:
                future.set_result(result)

        try:
            super().submit(work)
        except Exception:
            if future.cancel():
                raise
            # Another thread has begun with it.
        return future


def _meet(met: Barrier) -> None:
    """Keep a thread busy until all have been started: the pool starts none while one is idle."""
    with suppress(BrokenBarrierError):
        met.wait()


def start_thread(work: Callable[[], object], name: str) -> Thread:
    """Start a thread that does not keep the process from ending. Raises `ServiceError` if the system starts none."""
    thread = Thread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except (RuntimeError, MemoryError):
        raise ServiceError(NO_MORE) from None
    return thread


class Pools:
    """The threads of a service. Each kind of wait has its own, so that none keeps another from going on."""

    def __init__(self) -> None:
        self.writers = Threads(WRITERS, "gitpod-writers")
        """Commit, one at a time; the others settle commits that were lost."""
        self.readers = Threads(READERS, "gitpod-readers")
        """Read pages, and the tokens of callers that are known."""
        self.keys = Threads(KEYS, "gitpod-keys")
        """Load data keys, and may wait for a KMS."""
        self.strangers = Threads(STRANGERS, "gitpod-strangers")
        """Look up tokens that this process does not know yet."""
        self.refusals = Threads(1, "gitpod-refusals")
        """Writes the counts of refused calls."""
        self.checks = Threads(1, "gitpod-ready")
        """Checks whether the service is well."""
        self._all = (self.writers, self.readers, self.keys, self.strangers, self.refusals, self.checks)

    def start_all(self) -> None:
        """Start all threads. Raises `ServiceError` if the system starts fewer."""
        for each in self._all:
            each.start_all()

    def shutdown(self) -> None:
        """Wait for the work under way. Safe to repeat."""
        for each in self._all:
            each.shutdown()


def submit(threads: Threads, work: Callable[[], T]) -> Future[T]:
    """Schedule work. Raises UNAVAILABLE when the pool takes none: it is not done then."""
    try:
        return threads.submit(work)
    except (RuntimeError, MemoryError):
        raise ConnectError(Code.UNAVAILABLE, "the service is closed, or starts no more threads") from None


async def in_thread(threads: Threads, work: Callable[[], T], release: Callable[[], None] | None = None) -> T:
    """Return the result of work in a thread.

    Args:
        threads: the pool.
        work: what to run.
        release: is called in the event loop once the work holds no thread. That may be later than the end of this
            call, which can be cancelled, while work that has begun cannot.

    Raises:
        ConnectError: as `submit` raises it.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def end(future: Future[T]) -> None:
        if not answer.done():
            error = future.exception()
            if error is None:
                answer.set_result(future.result())
            else:
                answer.set_exception(error)
        if release:
            release()

    def ended(future: Future[T]) -> None:
        # After the loop was closed nothing waits.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(end, future)

    try:
        future = submit(threads, work)
    except ConnectError:
        if release:
            release()
        raise
    future.add_done_callback(ended)
    try:
        return await answer
    except asyncio.CancelledError:
        future.cancel()
        raise
