"""What is imported, made or used before this package, in this process or in the one that it was forked from."""

import os
import subprocess
import sys

import pytest
from tests.support.grpc import GRPCPeer
from tests.support.service import TOKEN, Service

pytestmark = pytest.mark.slow
USE = """
import asyncio, os, signal, sys
_, kind, plain_url, *pairs = sys.argv

def use(protocol, url):
    from gitpod import APIError, AsyncGitpod, Gitpod
    signal.alarm(30)
    try:
        if kind == "sync":
            with Gitpod(base_url=url, protocol=protocol) as client:
                for _ in range(3):
                    client.secrets.list()
        else:
            async def main():
                async with AsyncGitpod(base_url=url, protocol=protocol) as client:
                    for _ in range(3):
                        await client.secrets.list()
            asyncio.run(main())
        return "ok"
    except APIError as error:
        return f"{error.outcome} after {error.attempts}: {error}"
"""
HERE = """
for pair in pairs:
    print(use(*pair.split("=", 1)))
"""
IN_CHILDREN = """
for pair in pairs:
    if os.fork() == 0:
        print(use(*pair.split("=", 1)), flush=True)
        # Also its end as an interpreter must be a clean one.
        sys.exit(0)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
"""
UNUSED = {
    "nothing": "",
    "pyqwest": "import pyqwest",
    "its testing module": "import pyqwest.testing",
    "connectrpc": "import connectrpc.client",
    "the stubs": "import gitpod_proto.gitpod.v1.secret_connect",
    "httpx": "import httpx",
    "everything": "import connectrpc.client, connectrpc.server, gitpod_proto.gitpod.v1.secret_connect, pyqwest.testing",
    "this package": "import gitpod; gitpod.Gitpod(base_url=plain_url); gitpod.AsyncGitpod(base_url=plain_url)",
    "its calls": "import gitpod; [make(base_url=plain_url).secrets for make in (gitpod.Gitpod, gitpod.AsyncGitpod)]",
    "a sync client that was used": "import gitpod; gitpod.Gitpod(base_url=plain_url).secrets.list()",
}
USED = {
    "a transport of pyqwest": "import pyqwest; pyqwest.SyncHTTPTransport()",
    "a call by pyqwest": "import pyqwest; pyqwest.SyncClient(pyqwest.SyncHTTPTransport()).get(plain_url)",
    "a bare stub": "import gitpod_proto.gitpod.v1.secret_connect as stubs; stubs.SecretServiceClientSync(plain_url)",
    "an async client that was used": """
import gitpod
async def before():
    async with gitpod.AsyncGitpod(base_url=plain_url) as client:
        await client.secrets.list()
asyncio.run(before())
""",
}


@pytest.fixture(params=["sync", "async"])
def mode(request: pytest.FixtureRequest) -> str:
    """Which client."""
    return str(request.param)


def run(program: str, mode: str, protocols: list[str], service: Service, there: GRPCPeer) -> list[str]:
    """Run a program that uses a client by each of these protocols, and return what came of each."""
    pairs = [f"{protocol}={there.url if protocol == 'grpc' else service.url}" for protocol in protocols]
    # Newer Pythons warn of any fork of a process that has threads.
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", program]
    environment = os.environ | {"GITPOD_API_KEY": TOKEN}
    done = subprocess.run(
        [*command, mode, service.url, *pairs], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("before", [*UNUSED, *USED])
def test_every_order_works(service: Service, there: GRPCPeer, mode: str, before: str) -> None:
    """In a fresh process: one kind of client begins with Connect, the other with gRPC."""
    program = f"{USE}\n{(UNUSED | USED)[before]}\n{HERE}"
    protocols = ["connect", "grpc"] if mode == "sync" else ["grpc", "connect"]
    assert run(program, mode, protocols, service, there) == ["ok", "ok"]


@pytest.mark.parametrize("before", UNUSED)
def test_every_order_works_in_a_forked_process(service: Service, there: GRPCPeer, mode: str, before: str) -> None:
    """As a prefork server imports everything in the parent, where nothing of pyqwest is used; a child a protocol."""
    program = f"{USE}\n{UNUSED[before]}\n{IN_CHILDREN}"
    assert run(program, mode, ["connect", "grpc-web", "grpc"], service, there) == ["ok", "ok", "ok"]


@pytest.mark.parametrize("before", USED)
def test_a_used_pyqwest_that_was_forked_is_found_out(service: Service, there: GRPCPeer, mode: str, before: str) -> None:
    """Whoever used it: its threads are gone, so that Connect goes over the pool, and gRPC is refused at once."""
    program = f"{USE}\n{USED[before]}\n{IN_CHILDREN}"
    worked, refused = run(program, mode, ["connect", "grpc"], service, there)
    assert worked == "ok"
    assert refused.startswith("not_sent after 1: ")
    assert "this process was forked" in refused
