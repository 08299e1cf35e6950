"""Calls a service from many connections at a time, each with one request in flight, and measures both sides.

The callers are plain sockets in one thread, so that they cost little.
"""

import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.exchanges import Exchange
from bench.results import Measures
from bench.usage import used

READ = 262_144


@dataclass(slots=True)
class _Connection:
    exchange: Exchange
    socket: socket.socket
    began: float = field(default=0.0)

    def send(self) -> None:
        self.began = time.perf_counter()
        self.socket.sendall(self.exchange.request())


def loaded(
    address: str,
    make: Callable[[], Exchange],
    connections: int,
    *,
    pid: int,
    seconds: float = 0,
    calls: int = 0,
) -> Measures:
    """Call for so many seconds, and at least so often, and wait for the last answer.

    Returns:
        `rate` in calls a second, `p50` and `p99` in milliseconds, and the milliseconds of processor a call of the
        process `pid` and its children: `cpu`, of which the kernel had `system`.
    """
    opened = [_opened(address, make()) for _ in range(connections)]
    try:
        before, began = used(pid), time.perf_counter()
        took = _drive(opened, began + seconds, calls)
        wall, after = time.perf_counter() - began, used(pid)
    finally:
        for each in opened:
            each.socket.close()
    took.sort()
    return {
        "rate": len(took) / wall,
        "p50": took[len(took) // 2] * 1000,
        "p99": took[len(took) * 99 // 100] * 1000,
        "cpu": (after.cpu - before.cpu) / len(took) * 1000,
        "system": (after.system - before.system) / len(took) * 1000,
    }


def _opened(address: str, exchange: Exchange) -> _Connection:
    host, _, port = address.rpartition(":")
    connected = socket.create_connection((host, int(port)), timeout=60)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.sendall(exchange.opening())
    return _Connection(exchange, connected)


def _drive(connections: list[_Connection], until: float, calls: int) -> list[float]:
    """Send and read in turn; the seconds that each answer took."""
    took: list[float] = []
    sent = 0
    with selectors.DefaultSelector() as selector:
        for each in connections:
            selector.register(each.socket, selectors.EVENT_READ, each)
            each.send()
            sent += 1
        while len(took) < sent:
            ready = selector.select(60)
            if not ready:
                raise TimeoutError("the service does not answer")
            for key, _ in ready:
                caller: _Connection = key.data
                data = caller.socket.recv(READ)
                if not data:
                    raise ConnectionError("the service closed the connection")
                is_complete, reply = caller.exchange.received(data)
                if reply:
                    caller.socket.sendall(reply)
                if is_complete:
                    now = time.perf_counter()
                    took.append(now - caller.began)
                    if now < until or sent < calls:
                        caller.send()
                        sent += 1
    return took
