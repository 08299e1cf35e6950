"""The proxy for https: the same for sync, async and forked processes, asked for the same authority."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from collections import Counter
from contextlib import suppress

import pytest
from tests.support.peer import Peer, answer
from tests.support.service import TOKEN

from gitpod import APIConnectionError, AsyncGitpod, Gitpod
from gitpod._rpc import retry
from gitpod._transport.failures import NotSentError
from gitpod._transport.proxy import Proxy, proxy_for

NAMES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy")
LOGIN = b64encode(b"us er:p@ss:word").decode()
WRONG = "http://127.0.0.1:9"
ID = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"

Variables = dict[str, str]
CASES: list[tuple[str, Variables, str | None]] = [
    # host and port of base_url; the variables, where PROXY stands for the proxy; what the proxy is asked for
    ("a1.invalid", {"HTTPS_PROXY": "http://PROXY"}, "a1.invalid:443"),
    ("a2.invalid:8443", {"https_proxy": "http://PROXY"}, "a2.invalid:8443"),
    ("a3.invalid", {"ALL_PROXY": "http://PROXY/"}, "a3.invalid:443"),
    ("a4.invalid", {"all_proxy": "PROXY"}, "a4.invalid:443"),
    ("a5.invalid", {"https_proxy": "http://PROXY", "HTTPS_PROXY": WRONG, "ALL_PROXY": WRONG}, "a5.invalid:443"),
    ("a6.invalid", {"HTTPS_PROXY": "http://PROXY", "all_proxy": WRONG, "http_proxy": WRONG}, "a6.invalid:443"),
    ("a7.invalid", {"HTTPS_PROXY": "http://us%20er:p%40ss%3Aword@PROXY"}, f"a7.invalid:443 Basic {LOGIN}"),
    ("A8.Invalid", {"HTTPS_PROXY": "http://PROXY"}, "a8.invalid:443"),
    ("[::1]:9443", {"HTTPS_PROXY": "http://PROXY"}, "[::1]:9443"),
    ("[2001:db8::7]", {"HTTPS_PROXY": "http://PROXY"}, "[2001:db8::7]:443"),
    ("127.0.0.3:9", {"HTTPS_PROXY": "http://PROXY", "NO_PROXY": "a.invalid,10.0.0.0/8,.b.invalid"}, "127.0.0.3:9"),
    ("b1.invalid", {"HTTPS_PROXY": "http://PROXY", "NO_PROXY": "b1.invalid"}, None),
    ("x.b2.invalid", {"ALL_PROXY": "http://PROXY", "no_proxy": "a, .b2.invalid"}, None),
    ("x.b3.invalid", {"all_proxy": "http://PROXY", "no_proxy": "b3.invalid"}, None),
    ("xb4.invalid", {"HTTPS_PROXY": "http://PROXY", "NO_PROXY": "b4.invalid"}, "xb4.invalid:443"),
    ("b5.invalid", {"HTTPS_PROXY": "http://PROXY", "NO_PROXY": "*"}, None),
    ("b6.invalid:8443", {"HTTPS_PROXY": "http://PROXY", "NO_PROXY": "b6.invalid:8443"}, None),
    ("b7.invalid:8443", {"HTTPS_PROXY": "http://PROXY", "NO_PROXY": "b7.invalid:443"}, "b7.invalid:8443"),
    ("127.0.0.4:9", {"HTTPS_PROXY": "http://PROXY", "NO_PROXY": "127.0.0.0/8"}, None),
    ("[::1]:9", {"HTTPS_PROXY": "http://PROXY", "NO_PROXY": "[::1]"}, None),
    ("[::1]:19", {"HTTPS_PROXY": "http://PROXY", "NO_PROXY": "[::1]:20,::2"}, "[::1]:19"),
    ("[::1]:29", {"HTTPS_PROXY": "http://PROXY", "NO_PROXY": "::/64"}, None),
    ("B8.invalid", {"HTTPS_PROXY": "http://PROXY", "NO_PROXY": "b8.INVALID"}, None),
]

PROGRAM = """
import asyncio, json, os, sys
from gitpod import APIConnectionError, AsyncGitpod, Gitpod

async def use_async(url):
    async with AsyncGitpod(base_url=url, max_retries=0, timeout=20) as client:
        try:
            await client.secrets.get_value(secret_id="b0e12f6c-4c67-429d-a4a6-d9838b5da047")
        except APIConnectionError as error:
            assert error.outcome == "not_sent", error

def use(url):
    with Gitpod(base_url=url, max_retries=0, timeout=20) as client:
        try:
            client.secrets.get_value(secret_id="b0e12f6c-4c67-429d-a4a6-d9838b5da047")
        except APIConnectionError as error:
            assert error.outcome == "not_sent", error

def use_all():
    for host, variables in json.loads(sys.argv[1]):
        os.environ.update(variables)
        use(f"https://{host}")
        asyncio.run(use_async(f"https://{host}"))
        for name in variables:
            del os.environ[name]

use_all()
child = os.fork()
if child == 0:
    use_all()
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def asked(request: bytes) -> str:
    """What a proxy was asked for, with the login that it was given."""
    line, *headers = request.decode().split("\r\n")
    method, authority, _ = line.split(" ")
    assert method == "CONNECT"
    assert TOKEN not in request.decode()
    logins = [each.partition(": ")[2] for each in headers if each.lower().startswith("proxy-authorization:")]
    return " ".join([authority, *logins])


def test_parent_and_child_sync_and_async_use_the_same_proxy() -> None:
    """The async client goes through pyqwest in the parent, and through the sync pool in the child."""
    proxy = Peer(answer(403))
    address = f"127.0.0.1:{proxy.port}"
    cases = [
        (host, {name: text.replace("PROXY", address) for name, text in variables.items()})
        for host, variables, _ in CASES
    ]
    environment = {name: text for name, text in os.environ.items() if name not in NAMES} | {"GITPOD_API_KEY": TOKEN}
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", PROGRAM, json.dumps(cases)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    proxy.close()
    assert (done.returncode, done.stderr) == (0, "")
    seen = Counter(asked(request) for request in proxy.requests)
    assert seen == {expected: 4 for _, _, expected in CASES if expected is not None}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_the_variables_name_the_proxy(monkeypatch: pytest.MonkeyPatch, case: tuple[str, Variables, str | None]) -> None:
    """Or none, where NO_PROXY has the service's name, a suffix of it, its port or its network."""
    host, variables, expected = case
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, text in variables.items():
        monkeypatch.setenv(name, text.replace("PROXY", "proxy.example:3128"))
    name, _, port = host.partition("]" if "[" in host else ":")
    found = proxy_for(name.strip("[").lower(), int(port.strip(":") or 443))
    assert (found and found.url) == (expected and "http://proxy.example:3128")
    assert (found and found.authorization) == (f"Basic {LOGIN}" if expected and LOGIN in expected else None)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://proxy.example", "http://proxy.example:80"),
        ("https://proxy.example", "https://proxy.example:443"),
        ("socks5://proxy.example", "socks5://proxy.example:1080"),
        ("socks5h://[::1]:9", "socks5h://[::1]:9"),
        (" http://[2001:db8::1]:3128 ", "http://[2001:db8::1]:3128"),
    ],
)
def test_a_proxy_has_the_port_of_its_scheme(monkeypatch: pytest.MonkeyPatch, url: str, expected: str) -> None:
    """Unless it names another."""
    monkeypatch.setenv("https_proxy", url)
    monkeypatch.setenv("no_proxy", "none.example")
    found = proxy_for("secrets.example", 443)
    assert found is not None
    assert found.url == expected


def test_a_login_is_shown_nowhere() -> None:
    """Neither in the proxy's repr nor in its URL."""
    proxy = Proxy("http", "proxy.example", 3128, ("user", "hunter2"))
    assert "hunter2" not in repr(proxy) + proxy.url


def test_an_unusable_variable_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may hold a password."""
    monkeypatch.setenv("https_proxy", "gopher://user:hunter2@proxy.example")
    with pytest.raises(NotSentError, match=r"^https_proxy: must be the URL of a proxy") as caught:
        proxy_for("secrets.example", 443)
    assert "hunter2" not in str(caught.value)
    assert caught.value.permanent


@pytest.mark.parametrize(
    ("said", "attempts", "reason"),
    [
        (b"", 2, "Remote end closed connection without response"),
        (b"hunter2 over SSH\r\n", 1, "does not answer in HTTP/1.1"),
        (b"\x15\x03\x01\x00\x02\x02\x46", 1, "does not answer in HTTP/1.1"),
        (b"HTTP/1.1 407 No\r\n\r\n", 1, "answered HTTP 407"),
        (b"HTTP/1.1 502 No\r\n\r\n", 2, "answered HTTP 502"),
    ],
    ids=["nothing", "another protocol", "TLS", "a refusal", "trouble"],
)
def test_a_proxy_that_opens_no_tunnel_is_named(
    monkeypatch: pytest.MonkeyPatch, said: bytes, attempts: int, reason: str
) -> None:
    """The service never saw the request, and what the proxy said is not quoted."""
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.0)
    proxy = Peer(lambda connection, _: connection.sendall(said))
    monkeypatch.setenv("https_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", "none.example")
    client = Gitpod(base_url="https://a.invalid", bearer_token=TOKEN, max_retries=1)
    with client, pytest.raises(APIConnectionError) as caught:
        client.secrets.create(name="NAME", value="s3cret-canary", project_id=ID, api_only=True)
    proxy.close()
    assert (caught.value.outcome, caught.value.attempts) == ("not_sent", attempts)
    assert f"the proxy {proxy.url}" in str(caught.value)
    assert reason in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("scheme", "said", "attempts"),
    [
        ("http", b"", 2),
        ("http", b"HTTP/1.1 407 No\r\n\r\n", 1),
        ("http", b"HTTP/1.1 502 No\r\n\r\n", 2),
        ("https", b"HTTP/1.1 407 No\r\n\r\n", 1),
        ("socks5h", b"HTTP/1.1 407 No\r\n\r\n", 2),
    ],
)
def test_pyqwest_blames_the_proxy_too(
    monkeypatch: pytest.MonkeyPatch, runner: asyncio.Runner, scheme: str, said: bytes, attempts: int
) -> None:
    """It does not ask whether base_url is right, and repeats no call that the proxy refuses."""
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=reply, args=(listener, said, attempts), daemon=True).start()
        monkeypatch.setenv("https_proxy", f"{scheme}://user:hunter2@127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setenv("no_proxy", "none.example")
        client = AsyncGitpod(base_url="https://a.invalid", bearer_token=TOKEN, max_retries=1)
        with pytest.raises(APIConnectionError, match="the proxy: ") as caught:
            runner.run(client.secrets.create(name="NAME", value="s3cret-canary", project_id=ID, api_only=True))
        runner.run(client.close())
    assert (caught.value.outcome, caught.value.attempts) == ("not_sent", attempts)
    assert "base_url" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def reply(listener: socket.socket, said: bytes, times: int) -> None:
    """Answer what each connection says first, whatever that is."""
    for _ in range(times):
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.recv(65536)
            connection.sendall(said)


def test_a_login_may_have_any_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python reads those of a variable that are not UTF-8 as lone surrogates."""
    monkeypatch.setenv("https_proxy", os.fsdecode(b"http://us\xffer:pass@proxy.example"))
    monkeypatch.setenv("no_proxy", "none.example")
    found = proxy_for("secrets.example", 443)
    assert found is not None
    assert found.authorization == "Basic " + b64encode(b"us\xffer:pass").decode()
