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


async def in_thread(threads: Threads, work: Callable[[], T], done: Callable[[], None] | None = None) -> T:
    """Return the result of work in a thread.

    Args:
        threads: the pool.
        work: what to run.
        done: is called once the work holds no thread, by whichever thread. That may be later than the end of this
            call, which can be cancelled, while the work cannot.

    Raises:
        ConnectError: UNAVAILABLE, when the pool takes no work. The work is not done then.
    """
    try:
        future = threads.submit(work)
    except (RuntimeError, MemoryError):
        if done:
            done()
        raise ConnectError(Code.UNAVAILABLE, "the service is closed, or starts no more threads") from None
    if done:
        future.add_done_callback(lambda _: done())
    return await asyncio.wrap_future(future)
