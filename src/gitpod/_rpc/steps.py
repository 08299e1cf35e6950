"""Runs a generator of steps: the retries of a call, or the calls of `put`. The generator decides, and does no I/O.

It yields each step and is sent the result, so that sync and async clients share it.
"""

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")


def run(steps: Generator[S, Any, T], take: Callable[[S], object]) -> T:
    """Take each step, and return what the generator returns. An error of a step is thrown into the generator."""
    try:
        step = next(steps)
        while True:
            try:
                result = take(step)
            except Exception as error:  # noqa: BLE001 # the generator raises what it does not handle
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        returned: T = end.value
        return returned


async def run_async(steps: Generator[S, Any, T], take: Callable[[S], Awaitable[object]]) -> T:
    """`run`, with steps that are awaited."""
    try:
        step = next(steps)
        while True:
            try:
                result = await take(step)
            except Exception as error:  # noqa: BLE001 # the generator raises what it does not handle
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        returned: T = end.value
        return returned
