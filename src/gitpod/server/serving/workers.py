"""Several processes that serve the same sockets: starts them, starts another one for each that ends, and stops all.

Each is a new process, not a copy of a running one, so that none has threads, locks or connections of another. uvicorn's
supervisor serves one socket, announces nothing, restarts without a pause and waits without end for those it stops.
"""

import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any

from gitpod.server.errors import ServiceError, StoreUnavailableError
from gitpod.server.log import logger
from gitpod.server.threads import NO_MORE

LONGEST_PAUSE = 32.0
"""Seconds before another worker is started. The first pause takes 1 s, and each is twice as long as the one before."""
HEALTHY = 60.0
"""Seconds after which the end of a worker is not counted together with earlier ones: the pause is 1 s again."""
SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Announcement:
    """What callers and operators need to know.

    Attributes:
        url: of Connect and gRPC-Web.
        grpc_port: the port for gRPC alone, if there is one.
        token: the owner's token, if one was made up.
        store: where the store is, without a password.
        key: where its key is.
    """

    url: str
    grpc_port: int | None
    token: str | None = field(repr=False)
    store: str
    key: str


Serve = Callable[[Sequence[socket.socket], str | None, int, Callable[[Announcement], None]], None]
"""Serves in a worker until SIGTERM. It gets the sockets, the owner's token if another worker made one up, a file
descriptor that can be read once the parent has ended, and what to call once connections are accepted."""


@dataclass(slots=True, eq=False)
class _Worker:
    process: SpawnProcess
    news: "Connection[Any, Any]"
    is_ready: bool = False
    began: float = field(default_factory=time.monotonic)


class Workers:
    """The workers of a service. The first one is ready before the others start, so that one alone upgrades the store.

    Args:
        count: how many.
        serve: what each does. It is pickled.
        sockets: on which they listen. They are closed at the end.
        announce: is called once all of them accept connections.
        latest_end: seconds after the signal to stop when those that still run are killed.
    """

    def __init__(
        self,
        count: int,
        serve: Serve,
        sockets: Sequence[socket.socket],
        announce: Callable[[Announcement], None],
        latest_end: float,
    ) -> None:
        self._count = count
        self._serve = serve
        self._sockets = sockets
        self._announce = announce
        self._latest_end = latest_end
        self._workers: list[_Worker] = []
        self._announcement: Announcement | None = None
        self._is_announced = False
        self._due: list[float] = []
        self._pause = 1.0

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM.

        Raises:
            ServiceError, StoreUnavailableError: a worker did not start. One that ends later is started again.
        """
        stop, tell = os.pipe()

        def end(_: int, __: FrameType | None) -> None:
            os.write(tell, b"\0")

        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, end)
        try:
            self._start()
            while self._goes_on(stop):
                pass
        finally:
            self._stop()

    def _goes_on(self, stop: int) -> bool:
        """Wait for something to happen, and act on it. Returns False at the signal to stop."""
        pause = max(0.0, min(self._due) - time.monotonic()) if self._due else None
        ready = wait([stop, *(each.news for each in self._workers)], pause)
        if stop in ready:
            return False
        for worker in [each for each in self._workers if each.news in ready]:
            self._hear(worker)
        now = time.monotonic()
        late = [each for each in self._due if each <= now]
        self._due = [each for each in self._due if each > now]
        for _ in late:
            self._start_another()
        return True

    def _hear(self, worker: _Worker) -> None:
        try:
            news = worker.news.recv()
        except (EOFError, OSError):
            self._end(worker)
            return
        if isinstance(news, Announcement):
            worker.is_ready = True
            if self._announcement is None:
                self._announcement = news
                for _ in range(1, self._count):
                    self._start()
            if not self._is_announced and all(each.is_ready for each in self._workers):
                self._is_announced = True
                self._announce(self._announcement)
        elif self._is_announced:
            logger.error("worker %s does not start: %s", worker.process.pid, news)
        else:
            raise news

    def _start(self) -> None:
        try:
            pipe: Any = SPAWN.Pipe(duplex=False)  # the class depends on the system
        except OSError as error:
            raise ServiceError(f"cannot start a worker: {error.strerror}") from None
        news, theirs = pipe
        token = self._announcement and self._announcement.token
        process = SPAWN.Process(target=work, args=(self._serve, self._sockets, token, theirs), name="gitpod-worker")
        try:
            # It would unblock the signals.
            resource_tracker.ensure_running()
            # Ctrl-C reaches every process of a terminal. A worker ignores it, once it can.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            process.start()
        except OSError:
            news.close()
            raise ServiceError(NO_MORE) from None
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            # So that its end ends what is read.
            theirs.close()
        self._workers.append(_Worker(process, news))

    def _start_another(self) -> None:
        try:
            self._start()
        except ServiceError as error:
            logger.error("%s", error)
            self._plan()

    def _end(self, worker: _Worker) -> None:
        worker.process.join()
        worker.news.close()
        self._workers.remove(worker)
        how = ended(worker.process.exitcode or 0)
        if not self._is_announced:
            raise ServiceError(f"a worker ended while it started: {how}")
        if time.monotonic() - worker.began > HEALTHY:
            self._pause = 1.0
        logger.error("worker %s ended: %s; another one starts in %d s", worker.process.pid, how, self._pause)
        self._plan()

    def _plan(self) -> None:
        self._due.append(time.monotonic() + self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _stop(self) -> None:
        until = time.monotonic() + self._latest_end
        for each in self._sockets:
            # While it is open, clients are not refused.
            each.close()
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(max(0.0, until - time.monotonic()))
            if worker.process.exitcode is None:
                worker.process.kill()
                worker.process.join()


def _ignore(_: int, __: FrameType | None) -> None:
    pass


def ended(code: int) -> str:
    """Say how a process ended, by its exit code as of multiprocessing."""
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"


def work(serve: Serve, sockets: Sequence[socket.socket], token: str | None, news: "Connection[Any, Any]") -> None:
    """Be a worker: the new process runs this."""
    # Not SIG_IGN, which the command of a key would inherit.
    signal.signal(signal.SIGINT, _ignore)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    parent: Any = multiprocessing.parent_process()
    try:
        serve(sockets, token, parent.sentinel, news.send)
    except (ServiceError, StoreUnavailableError) as error:
        news.send(error)
        sys.exit(1)
    except Exception:  # noqa: BLE001 # the parent says that the worker ended
        # The log leaves the message out, which may quote a value.
        logger.exception("the worker failed")
        sys.exit(1)
