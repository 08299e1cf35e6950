"""What web pages may send and read, and of which origins."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.support.raw_requests import LIST
from tests.support.service import TOKEN, Service, serve

from gitpod.server.errors import ServiceError
from gitpod.server.serving import cors

ORIGIN = "https://secrets.example"
PREFLIGHT = {"origin": ORIGIN, "access-control-request-method": "POST"}
READABLE = {"cache-control", "content-length", "content-type"}
"""Headers that a page may read of every answer (the Fetch standard)."""
UNREAD = {"accept-post", "content-encoding", "date", "vary"}
"""Headers that no client in a page reads. The browser itself decodes."""


@pytest.fixture(scope="module")
def browsable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service that pages of one origin may call."""
    options = ["--allow-origin", ORIGIN, "--allow-header", "X-Tenant", "--allow-header", "baggage"]
    served = serve(tmp_path_factory.mktemp("browsable") / "s.db", *options)
    yield served.url
    assert served.stop() == 0


PROTOCOLS = (
    "authorization,connect-protocol-version,connect-timeout-ms,content-type,x-grpc-web,grpc-timeout,x-user-agent"
)


@pytest.mark.parametrize("wanted", [PROTOCOLS, "traceparent,tracestate,x-request-id", "x-tenant,baggage"])
def test_a_named_origin_may_ask(browsable: str, wanted: str) -> None:
    """What it needs for Connect and gRPC-Web, for tracing, and what the operator names; and no cookies."""
    answer = httpx.options(browsable + LIST, headers=PREFLIGHT | {"access-control-request-headers": wanted})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, ORIGIN)
    allowed = {name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert set(wanted.split(",")) <= allowed
    assert "access-control-allow-credentials" not in answer.headers
    assert answer.headers["access-control-max-age"] == "7200"
    # To another origin, the answer is another one.
    assert "origin" in answer.headers["vary"].lower().split(", ")


def test_a_header_that_nobody_named_may_not_be_sent(browsable: str) -> None:
    """The browser is told so."""
    answer = httpx.options(browsable + LIST, headers=PREFLIGHT | {"access-control-request-headers": "x-other"})
    assert answer.status_code == 400
    assert "x-other" not in answer.headers["access-control-allow-headers"]


def test_a_named_origin_sees_the_answer(browsable: str) -> None:
    """And the headers that tell of errors, whatever the answer is."""
    headers = {"origin": ORIGIN, "content-type": "application/json", "authorization": f"Bearer {TOKEN}"}
    changes: list[tuple[dict[str, str], int]] = [
        ({}, 200),
        ({"authorization": "Bearer wrong"}, 401),
        ({"content-type": "text/plain"}, 415),
    ]
    for change, status in changes:
        answer = httpx.post(browsable + LIST, headers=headers | change, content="{}")
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, ORIGIN)
        exposed = {*answer.headers["access-control-expose-headers"].split(", ")}
        assert {"grpc-message", "grpc-status", "grpc-status-details-bin", "x-request-id"} <= exposed
        # No page can read the others, so there must be none that a client needs.
        own = {name for name in answer.headers if not name.startswith("access-control-")}
        assert own - exposed <= READABLE | UNREAD


def test_another_origin_may_not(browsable: str, service: Service) -> None:
    """Nor any, where none is named."""
    other = httpx.options(browsable + LIST, headers=PREFLIGHT | {"origin": "https://evil.example"})
    assert (other.status_code, "access-control-allow-origin" in other.headers) == (400, False)
    none = httpx.options(service.url + LIST, headers=PREFLIGHT)
    assert "access-control-allow-origin" not in none.headers


@pytest.mark.parametrize("name", ["*", "x-*", "x-y: 1", "x y", "x-y\n", "x-é", ""])
def test_what_is_no_name_of_a_header_is_refused_at_start(name: str) -> None:
    """An asterisk would allow every header."""
    with pytest.raises(ServiceError, match=r"^--allow-header: must be the name of a header") as caught:
        cors.check([ORIGIN], ["x-tenant", name])
    assert not name or name not in str(caught.value).replace("not *", "")


def test_headers_of_no_page_are_refused_at_start(tmp_path: Path) -> None:
    """As an origin is missing; by the command, before there is a store."""
    with pytest.raises(AssertionError, match="no --allow-origin names any"):
        serve(tmp_path / "s.db", "--allow-header", "x-y")
    assert not (tmp_path / "s.db").exists()
