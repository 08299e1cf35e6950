"""Connects to the primary among several PostgreSQL servers, without waiting again and again for one that is silent.

libpq asks the servers of a URL in the order of the URL, each time. A frozen server keeps each new connection waiting
until the connect timeout, and a former primary that was cut off still says that it takes writes.
"""

import threading
import time
from functools import partial
from typing import Any

import psycopg

from gitpod.server.storage.bounded import BoundedConnection

WRITABLE = ("read-write", "primary")
"""The values of `target_session_attrs` for which any server that accepts the connection is the right one."""
SLOW = 1.0
"""Seconds after which a failed attempt counts as silence. A server that is down, or a standby, refuses at once."""
LEFT_OUT = 5.0
"""Seconds for which a silent server is not asked, while there are others."""
SHORT: dict[str, Any] = {"connect_timeout": 2}
"""How long one that was silent may take when it is asked again, in seconds: the least that psycopg takes. Every other
time it has the timeout of the URL, as it may be slow rather than silent."""


class Hosts:
    """The servers of a store's URL: the one that last accepted a connection first, silent ones left out for a while.

    With one server, or unless `target_session_attrs` asks for the primary, connections are made as psycopg makes them.
    """

    def __init__(self, parameters: dict[str, Any]) -> None:
        """Take the connection parameters, in which libpq separates servers by commas."""
        self._servers: list[dict[str, Any]] = [parameters]
        lists = {
            name: str(parameters[name]).split(",") for name in ("host", "hostaddr", "port") if parameters.get(name)
        }
        count = max((len(values) for values in lists.values()), default=1)
        # libpq takes one port for all hosts. What else does not match, it explains itself.
        matches = all(len(values) == count or (name == "port" and len(values) == 1) for name, values in lists.items())
        if matches and parameters.get("target_session_attrs") in WRITABLE:
            self._servers = [
                parameters | {name: values[index % len(values)] for name, values in lists.items()}
                for index in range(count)
            ]
        self._silent_until = [0.0] * len(self._servers)
        # How often each was silent since it last answered.
        self._silences = [0] * len(self._servers)
        self._order = list(range(len(self._servers)))
        self._lock = threading.Lock()

    def connect(self) -> BoundedConnection:
        """Return a connection to the first server that accepts one.

        Raises:
            psycopg.OperationalError: no server did. The message has the reason of each.
        """
        failures: list[psycopg.OperationalError] = []
        for number, timeout in self._chosen():
            began = time.monotonic()
            try:
                parameters: dict[str, Any] = {**self._servers[number], **timeout}
                connection = BoundedConnection.connect(**parameters)
            except psycopg.OperationalError as error:
                failures.append(error)
                if time.monotonic() - began > SLOW:
                    self._silent(number)
                else:
                    self._silences[number] = 0
            else:
                connection.on_silence = partial(self._silent, number)
                self._prefer(number)
                return connection
        if len(failures) == 1:
            raise failures[0]
        raise psycopg.OperationalError("; ".join(str(error) for error in failures))

    def _silent(self, number: int) -> None:
        """Ask a server last, and not at all for a while: it did not answer in time."""
        with self._lock:
            self._silences[number] += 1
            self._silent_until[number] = time.monotonic() + LEFT_OUT
            self._order.remove(number)
            self._order.append(number)

    def _chosen(self) -> list[tuple[int, dict[str, Any]]]:
        """Return the servers to ask, in order, with parameters of this attempt. All of them, when all are silent."""
        now = time.monotonic()
        with self._lock:
            silent = {number for number in self._order if self._silences[number]}
            chosen = [n for n in self._order if n not in silent or self._silent_until[n] <= now] or self._order
            for number in silent.intersection(chosen):
                # One call alone waits for it.
                self._silent_until[number] = now + LEFT_OUT
            return [(number, SHORT if self._silences[number] % 2 else {}) for number in chosen]

    def _prefer(self, number: int) -> None:
        with self._lock:
            self._silences[number] = 0
            self._order.remove(number)
            self._order.insert(0, number)
