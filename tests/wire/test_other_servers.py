"""The client against services in other languages, which share nothing with this one but the contract."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import product
from typing import Any, Literal

import pytest
from tests.support.caller import KINDS, Caller, Codec
from tests.support.other_servers import serving
from tests.support.service import TOKEN

import gitpod

pytestmark = pytest.mark.slow
Protocol = Literal["connect", "grpc-web", "grpc"]
Way = tuple[str, str, Protocol, Codec]

WEB: tuple[Protocol, ...] = ("connect", "grpc-web")
PROTOCOLS: tuple[Protocol, ...] = (*WEB, "grpc")
CODECS: tuple[Codec, ...] = ("binary", "json")
HTTP2 = "connect-node over HTTP/2"
# A language, a library, and how it is called. Libraries of gRPC have no JSON.
WAYS: list[Way] = [
    *(("go", "connect-go", protocol, codec) for protocol, codec in product(PROTOCOLS, CODECS)),
    ("go", "grpc-go", "grpc", "binary"),
    *(("typescript", "connect-node", protocol, codec) for protocol, codec in product(WEB, CODECS)),
    *(("typescript", HTTP2, protocol, codec) for protocol, codec in product(PROTOCOLS, CODECS)),
    ("java", "grpc-java", "grpc", "binary"),
]


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[str], dict[str, str]]]:
    """The URLs of a language's servers, by library, for all tests; these keep to projects of their own."""
    running: dict[str, dict[str, str]] = {}
    with ExitStack() as stack:

        def started(language: str) -> dict[str, str]:
            if language not in running:
                running[language] = stack.enter_context(serving(language))
            return running[language]

        yield started


@pytest.fixture(params=KINDS)
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The class of client, and options that a test adds."""
    return {"kind": KINDS[request.param]}


@pytest.fixture(params=WAYS, ids=lambda way: f"{way[1]} over {way[2]} in {way[3]}")
def way(request: pytest.FixtureRequest, servers: Callable[[str], dict[str, str]]) -> dict[str, Any]:
    """Options of a client, for a server, a protocol and a codec."""
    language, library, protocol, codec = request.param
    return {
        "base_url": servers(language)[library],
        "protocol": protocol,
        "codec": codec,
        "http2": library == HTTP2,
    }


@pytest.fixture
def there(way: dict[str, Any], options: dict[str, Any], runner: asyncio.Runner) -> Iterator[Caller]:
    """A client of one of the servers."""
    caller = Caller(options["kind"](bearer_token=TOKEN, **way), runner)
    yield caller
    caller.close()


def test_every_call_works(there: Caller, project: str) -> None:
    """The three documented secrets, over two pages; a value of the longest kind is read, replaced and removed."""
    scope = {"project_id": project}
    mounts: list[dict[str, Any]] = [
        {"name": "DATABASE_URL", "environment_variable": True},
        {"name": "SSH_KEY", "file_path": "/home/gitpod/.ssh/id_rsa"},
        {"name": "DOCKER_AUTH", "container_registry_basic_auth_host": "https://registry.example.com"},
    ]
    made = [there.create(scope=scope, value="😀" * 10_240, **mount).secret for mount in mounts]
    assert there.list(filter={"scope": scope}, pagination={"page_size": 2}) == made
    [first, *others] = made
    assert there.get_value(secret_id=first.id).reveal() == "😀" * 10_240
    there.update_value(secret_id=first.id, value="changed")
    assert there.get_value(secret_id=first.id).reveal() == "changed"
    there.delete(secret_id=first.id)
    assert there.list(filter={"scope": scope}) == others


def test_put_goes_by_the_codes(there: Caller, project: str) -> None:
    """It creates, then updates."""
    params: dict[str, Any] = {"name": "NAME", "scope": {"project_id": project}, "api_only": True}
    actions = [there.put(**params, value=value).action for value in ("v", "w")]
    assert actions == ["created", "updated"]


def test_a_refusal_is_the_services_word(there: Caller, project: str) -> None:
    """A taken name, and a secret that does not exist."""
    params: dict[str, Any] = {"name": "NAME", "value": "v", "scope": {"project_id": project}, "api_only": True}
    there.create(**params)
    with pytest.raises(gitpod.ConflictError, match="name: is taken in this scope") as conflict:
        there.create(**params)
    with pytest.raises(gitpod.NotFoundError) as missing:
        there.get_value(secret_id=project)
    assert {(each.value.outcome, each.value.attempts) for each in (conflict, missing)} == {("rejected", 1)}


def test_a_call_is_repeated_when_the_service_asks_for_it(there: Caller, project: str) -> None:
    """UNAVAILABLE with a RetryInfo says that nothing was done, so a create is repeated too."""
    name = f"FLAKY_{project.replace('-', '')}"
    params: dict[str, Any] = {"name": name, "value": "v", "scope": {"project_id": project}, "api_only": True}
    with pytest.raises(gitpod.InternalServerError) as caught:
        there.run(there.client.with_options(max_retries=0).secrets.create(**params))
    assert (caught.value.code, caught.value.outcome) == ("unavailable", "rejected")
    params["name"] += "_2"
    assert there.create(**params).secret.name == params["name"]


def test_another_token_is_refused(way: dict[str, Any], options: dict[str, Any], runner: asyncio.Runner) -> None:
    """With the error for it."""
    caller = Caller(options["kind"](bearer_token="unknown", **way), runner)
    with pytest.raises(gitpod.AuthenticationError):
        caller.list()
    caller.close()
