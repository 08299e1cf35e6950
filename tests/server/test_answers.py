"""Every answer to a call says how long it is, so that clients read it in one go."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.service import TOKEN, Service

from gitpod.server.app import Embedded

SERVICE = "/gitpod.v1.SecretService"
JSON, BINARY, WEB = "application/json", "application/proto", "application/grpc-web+proto"
SEARCH = "encoding=json&message=%7B%7D"
NO_MESSAGE, NO_COMPRESSED = b"\0\0\0\0\0", b"\1\0\0\0\0"
REQUESTS: dict[str, tuple[str, str, dict[str, str], bytes, int]] = {
    "json": ("POST", f"{SERVICE}/ListSecrets", {"content-type": JSON}, b"{}", 200),
    "binary": ("POST", f"{SERVICE}/ListSecrets", {"content-type": BINARY}, b"", 200),
    "get": ("GET", f"{SERVICE}/ListSecrets?connect=v1&{SEARCH}", {}, b"", 200),
    "an invalid get": ("GET", f"{SERVICE}/ListSecrets?connect=v1&encoding=json", {}, b"", 400),
    "an error of the handler": ("POST", f"{SERVICE}/CreateSecret", {"content-type": JSON}, b"{}", 400),
    "an error of the body": ("POST", f"{SERVICE}/CreateSecret", {"content-type": JSON}, b"{", 400),
    "an unknown call": ("POST", f"{SERVICE}/Unknown", {"content-type": JSON}, b"{}", 404),
    "a wrong method": ("GET", f"{SERVICE}/CreateSecret?{SEARCH}", {}, b"", 405),
    "an unknown codec": ("POST", f"{SERVICE}/ListSecrets", {"content-type": "text/plain"}, b"", 415),
    "a deadline": ("POST", f"{SERVICE}/ListSecrets", {"content-type": JSON, "connect-timeout-ms": "0"}, b"{}", 504),
    "web": ("POST", f"{SERVICE}/ListSecrets", {"content-type": WEB}, NO_MESSAGE, 200),
    "an error of web": ("POST", f"{SERVICE}/CreateSecret", {"content-type": WEB}, NO_MESSAGE, 200),
    "a broken body of web": ("POST", f"{SERVICE}/CreateSecret", {"content-type": WEB}, NO_COMPRESSED, 200),
}
EDGE: dict[str, tuple[str, str, dict[str, str], bytes, int]] = {
    "health": ("GET", "/healthz", {}, b"", 200),
    "readiness": ("GET", "/readyz", {}, b"", 200),
    "a refused header": ("POST", f"{SERVICE}/ListSecrets", {"connect-protocol-version": "2"}, b"", 400),
    "gRPC": ("POST", f"{SERVICE}/ListSecrets", {"content-type": "application/grpc"}, b"", 415),
}


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    """A client of the served service."""
    with httpx.Client(base_url=service.url, headers={"authorization": f"Bearer {TOKEN}"}, trust_env=False) as client:
        yield client


@pytest.fixture
def in_process(tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of the WSGI application in this process."""
    service = Embedded(f"sqlite:///{tmp_path}/s.db")
    with httpx.Client(transport=httpx.WSGITransport(app=service.wsgi), base_url="http://service") as client:
        yield client
    service.close()


def check(client: httpx.Client, request: tuple[Any, ...]) -> None:
    """Send a request, and compare the length of the answer with what its header says."""
    method, path, headers, content, status = request
    response = client.request(method, path, headers=headers, content=content)
    assert response.status_code == status
    assert "transfer-encoding" not in response.headers
    assert response.headers.get_list("content-length") == [str(len(response.content))]


@pytest.mark.parametrize("name", REQUESTS | EDGE)
def test_an_answer_has_a_content_length(http: httpx.Client, name: str) -> None:
    """Results and errors, over Connect and gRPC-Web, and probes."""
    check(http, (REQUESTS | EDGE)[name])


@pytest.mark.parametrize("name", [name for name in REQUESTS if name != "a deadline"])
def test_an_answer_in_process_has_a_content_length(in_process: httpx.Client, name: str) -> None:
    """Which any WSGI server then sends. The deadline is the embedded client's own."""
    check(in_process, REQUESTS[name])


def test_a_call_without_a_token_is_refused_with_a_content_length(http: httpx.Client) -> None:
    """Before its body is read."""
    del http.headers["authorization"]
    check(http, ("POST", f"{SERVICE}/ListSecrets", {"content-type": JSON}, b"{}", 401))
