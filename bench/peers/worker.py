"""Runs one way of calling for the bench, in a process of its own. Needs the standard library alone.

Each line of standard input is a number of seconds; the answer is a line of JSON: the microseconds of a call.
"""

import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any


def work(call: Callable[[], object]) -> None:
    """Measure a call until standard input ends."""
    for line in sys.stdin:
        _answer(*_repeated(call, float(line)))


def work_async(made: Callable[[], Coroutine[Any, Any, Callable[[], Awaitable[object]]]], in_flight: int) -> None:
    """Measure with so many calls at a time until standard input ends. `made` makes the call, in the event loop."""
    with asyncio.Runner() as runner:
        call = runner.run(made())
        for line in sys.stdin:
            _answer(*runner.run(_at_once(call, float(line), in_flight)))


def _repeated(call: Callable[[], object], seconds: float) -> tuple[int, float, float, float]:
    calls, before = 0, resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    until = began + seconds
    while calls == 0 or time.perf_counter() < until:
        call()
        calls += 1
    wall = time.perf_counter() - began
    return calls, wall, *_since(before)


async def _at_once(
    call: Callable[[], Awaitable[object]], seconds: float, in_flight: int
) -> tuple[int, float, float, float]:
    calls, before = 0, resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    until = began + seconds

    async def repeat() -> None:
        nonlocal calls
        while True:
            await call()
            calls += 1
            if time.perf_counter() > until:
                return

    await asyncio.gather(*(repeat() for _ in range(in_flight)))
    wall = time.perf_counter() - began
    return calls, wall, *_since(before)


def _since(before: resource.struct_rusage) -> tuple[float, float]:
    now = resource.getrusage(resource.RUSAGE_SELF)
    return now.ru_utime - before.ru_utime, now.ru_stime - before.ru_stime


def _answer(calls: int, wall: float, user: float, system: float) -> None:
    microseconds = {"wall": wall, "cpu": user + system, "user": user, "system": system}
    print(json.dumps({name: seconds / calls * 1e6 for name, seconds in microseconds.items()}), flush=True)
