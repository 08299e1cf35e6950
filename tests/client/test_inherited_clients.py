"""A client that a forked child inherits works there, or says why not; it never hangs."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.service import TOKEN, Service

INHERITED = """
import os, signal, sys, threading
from gitpod import Gitpod

opened, forked = threading.Event(), threading.Event()

def open_slowly():
    with client._transport._lock:
        opened.set()
        forked.wait()

client = Gitpod()
client.secrets
threading.Thread(target=open_slowly).start()
opened.wait()
child = os.fork()
if child == 0:
    signal.alarm(20)
    client.secrets.list()
    client.close()
    os._exit(10)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
forked.set()
sys.exit(status)
"""


def test_a_fork_while_a_thread_opens_the_connections_does_not_hang(service: Service) -> None:
    """The child inherits a lock that nobody there will ever release."""
    environment = os.environ | {"GITPOD_API_KEY": TOKEN, "GITPOD_BASE_URL": service.url}
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", INHERITED]
    assert subprocess.run(command, env=environment, timeout=60, check=False).returncode == 10


PROGRAM = """
import os, sys, signal
from gitpod import Gitpod, APIConnectionError
client = Gitpod()
if sys.argv[1] == "used":
    client.secrets.list()
child = os.fork()
if child == 0:
    signal.alarm(20)
    try:
        client.secrets.list()
        os._exit(10)
    except APIConnectionError as error:
        os._exit(11 if "forked" in str(error) and error.outcome == "not_sent" else 12)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
client.secrets.list()
sys.exit(status)
"""


@pytest.mark.parametrize(
    ("where", "when", "status"),
    [
        ("socket", "unused", 10),
        ("socket", "used", 10),
        ("file", "unused", 10),
        ("file", "used", 10),
        ("memory", "unused", 10),
        ("memory", "used", 11),
    ],
)
def test_a_fork_never_hangs(service: Service, tmp_path: Path, where: str, when: str, status: int) -> None:
    """A client works in a forked child, also after it was used; only a store in memory stays with the parent."""
    url = {"socket": service.url, "file": f"sqlite:///{tmp_path}/forked.db", "memory": "sqlite://"}[where]
    environment = os.environ | {"GITPOD_API_KEY": TOKEN, "GITPOD_BASE_URL": url}
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", PROGRAM, when]
    done = subprocess.run(command, env=environment, timeout=60, check=False)
    assert done.returncode == status
    assert done.returncode != -signal.SIGALRM
