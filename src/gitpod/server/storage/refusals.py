"""Counts refused calls, so that a flood of them neither fills the audit nor takes the time of the store.

There is one record for each token, RPC, code and minute, and it has the number of calls. The first call of a minute
is written before it is answered. The others are counted in memory and written together, a second later at most. So a
process that is killed loses the count of a second, and never the fact.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256

from gitpod.server.log import logger
from gitpod.server.storage.rows import AuditRecord

INTERVAL = 1.0
"""Seconds for which further refusals are counted in memory alone."""
MINUTE = 60_000_000
"""Microseconds."""


class Refusals:
    """The counts that are not written yet. Safe to use from many threads.

    Args:
        write: adds the counts of records to the store.
    """

    def __init__(self, write: Callable[[Sequence[AuditRecord]], None]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._minute = 0
        self._begun: set[str] = set()
        self._pending: dict[str, AuditRecord] = {}
        self._timer: threading.Timer | None = None
        self._fails = False
        self.is_closed = False

    def count(self, record: AuditRecord, *, is_answered: bool = True) -> bool:
        """Count a refused call, without I/O. Returns whether `flush` must be called: it is the first of its minute.

        Args:
            record: of the call.
            is_answered: whether someone calls `flush`, and answers after it. A caller who has left gets no answer.
        """
        minute = record.at // MINUTE
        counted = replace(record, id=_id(record, minute))
        with self._lock:
            if minute != self._minute:
                self._minute = minute
                self._begun.clear()
            is_first = counted.id not in self._begun
            self._begun.add(counted.id)
            self._add(counted)
            if not (is_first and is_answered) and self._timer is None:
                self._start_timer()
        return is_first

    def flush(self) -> None:
        """Write what was counted. If the store cannot do it now, it is tried again every second."""
        with self._lock:
            taken, self._pending = self._pending, {}
        if not taken:
            return
        try:
            self._write([*taken.values()])
        except Exception as error:  # noqa: BLE001 # whatever it is, the calls were refused and stay counted
            if not self._fails:
                # The error's message is left out, as it may quote a row.
                logger.error("refused calls cannot be written to the audit yet: %s", type(error).__name__)
            self._fails = True
            with self._lock:
                for each in taken.values():
                    self._add(each)
                if self._timer is None and not self.is_closed:
                    self._start_timer()
        else:
            self._fails = False

    def close(self) -> None:
        """Write what was counted, for the last time."""
        self.is_closed = True
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self.flush()

    def abandon(self) -> None:
        """Forget what was counted, in a forked child: the parent writes it."""
        self._pending = {}

    def _add(self, record: AuditRecord) -> None:
        known = self._pending.get(record.id)
        self._pending[record.id] = replace(known, count=known.count + record.count) if known else record

    def _start_timer(self) -> None:
        timer = threading.Timer(INTERVAL, self._tick)
        timer.daemon = True
        try:
            timer.start()
        except (RuntimeError, MemoryError):
            # No thread can be started now. The next refused call tries again, and `close` writes what is left.
            return
        self._timer = timer

    def _tick(self) -> None:
        with self._lock:
            self._timer = None
        if not self.is_closed:
            self.flush()


def _id(record: AuditRecord, minute: int) -> str:
    """Return the id that all refusals of a kind have in a minute, in every process."""
    kind = record.subject_id, record.principal, record.token_id, record.action, record.outcome, minute
    return sha256(repr((record.organization_id, *kind)).encode()).hexdigest()[:32]
