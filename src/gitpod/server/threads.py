"""A pool of threads that says truly whether it took a piece of work, also when the system starts no more threads."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Generic, ParamSpec, TypeVar, cast

from connectrpc.code import Code
from connectrpc.errors import ConnectError

from gitpod.server.errors import ServiceError
from gitpod.server.log import logger

P = ParamSpec("P")
T = TypeVar("T")

WRITERS, READERS, KEYS, STRANGERS = 4, 4, 4, 4
"""How many threads of each kind `Pools` has."""
CLOSED = "the service is closed, or starts no more threads"
NO_MORE = (
    "cannot start the threads of the service: the system allows no more; raise the limit of processes "
    "(systemd TasksMax, cgroup pids.max, ulimit -u) or of memory"
)


class Threads(ThreadPoolExecutor):
    """A `ThreadPoolExecutor` whose `submit` has no effect when it raises, and which can start all threads at once.

    The standard one queues the work before it starts a thread. If that start fails, `submit` raises RuntimeError, and
    another thread does the work nevertheless.

    Args:
        count: the most threads.
        name: the prefix of their names.
    """

    def __init__(self, count: int, name: str) -> None:
        super().__init__(count, thread_name_prefix=name)
        self.count = count
        self._name = name
        self._started: list[Thread] = []
        self._waiting: SimpleQueue[Callable[[], object] | None] = SimpleQueue()

    def start_all(self) -> None:
        """Start all threads, so that none has to be started while the service runs.

        Raises:
            ServiceError: the system does not start that many. The pool is shut down then.
        """
        try:
            for number in range(self.count):
                self._started.append(start_thread(self._work, f"{self._name}-{number}"))
        except ServiceError:
            self.shutdown()
            raise

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

        if self._started:
            self._waiting.put(work)
            return future
        try:
            super().submit(work)
        except Exception:
            if future.cancel():
                raise
            # Another thread has begun with it.
        return future

    def run(self, work: Callable[[], object]) -> None:
        """`submit` without a future, which takes most of the time of a short call. The work must not raise."""
        if self._started:
            self._waiting.put(work)
        else:
            self.submit(work)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 # the standard pool's
        """Wait for the work under way (concurrent.futures.Executor). Safe to repeat."""
        started, self._started = self._started, []
        for _ in started:
            self._waiting.put(None)
        for thread in started:
            thread.join()
        super().shutdown(wait, cancel_futures=cancel_futures)

    def _work(self) -> None:
        while (work := self._waiting.get()) is not None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 # the thread has other work to do
                # The error's message is left out, as it may quote a value.
                logger.error("work in a thread failed: %s", type(error).__name__)
            # It may hold a value.
            del work


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

    @property
    def count(self) -> int:
        """The number of threads."""
        return sum(each.count for each in self._all)

    def start_all(self) -> None:
        """Start all threads. Raises `ServiceError` if the system starts fewer."""
        for each in self._all:
            each.start_all()

    def shutdown(self) -> None:
        """Wait for the work under way. Safe to repeat."""
        for each in self._all:
            each.shutdown()


class _Call(Generic[T]):
    """Work in a thread that an event loop awaits."""

    def __init__(self, work: Callable[[], T], release: Callable[[], None] | None) -> None:
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[T] = self._loop.create_future()
        # Whoever takes the work begins with it, or keeps it from beginning. A list gives it to one thread alone.
        self._work = [work]
        self._release = release

    def run(self) -> None:
        """Do the work, unless it was dropped."""
        result, error = None, None
        try:
            work = self._work.pop()
        except IndexError:
            return
        try:
            result = work()
        except BaseException as raised:  # noqa: BLE001 # whoever awaits it gets it
            error = raised
        # After the loop was closed nothing waits.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end, result, error)

    def drop(self) -> None:
        """Keep the work from beginning, if it has not begun."""
        try:
            self._work.pop()
        except IndexError:
            return
        if self._release:
            self._release()

    def _end(self, result: T | None, error: BaseException | None) -> None:
        if not self.answer.done():
            if error is None:
                self.answer.set_result(cast("T", result))
            else:
                self.answer.set_exception(error)
        if self._release:
            self._release()


async def in_thread(threads: Threads, work: Callable[[], T], release: Callable[[], None] | None = None) -> T:
    """Return the result of work in a thread.

    Args:
        threads: the pool.
        work: what to run.
        release: is called in the event loop once the work holds no thread. That may be later than the end of this
            call, which can be cancelled, while work that has begun cannot.

    Raises:
        ConnectError: UNAVAILABLE, when the pool takes no work. The work is not done then.
    """
    call = _Call(work, release)
    try:
        threads.run(call.run)
    except (RuntimeError, MemoryError):
        call.drop()
        raise ConnectError(Code.UNAVAILABLE, CLOSED) from None
    try:
        return await call.answer
    except asyncio.CancelledError:
        call.drop()
        raise


async def to_its_end(threads: Threads, work: Callable[[], T]) -> T:
    """`in_thread` for work that is done even if this call is cancelled."""
    return await asyncio.shield(in_thread(threads, work))
