"""The end of a client: closed during calls, dropped without a close, or ended with its program."""

import gc
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.service import TOKEN, Service

from gitpod import Gitpod

CLOSING = """
import asyncio
from gitpod import AsyncGitpod, GitpodError
async def main():
    for delay in range(40):
        async with AsyncGitpod(base_url="sqlite://") as client:
            await client.secrets.list()
            create = client.secrets.create
            calls = [
                asyncio.create_task(create(name=f"NUM{n}", value="v", scope={"user_id": USER}, api_only=True))
                for n in range(8)
            ]
            await asyncio.sleep(delay * 0.0001)
            for call in calls[::2]:
                call.cancel()
        for result in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(result, Exception) and str(result) != "the client is closed":
                raise result
asyncio.run(main())
"""


def test_closing_waits_for_what_cancelled_tasks_left_behind() -> None:
    """The threads that they started still use the store; taking it away from them would crash the process."""
    program = CLOSING.replace("USER", repr("b0e12f6c-4c67-429d-a4a6-d9838b5da047"))
    environment = os.environ | {"GITPOD_API_KEY": TOKEN}
    done = subprocess.run([sys.executable, "-c", program], env=environment, timeout=60, check=False)
    assert done.returncode == 0


def test_short_async_programs_exit_cleanly(service: Service) -> None:
    """Fifty of them; without care some are aborted by a thread that wakes a finalized interpreter."""
    program = (
        "import asyncio\nfrom gitpod import AsyncGitpod\n"
        "async def main():\n    await AsyncGitpod().secrets.list(page_size=1)\nasyncio.run(main())\n"
    )
    environment = os.environ | {"GITPOD_API_KEY": TOKEN, "GITPOD_BASE_URL": service.url}

    def status(_: int) -> int:
        return subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(status, range(50))) == [0] * 50


@pytest.mark.slow
def test_a_dropped_client_closes_its_files(tmp_path: Path) -> None:
    """Nothing is left open by a client that was never closed."""

    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def use() -> None:
        Gitpod(bearer_token=TOKEN, base_url=f"sqlite:///{tmp_path}/dropped.db").secrets.list()

    use()
    before = open_files()
    for _ in range(20):
        use()
    for _ in range(50):
        # The worker threads that hold the last of them end a moment later.
        if gc.collect() == 0 and open_files() <= before:
            break
        time.sleep(0.1)
    assert open_files() <= before


DROP = """
import asyncio, gc, os, sys, time
from gitpod import AsyncGitpod, Gitpod

def left():
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

def use(times):
    for _ in range(times):
        Gitpod().secrets.list(page_size=1)

async def use_async(times):
    for _ in range(times):
        await AsyncGitpod().secrets.list(page_size=1)

use(5), asyncio.run(use_async(5))
before = left()
use(1000), asyncio.run(use_async(1000))
for _ in range(100):
    gc.collect()
    if all(now <= then for now, then in zip(left(), before)):
        break
    time.sleep(0.1)
living = sum(isinstance(each, (Gitpod, AsyncGitpod)) for each in gc.get_objects())
sys.exit(f"{before} {left()} {living}" if living or any(now > then for now, then in zip(left(), before)) else 0)
"""


def test_a_thousand_dropped_clients_leave_nothing(service: Service) -> None:
    """No file, no thread, no object, of clients of either kind that were used and never closed."""
    environment = os.environ | {"GITPOD_API_KEY": TOKEN, "GITPOD_BASE_URL": service.url}
    done = subprocess.run([sys.executable, "-c", DROP], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


UNUSED = """
import builtins
from gitpod import AsyncGitpod, Gitpod

class Dropped:
    def __init__(self):
        options = {"bearer_token": "token", "base_url": "http://127.0.0.1:1"}
        self.sync, self.async_ = Gitpod(**options), AsyncGitpod(**options)

    def __del__(self):
        self.sync.close()
        try:
            self.async_.close().send(None)
        except StopIteration:
            print("closed")

# The last module that the interpreter clears.
builtins.dropped = Dropped()
"""


def test_unused_clients_can_be_closed_when_nothing_can_be_loaded() -> None:
    """By a finalizer at the end of the interpreter, as clients that were used."""
    done = subprocess.run([sys.executable, "-c", UNUSED], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("closed\n", "")
