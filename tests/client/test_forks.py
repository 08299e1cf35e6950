"""Forked processes: no call is repeated, every client works, and the proxy is the same."""

import base64
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from tests.support.peer import answer, read_request
from tests.support.service import TOKEN, Service
from tests.support.ways import OK, PARAMS, Connect, MakePeer

import gitpod
from gitpod import Gitpod
from gitpod._transport import native_threads

pytestmark = pytest.mark.usefixtures("clean_environment")


def run(program: str, service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program with the service in its environment."""
    environment = os.environ | {"GITPOD_API_KEY": TOKEN, "GITPOD_BASE_URL": service.url}
    # Newer Pythons warn of any fork of a process that has threads.
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", program, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_proxy_for_http_gets_nothing_from_a_fork(
    connect: Connect, peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would read the token and the value in clear."""
    proxy, there = peer(OK), peer(OK)
    monkeypatch.setattr(native_threads, "_checked", (0, True))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    connect(there.url).create(**PARAMS)
    assert (len(there.requests), proxy.requests) == (1, [])


@pytest.mark.parametrize("bypassed", [False, True])
def test_the_proxy_for_https_is_used_by_a_fork(
    connect: Connect, peer: MakePeer, monkeypatch: pytest.MonkeyPatch, *, bypassed: bool
) -> None:
    """With its own login, and without the token, which goes inside TLS; NO_PROXY goes past it."""
    proxy = peer(answer(403, b""))
    monkeypatch.setattr(native_threads, "_checked", (0, True))
    monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//user:p%40ss@"))
    monkeypatch.setenv("no_proxy", "nowhere.invalid" if bypassed else "")
    with pytest.raises(gitpod.APIConnectionError) as caught:
        connect("https://nowhere.invalid", max_retries=0).create(**PARAMS)
    assert caught.value.outcome == "not_sent"
    assert len(proxy.requests) == (0 if bypassed else 1)
    for request in proxy.requests:
        assert request.startswith(b"CONNECT nowhere.invalid:443 HTTP/1.")
        assert base64.b64encode(b"user:p@ss") in request
        assert TOKEN.encode() not in request


GIVEN = """
import os, signal, sys
import httpx, pyqwest
from gitpod import APIConnectionError, Gitpod
http = httpx.Client(trust_env=False) if sys.argv[1] == "httpx" else pyqwest.SyncHTTPTransport()
client = Gitpod(http_client=http)
if sys.argv[2] == "used":
    client.secrets.list()
child = os.fork()
if child == 0:
    signal.alarm(20)
    try:
        client.secrets.list()
        os._exit(10)
    except APIConnectionError as error:
        os._exit(11 if "the http_client does not survive" in str(error) and error.outcome == "not_sent" else 12)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
client.secrets.list()
sys.exit(status)
"""


@pytest.mark.parametrize(("sender", "when"), [("httpx", "unused"), ("httpx", "used"), ("pyqwest", "used")])
def test_a_given_client_stays_with_the_parent(service: Service, sender: str, when: str) -> None:
    """Answers on its sockets might be to the parent's requests."""
    assert run(GIVEN, service, sender, when).returncode == 11


FORKS = {
    "prefork": """
import os, signal, sys
from gitpod import Gitpod
client = Gitpod()
client.secrets.list()
gate, opened = os.pipe()
children = []
for number in range(4):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os.close(opened)
        os.read(gate, 1)
        client.secrets.create(name=f"CHILD_{number}", value="v", project_id=sys.argv[1], api_only=True)
        os._exit(0)
    children.append(child)
os.close(opened)
sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
""",
    "pool": """
import multiprocessing, signal, sys
from gitpod import Gitpod
client = Gitpod()
def create(number):
    made = client.secrets.create(name=f"CHILD_{number}", value="v", project_id=sys.argv[1], api_only=True)
    return client.secrets.get_value(secret_id=made.secret.id).value
client.secrets.list()
signal.alarm(20)
with multiprocessing.get_context("fork").Pool(2, initializer=signal.alarm, initargs=(20,)) as pool:
    values = pool.map(create, range(4), chunksize=1)
assert values == ["v"] * 4
""",
    "asyncio": """
import asyncio, os, signal, sys
from gitpod import AsyncGitpod
client = AsyncGitpod()
async def use(numbers):
    await client.secrets.list()
    await asyncio.gather(*(
        client.secrets.create(name=f"CHILD_{number}", value="v", project_id=sys.argv[1], api_only=True)
        for number in numbers
    ))
asyncio.run(use([]))
children = []
for first in (0, 2):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        asyncio.run(use([first, first + 1]))
        os._exit(0)
    children.append(child)
sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
""",
}


@pytest.mark.parametrize("how", FORKS)
def test_a_used_client_works_in_every_child(service: Service, project: str, how: str) -> None:
    """Processes that are forked as application servers and pools do it, all at the same time."""
    done = run(FORKS[how], service, project)
    assert (done.returncode, done.stderr) == (0, "")
    with Gitpod(bearer_token=TOKEN, base_url=service.url) as client:
        made = sorted(secret.name for secret in client.secrets.list(filter={"scope": {"project_id": project}}))
    assert made == [f"CHILD_{number}" for number in range(4)]


FORKING = """
import os, threading
from gitpod import Gitpod
client, done = Gitpod(codec="json", max_retries=0), threading.Event()
client.secrets.delete(secret_id="b0e12f6c-4c67-429d-a4a6-d9838b5da047")
def fork():
    while not done.is_set():
        child = os.fork()
        if child == 0:
            client.secrets.update_value(secret_id="b0e12f6c-4c67-429d-a4a6-d9838b5da047", value="v")
            os._exit(0)
        os.waitpid(child, 0)
thread = threading.Thread(target=fork)
thread.start()
for number in range(500):
    headers = {"x-number": f"<{number}>"}
    client.secrets.delete(secret_id="b0e12f6c-4c67-429d-a4a6-d9838b5da047", extra_headers=headers)
done.set()
thread.join()
"""


@pytest.mark.slow
def test_a_fork_repeats_no_call_of_its_parent(peer: MakePeer) -> None:
    """A call that was about to be made as the process was forked is made by the parent alone."""
    there = peer(answer(200, b"{}"))
    environment = os.environ | {"GITPOD_API_KEY": TOKEN, "GITPOD_BASE_URL": there.url}
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", FORKING]
    subprocess.run(command, env=environment, timeout=100, check=True)
    sent = [request.partition(b"x-number: <")[2].partition(b">")[0] for request in there.requests]
    numbers = [number for number in sent if number]
    assert len(numbers) == len(set(numbers)) == 500
    assert len(sent) > 510


ANSWER = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 21\r\n\r\n{"value": "parent\'s"}'
FORKS_IN_MID_CALL = """
import os, signal, sys
from gitpod import APIError, Gitpod
client = Gitpod(codec="json", timeout=20, max_retries=0, ca_cert=sys.argv[1] if len(sys.argv) > 1 else None)
child = None

def fork(_number, _frame):
    global child
    child = os.fork()

signal.signal(signal.SIGALRM, fork)
try:
    said = client.secrets.get_value(secret_id="b0e12f6c-4c67-429d-a4a6-d9838b5da047").reveal()
except APIError as error:
    said = error.outcome
if child == 0:
    print("the child:", said, flush=True)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert said == "parent's", said
"""


@pytest.mark.parametrize("is_tls", [False, True])
def test_a_signal_handler_that_forks_takes_no_answer_away(pki: Path, *, is_tls: bool) -> None:
    """The child returns into the call, which fails there at once, and the parent gets its answer."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pki / "server.pem")

    asked, goes_on = threading.Event(), threading.Event()

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with context.wrap_socket(connection, server_side=True) if is_tls else connection as secured:
            read_request(secured)
            asked.set()
            goes_on.wait(30)
            secured.sendall(ANSWER)
            with suppress(OSError):
                secured.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"{'https' if is_tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
        arguments = [str(pki / "ca.pem")] if is_tls else []
        command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", FORKS_IN_MID_CALL, *arguments]
        environment = os.environ | {"GITPOD_API_KEY": TOKEN, "GITPOD_BASE_URL": url}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            # Not before: `make quick` skips the test at the start of a process, and would leave the thread behind.
            threading.Thread(target=serve, args=(listener,), daemon=True).start()
            try:
                assert asked.wait(30)
                process.send_signal(signal.SIGALRM)
                assert process.stdout
                assert process.stdout.readline() == "the child: unknown\n"
                goes_on.set()
                assert process.wait(30) == 0
            finally:
                process.kill()
