"""Which `http_client=` is taken, and which options go with it."""

import os
import subprocess
import sys
from typing import Any

import httpx
import pyqwest
import pytest
from tests.support.service import TOKEN, Service
from tests.support.ways import Kind

from gitpod import AsyncGitpod, Gitpod, GitpodError

pytestmark = pytest.mark.usefixtures("clean_environment")


async def asgi(_scope: Any, _receive: Any, _send: Any) -> None:
    """An ASGI application."""


def wsgi(_environ: Any, _start_response: Any) -> list[bytes]:
    """A WSGI application."""
    return []


class Application:
    """An ASGI application, once there is an instance of it."""

    async def __call__(self, _scope: Any, _receive: Any, _send: Any) -> None:
        """Do nothing."""


MUST = "http_client: must be an "
SYNC = f"{MUST}httpx.Client or httpx2.Client, a sync transport of pyqwest, or a WSGI application"
ASYNC = f"{MUST}httpx.AsyncClient or httpx2.AsyncClient, a transport of pyqwest, or an ASGI application"
WRONG: dict[str, tuple[Kind, object, str]] = {
    "httpx of the other kind": (Gitpod, httpx.AsyncClient(), SYNC),
    "a client of pyqwest": (Gitpod, pyqwest.SyncClient(), SYNC),
    "a client of pyqwest of the other kind": (Gitpod, pyqwest.Client(), SYNC),
    "a transport of the other kind": (Gitpod, pyqwest.HTTPTransport(), SYNC),
    "an application of the other kind": (Gitpod, asgi, SYNC),
    "a string": (Gitpod, "httpx", SYNC),
    "a class of httpx": (Gitpod, httpx.Client, SYNC),
    "a class of pyqwest": (Gitpod, pyqwest.SyncClient, SYNC),
    "a class of transports": (Gitpod, pyqwest.SyncHTTPTransport, SYNC),
    "async: httpx of the other kind": (AsyncGitpod, httpx.Client(), ASYNC),
    "async: a client of pyqwest": (AsyncGitpod, pyqwest.Client(), ASYNC),
    "async: a client of pyqwest of the other kind": (AsyncGitpod, pyqwest.SyncClient(), ASYNC),
    "async: a transport of the other kind": (AsyncGitpod, pyqwest.SyncHTTPTransport(), ASYNC),
    "async: an application of the other kind": (AsyncGitpod, wsgi, ASYNC),
    "async: a string": (AsyncGitpod, "httpx", ASYNC),
    "async: a class of httpx": (AsyncGitpod, httpx.AsyncClient, ASYNC),
    "async: a class of pyqwest": (AsyncGitpod, pyqwest.Client, ASYNC),
    "async: a class of transports": (AsyncGitpod, pyqwest.HTTPTransport, ASYNC),
    "async: a class of applications": (AsyncGitpod, Application, ASYNC),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_client_of_the_wrong_kind_is_refused(case: str) -> None:
    """In the constructor, with what is expected."""
    kind_of, wrong, message = WRONG[case]
    with pytest.raises(GitpodError) as caught:
        kind_of(bearer_token=TOKEN, base_url="http://localhost", http_client=wrong)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("option", ["http2", "ca_cert", "client_cert"])
def test_options_of_the_connection_are_the_given_clients_own(given: dict[str, Any], kind: Kind, option: str) -> None:
    """They would be without effect here."""
    options: dict[str, Any] = {option: True if option == "http2" else "certificate.pem"}
    with pytest.raises(GitpodError, match=rf"^{option}: with http_client=, set this up on that client$"):
        kind(bearer_token=TOKEN, **given, **options)


@pytest.mark.parametrize("derived", [False, True])
def test_grpc_is_refused_over_httpx(kind: Kind, *, derived: bool) -> None:
    """It has no trailers, nor does a class that somebody derived from its clients."""
    base: Any = httpx.AsyncClient if kind is AsyncGitpod else httpx.Client
    sender = type("Mine", (base,), {})() if derived else base()
    with pytest.raises(GitpodError, match=r'^protocol: "grpc" needs HTTP trailers'):
        kind(bearer_token=TOKEN, base_url="http://localhost", protocol="grpc", http_client=sender)


def run(program: str, service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program with the service in its environment."""
    environment = os.environ | {"GITPOD_API_KEY": TOKEN, "GITPOD_BASE_URL": service.url}
    # Newer Pythons warn of any fork of a process that has threads.
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", program, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


WITHOUT_HTTPX = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "httpx":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
import asyncio
from gitpod import AsyncGitpod, Gitpod, GitpodError
Gitpod().secrets.list()
async def main():
    async with AsyncGitpod() as client:
        await client.secrets.list()
asyncio.run(main())
for kind in (Gitpod, AsyncGitpod):
    try:
        kind(http_client=object())
    except GitpodError as error:
        print(error)
"""


def test_the_package_works_without_httpx(service: Service) -> None:
    """And tells what to install who passes what it does not know."""
    done = run(WITHOUT_HTTPX, service)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [SYNC, ASYNC]
