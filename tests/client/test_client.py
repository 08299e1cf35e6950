"""The options of a client: where they come from, what is refused, and what a copy shares."""

import asyncio
import copy
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
from tests.support.caller import Caller
from tests.support.peer import Peer, stall
from tests.support.service import TOKEN, Service

import gitpod
from gitpod import APIError, AsyncGitpod, ConflictError, Gitpod, GitpodError, InvalidRequestError, Violation

BOTH = pytest.mark.parametrize("kind_of", [Gitpod, AsyncGitpod])


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No option from the environment that the tests run in."""
    for name in ("GITPOD_API_KEY", "GITPOD_BASE_URL", "GITPOD_ALLOW_PLAINTEXT"):
        monkeypatch.delenv(name, raising=False)


@BOTH
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_token_names_the_variable(
    kind_of: type[Gitpod | AsyncGitpod], monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    """In the constructor, not at the first call."""
    if value is not None:
        monkeypatch.setenv("GITPOD_API_KEY", value)
    with pytest.raises(GitpodError, match=r"bearer_token: missing.*GITPOD_API_KEY"):
        kind_of(bearer_token=os.environ.get("GITPOD_API_KEY"))


@BOTH
def test_an_embedded_service_needs_no_token(kind_of: type[Gitpod | AsyncGitpod]) -> None:
    """It would take any."""
    assert kind_of(base_url="sqlite://").base_url == "sqlite://"


@BOTH
def test_the_environment_gives_token_and_url(
    kind_of: type[Gitpod | AsyncGitpod], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And an argument wins over it; without either, the hosted service is called."""
    monkeypatch.setenv("GITPOD_API_KEY", "from-the-environment")
    assert kind_of().base_url == "https://app.ona.com/api"
    monkeypatch.setenv("GITPOD_BASE_URL", "https://secrets.example.com/api/")
    assert kind_of().base_url == "https://secrets.example.com/api"
    assert kind_of(base_url="https://other.example.com").base_url == "https://other.example.com"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bearer_token": "line\n"}, "bearer_token: must be printable ASCII"),
        ({"bearer_token": b"bytes"}, "bearer_token: must be printable ASCII"),
        ({"base_url": 3}, "base_url: must be a string"),
        ({"base_url": "http://localhost.example.com"}, "base_url: http:// would show the token"),
        ({"base_url": "https://host?"}, "base_url: must not hold a query"),
        ({"base_url": "http://[::1%25lo]"}, "base_url: must not hold a query, a fragment, escapes"),
        ({"base_url": "HTTP://10.0.0.1"}, "base_url: http:// would show the token"),
        ({"base_url": "http://10.0.0.1", "allow_plaintext": "false"}, "allow_plaintext: must be True or False"),
        ({"default_headers": "a: b"}, "default_headers: must be a mapping"),
        ({"default_headers": {"a": 1}}, "default_headers: must be a mapping of strings"),
        ({"bearer_token": "tökén"}, "bearer_token: must be printable ASCII"),
        ({"base_url": "ftp://host"}, "base_url: must start with https://, http://, sqlite: or postgresql:"),
        ({"base_url": "host"}, "base_url: must start with"),
        ({"base_url": "https://"}, "base_url: must start with"),
        ({"base_url": "https://host:port"}, "base_url: is not a valid URL"),
        ({"base_url": "http://[::1]evil.example"}, "base_url: is not a valid URL"),
        ({"base_url": "https://[v1.x]"}, "base_url: is not a valid URL"),
        ({"http2": "yes"}, "http2: must be True or False"),
        ({"protocol": "soap"}, 'protocol: must be "connect", "grpc" or "grpc-web"'),
        ({"compression": "br"}, 'compression: must be None, "gzip" or "zstd"'),
        ({"default_headers": {"Host": "a"}}, "default_headers: 'Host' is for the protocol to say"),
        ({"base_url": "https://user:hunter2@host"}, "base_url: must not hold a user name or password"),
        ({"base_url": "https://host/?q=1"}, "base_url: must not hold a query"),
        ({"base_url": "https://ho st"}, "base_url: must not hold"),
        ({"base_url": "http://secrets.example.com"}, "base_url: http:// would show the token"),
        ({"base_url": "http://10.0.0.1"}, "base_url: http:// would show the token"),
        ({"timeout": 0}, "timeout: must be a number of seconds"),
        ({"timeout": -1}, "timeout: must be a number of seconds"),
        ({"timeout": float("nan")}, "timeout: must be a number of seconds"),
        ({"timeout": float("inf")}, "timeout: must be a number of seconds"),
        ({"timeout": 10_000_000}, "timeout: must be a number of seconds"),
        ({"timeout": "60"}, "timeout: must be a number of seconds"),
        ({"max_retries": -1}, "max_retries: must be a whole number"),
        ({"max_retries": 1.5}, "max_retries: must be a whole number"),
        ({"codec": "xml"}, 'codec: must be "binary" or "json"'),
        ({"default_headers": {"a b": "c"}}, "default_headers: a header's name"),
        ({"default_headers": {"a": "hunter2\r\nx: y"}}, "default_headers: the value of 'a'"),
    ],
)
def test_a_bad_option_is_named(options: dict[str, Any], message: str) -> None:
    """In the constructor, and without what was given."""
    with pytest.raises(GitpodError) as caught:
        Gitpod(**cast("Any", {"bearer_token": TOKEN, **options}))
    assert str(caught.value).startswith(message)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost:1", "http://127.0.0.1", "http://127.1.2.3", "http://[::1]:8080"])
def test_plain_http_is_for_this_machine(url: str) -> None:
    """Loopback needs no permission; anything else does."""
    assert Gitpod(bearer_token=TOKEN, base_url=url.replace("http", "HTTP")).base_url == url
    assert Gitpod(bearer_token=TOKEN, base_url=url).base_url == url


def test_plain_http_elsewhere_must_be_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the option or by the environment."""
    assert Gitpod(bearer_token=TOKEN, base_url="http://secrets", allow_plaintext=True).base_url == "http://secrets"
    monkeypatch.setenv("GITPOD_ALLOW_PLAINTEXT", "1")
    assert Gitpod(bearer_token=TOKEN, base_url="http://secrets").base_url == "http://secrets"


def test_a_copy_shares_the_connections() -> None:
    """It sees the same service, has its own options, and is closed with the original."""
    with Gitpod(bearer_token=TOKEN, base_url="sqlite://") as client:
        copied = client.with_options(codec="json", timeout=5, max_retries=0)
        secret = copied.secrets.create(
            name="SHARED", value="v", scope={"user_id": "b0e12f6c-4c67-429d-a4a6-d9838b5da047"}, api_only=True
        ).secret
        assert list(client.secrets.list()) == [secret]
    with pytest.raises(GitpodError, match="the client is closed"):
        copied.secrets.list()


def test_a_copy_checks_its_options() -> None:
    """Like the constructor, and it can be moved to no other service."""
    client = Gitpod(bearer_token=TOKEN)
    with pytest.raises(GitpodError, match="timeout: must be"):
        client.with_options(timeout=0)
    with pytest.raises(GitpodError, match="with_options: base_url: is not an option"):
        client.with_options(base_url="https://elsewhere.example.com")  # type: ignore[call-arg]


def test_headers_are_sent(service: Service) -> None:
    """Those of the client and those of the call; the call's win."""
    with Gitpod(bearer_token="wrong", base_url=service.url, default_headers={"X-Team": "a"}) as client:
        with pytest.raises(gitpod.AuthenticationError):
            client.secrets.list()
        client.secrets.list(extra_headers={"Authorization": f"Bearer {TOKEN}"})
        with pytest.raises(GitpodError, match="extra_headers: the value of 'x-a'"):
            client.secrets.list(extra_headers={"x-a": "b\n"})


def test_one_client_serves_many_threads(service: Service, project: str) -> None:
    """32 of them, each creating and reading its own."""
    failures: list[BaseException] = []

    def work(client: Gitpod, number: int) -> None:
        try:
            made = client.secrets.create(name=f"THREAD_{number}", value=f"v{number}", project_id=project, api_only=True)
            assert client.secrets.get_value(secret_id=made.secret.id).value == f"v{number}"
        except BaseException as error:  # noqa: BLE001 # told to the main thread
            failures.append(error)

    with Gitpod(bearer_token=TOKEN, base_url=service.url) as client:
        threads = [threading.Thread(target=work, args=(client, number)) for number in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(list(client.secrets.list(filter={"scope": {"project_id": project}}))) == 32


def test_one_client_serves_successive_loops(service: Service, project: str) -> None:
    """An async client outlives the event loop of its first call."""
    client = AsyncGitpod(bearer_token=TOKEN, base_url=service.url)

    async def add_and_count(name: str) -> int:
        await client.secrets.create(name=name, value="v", project_id=project, api_only=True)
        return len((await client.secrets.list(filter={"scope": {"project_id": project}})).secrets)

    assert [asyncio.run(add_and_count(name)) for name in ("ONE", "TWO", "THREE")] == [1, 2, 3]
    asyncio.run(client.close())


def test_cancelling_a_task_cancels_it() -> None:
    """Not an error of ours: `task.cancelled()` is True, `asyncio.timeout` raises TimeoutError."""
    silent = Peer(stall(1))

    async def scenario() -> None:
        async with AsyncGitpod(bearer_token=TOKEN, base_url=silent.url) as client:
            task = asyncio.create_task(client.secrets.delete(secret_id="b0e12f6c-4c67-429d-a4a6-d9838b5da047"))
            await asyncio.to_thread(silent.wait)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await client.secrets.list()

    asyncio.run(scenario())
    silent.close()


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


def test_errors_pickle_and_copy() -> None:
    """With everything that they know."""
    violation = Violation("name", "string.min_len", "must be at least 3 characters")
    errors: list[APIError] = [
        ConflictError("taken", code="already_exists", outcome="rejected", attempts=2, status_code=409, request_id="r"),
        InvalidRequestError.of([violation]),
    ]
    for error in errors:
        for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):  # noqa: S301 # ours
            assert type(twin) is type(error)
            assert (str(twin), vars(twin)) == (str(error), vars(error))


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


def test_short_async_programs_exit_cleanly(service: Service) -> None:
    """A hundred of them; without care some are aborted by a thread that wakes a finalized interpreter."""
    program = (
        "import asyncio\nfrom gitpod import AsyncGitpod\n"
        "async def main():\n    await AsyncGitpod().secrets.list(page_size=1)\nasyncio.run(main())\n"
    )
    environment = os.environ | {"GITPOD_API_KEY": TOKEN, "GITPOD_BASE_URL": service.url}

    def status(_: int) -> int:
        return subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(status, range(100))) == [0] * 100


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


def test_only_asyncio_runs_the_async_client() -> None:
    """Elsewhere a call says so, instead of failing like an outage that is worth a retry."""
    client = AsyncGitpod(bearer_token=TOKEN, base_url="http://127.0.0.1:9")
    with pytest.raises(GitpodError, match="needs a running asyncio event loop"):
        client.secrets.list().__await__().send(None)


def test_an_error_that_the_caller_handles_stays_whole(kind: Any, runner: asyncio.Runner) -> None:
    """A call that fails meanwhile does not cut it off from its own frames."""
    caller = Caller(kind(bearer_token=TOKEN, base_url="http://127.0.0.1:9", max_retries=0), runner)

    def fail_within() -> BaseException:
        try:
            raise KeyError from ValueError("the caller's own")  # noqa: TRY301 # as it happens
        except KeyError as error:
            with pytest.raises(gitpod.APIConnectionError):
                caller.list()
            return error

    found = fail_within()
    assert found.__traceback__
    assert isinstance(found.__cause__, ValueError)


def test_a_client_shows_no_token(client: Caller) -> None:
    """Neither does a copy, nor what hangs on it."""
    shown = (
        repr(client.client)
        + repr(client.client.secrets)
        + repr(vars(client.client))
        + repr(vars(client.client.secrets))
    )
    assert TOKEN not in shown
    assert client.client.base_url in repr(client.client)
