"""The files of a SQLite store: whether they are still the ones that were opened, and whether they are well."""

import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from gitpod.server.storage import limits
from gitpod.server.storage.failures import is_busy

LOG_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
"""The first bytes of a write-ahead log (SQLite, Database File Format, 4.1)."""
MAGIC, IN_WAL_MODE = b"SQLite format 3\0", b"\2\2"
"""The first bytes of a database, and those at offset 18 (the same, 1.3)."""
HEADER = 100
LEAST_FREE = 1024 * 1024
"""The least free bytes of the disk. A log whose space is used again takes some writes when there are none."""
TRIES, PAUSE = 50, 0.01
"""How often to look at a database that became smaller, and seconds between two looks: whoever copies the log into it
writes the first page, which has the size, before the others."""
STEPS = 10_000
"""Instructions of SQLite between two looks at the clock."""


class Files:
    """The database, its log and the log's shared memory.

    Args:
        path: the database, which a connection has open together with the two others.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # SQLite keeps the two others beside the file that a link leads to.
        target = os.path.realpath(path)
        self._names = [str(path), f"{target}-wal", f"{target}-shm"]
        self._identity, self._size = self._look()
        # What the database was like when it was last found intact, and what is wrong with it otherwise.
        self._intact: tuple[int, int, bool] | None = None
        self._damage = ""
        self._next_check = 0.0
        self._fault = ""

    def fault(self) -> str:
        """Return what makes it unsafe to go on, empty when all is well. Stays as it is until the process restarts.

        Another process that opens the store after one of its files was removed works on other files than this one.
        """
        if not self._fault:
            try:
                identity, size = self._look()
            except OSError:
                identity, size = [], 0
            if identity != self._identity:
                self._fault = "a file of the store was removed or replaced"
            elif size < self._size and not self._is_whole():
                self._fault = "the store's file was cut short"
            self._size = size
        return self._fault

    def damage(self) -> str:
        """Return what is wrong with the content or with the disk, empty when nothing is found in `LOOK_TIMEOUT`."""
        free = os.statvfs(self._path)
        if free.f_blocks and free.f_bavail * free.f_frsize < LEAST_FREE:
            return "the disk has no room"
        header = self._header()
        if header and not (header.startswith(MAGIC) and header[18:20] == IN_WAL_MODE):
            # The log may still have the right pages, but it does not keep them for long.
            return "the store's file is damaged: it does not begin as a database"
        database, log = self._path.stat(), Path(self._names[1])
        # SQLite has no locks on this file, which closing it would drop.
        with log.open("rb") as file:
            start = file.read(len(LOG_MAGIC[0]))
        if start and start not in LOG_MAGIC:
            self._fault = "the store's log was overwritten"
            return self._fault
        # The log is emptied by whoever writes all of it into the database, or by mistake.
        looks = database.st_size, database.st_mtime_ns, bool(start)
        began = time.monotonic()
        if looks != self._intact and began >= self._next_check:
            found = self._check()
            self._damage = f"the store's file is damaged: {found}" if found else ""
            self._intact = None if found else looks
            # A large database takes at most a tenth of a processor.
            self._next_check = time.monotonic() + 9 * (time.monotonic() - began)
        return self._damage

    def write(self) -> None:
        """Commit a change that changes nothing. Raises sqlite3.Error."""
        with closing(self._connect()) as connection:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("BEGIN IMMEDIATE")
            [version] = connection.execute("PRAGMA user_version").fetchone()
            connection.execute(f"PRAGMA user_version={version}")
            connection.execute("COMMIT")

    def _look(self) -> tuple[list[tuple[int, int]], int]:
        """Return device and inode of each file, and the size of the database. Raises OSError."""
        found = [os.stat(name) for name in self._names]  # noqa: PTH116 # of the three, in every transaction
        return [(each.st_dev, each.st_ino) for each in found], found[0].st_size

    def _header(self) -> bytes:
        """Return the first bytes of the database on the disk, empty if they cannot be read.

        Reads by a descriptor of SQLite: to open the file and close it again would drop the locks of this process.
        """
        with suppress(OSError):
            for name in os.listdir("/dev/fd"):  # noqa: PTH208 # the numbers alone
                with suppress(OSError):
                    descriptor = int(name)
                    found = os.pread(descriptor, HEADER, 0) if self._is_database(descriptor) else b""
                    # Another thread may have closed it, and opened another file under its number.
                    if found and self._is_database(descriptor):
                        return found
        return b""

    def _is_database(self, descriptor: int) -> bool:
        status = os.fstat(descriptor)
        return (status.st_dev, status.st_ino) == self._identity[0]

    def _is_whole(self) -> bool:
        """Tell whether a database that became smaller has all of its pages, as after VACUUM.

        It has as many as its own first page says. `PRAGMA page_count` also counts those that only the log has.
        """
        for _ in range(TRIES):
            header = self._header()
            pages, page_size = int.from_bytes(header[28:32], "big"), int.from_bytes(header[16:18], "big")
            # 1 stands for 65536 (SQLite, Database File Format, 1.3.2).
            if 0 < pages * (65536 if page_size == 1 else page_size) <= self._path.stat().st_size:
                return True
            time.sleep(PAUSE)
        return False

    def _check(self) -> str:
        """Return what SQLite finds wrong. A new connection reads what is on the disk, and not what others remember."""
        deadline = time.monotonic() + limits.LOOK_TIMEOUT
        with closing(self._connect()) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > deadline, STEPS)
            try:
                [found] = connection.execute("PRAGMA quick_check(1)").fetchone()
            except sqlite3.DatabaseError as error:
                if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT or is_busy(error):
                    # Of a large database, what was looked at is intact.
                    return ""
                return str(error)
        return "" if found == "ok" else str(found)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=limits.CHECK_TIMEOUT, isolation_level=None)
