"""The SDK, and what it is built on, as ways to send one create: `python -m bench.peers.ours WAY URL [CA_FILE]`.

The only file of the bench that names private parts of the SDK. The memory of a bare stub is measured with this module
loaded, so each way imports by itself what the others do not need.
"""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyqwest
from bench.peers.request import HEADERS, ID, PARAMS, PATH, TOKEN
from protobuf import Oneof

from gitpod import AsyncGitpod, Gitpod
from gitpod_proto.gitpod.v1.secret_connect import SecretServiceClient, SecretServiceClientSync
from gitpod_proto.gitpod.v1.secret_pb import CreateSecretRequest

IN_FLIGHT = 64


def request() -> CreateSecretRequest:
    """The message of the create."""
    message = CreateSecretRequest(name=PARAMS["name"], value=PARAMS["value"], mount=Oneof("environment_variable", True))
    message.project_id = ID  # pyright: ignore[reportDeprecated] # what the public reference documents
    return message


def pool(url: str) -> Any:  # noqa: ANN401 # stands for a client of pyqwest
    """The default connections of `Gitpod`, without the rest of it."""
    from gitpod._endpoint import Endpoint
    from gitpod._transport.connections import SyncConnections

    return SyncConnections(
        Endpoint(base_url=url, allow_plaintext=None, protocol="connect", http2=False, ca_cert=None, client_cert=None)
    )


def sdk(url: str, ca: str | None) -> Callable[[], object]:
    """The client."""
    create = Gitpod(bearer_token=TOKEN, base_url=url, ca_cert=ca).secrets.create
    return lambda: create(**PARAMS)


def stub_over_pool(url: str, _: str | None) -> Callable[[], object]:
    """The generated stub over the client's own connections."""
    return _stub(SecretServiceClientSync(url, http_client=pool(url), send_compression=None))


def stub_over_pyqwest(url: str, _: str | None) -> Callable[[], object]:
    """The generated stub over what connectrpc brings."""
    return _stub(SecretServiceClientSync(url, send_compression=None))


def raw_pyqwest(url: str, ca: str | None) -> Callable[[], object]:
    """A POST of the message, and nothing made of the answer."""
    given = Path(ca).read_bytes() if ca else None
    client = pyqwest.SyncClient(pyqwest.SyncHTTPTransport(tls_ca_cert=given, enable_otel=False))
    return lambda: client.post(url + PATH, HEADERS, request().to_binary(), timeout=60)


def standard(url: str, ca: str | None) -> Callable[[], object]:
    """The same by `http.client`."""
    import http.client
    import ssl

    host = urlsplit(url).netloc
    connection = (
        http.client.HTTPSConnection(host, context=ssl.create_default_context(cafile=ca))
        if ca
        else http.client.HTTPConnection(host)
    )

    def post() -> bytes:
        connection.request("POST", PATH, request().to_binary(), HEADERS)
        return connection.getresponse().read()

    return post


async def sdk_async(url: str) -> Callable[[], Awaitable[object]]:
    """The client for asyncio."""
    create = AsyncGitpod(bearer_token=TOKEN, base_url=url).secrets.create
    return lambda: create(**PARAMS)


async def stub_async(url: str) -> Callable[[], Awaitable[object]]:
    """The generated stub for asyncio over what connectrpc brings."""
    client = SecretServiceClient(url, send_compression=None)
    headers = {"authorization": HEADERS["authorization"]}
    return lambda: client.create_secret(request(), headers=headers, timeout_ms=60_000)


def _stub(client: SecretServiceClientSync) -> Callable[[], object]:
    headers = {"authorization": HEADERS["authorization"]}
    return lambda: client.create_secret(request(), headers=headers, timeout_ms=60_000)


SYNC = {
    "sdk": sdk,
    "stub-pool": stub_over_pool,
    "stub-pyqwest": stub_over_pyqwest,
    "pyqwest": raw_pyqwest,
    "http.client": standard,
}
ASYNC = {"sdk-async": sdk_async, "stub-async": stub_async}


def main() -> None:
    from bench.peers.worker import work, work_async

    way, url, *ca = sys.argv[1:]
    if way in SYNC:
        work(SYNC[way](url, ca[0] if ca else None))
    else:
        work_async(lambda: ASYNC[way](url), IN_FLIGHT)


if __name__ == "__main__":
    main()
