"""The client against services in Go, which share nothing with this one but the contract."""

import asyncio
from collections.abc import Iterator
from itertools import product
from typing import Any, Literal

import pytest
from tests.support.caller import KINDS, Caller, Codec
from tests.support.go_server import GoServer, built, serving
from tests.support.service import TOKEN

import gitpod

pytestmark = pytest.mark.slow
Protocol = Literal["connect", "grpc-web", "grpc"]
Way = tuple[Literal["connect", "grpc"], Protocol, Codec]

PROTOCOLS: tuple[Protocol, ...] = ("connect", "grpc-web", "grpc")
CODECS: tuple[Codec, ...] = ("binary", "json")
WAYS: list[Way] = [
    *(("connect", protocol, codec) for protocol, codec in product(PROTOCOLS, CODECS)),
    ("grpc", "grpc", "binary"),  # grpc-go has no JSON
]


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoServer]:
    """Both servers, for all tests; they keep to projects of their own."""
    with serving(built(tmp_path_factory.mktemp("go"))) as running:
        yield running


@pytest.fixture(params=KINDS)
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The class of client, and options that a test adds."""
    return {"kind": KINDS[request.param]}


@pytest.fixture(params=WAYS, ids=lambda way: f"{way[0]}-go over {way[1]} in {way[2]}")
def way(request: pytest.FixtureRequest) -> Way:
    """The server, and the protocol and codec to call it by."""
    chosen: Way = request.param
    return chosen


@pytest.fixture
def there(servers: GoServer, way: Way, options: dict[str, Any], runner: asyncio.Runner) -> Iterator[Caller]:
    """A client of one of the servers."""
    server, protocol, codec = way
    url = servers.connect if server == "connect" else servers.grpc
    caller = Caller(options["kind"](bearer_token=TOKEN, base_url=url, protocol=protocol, codec=codec), runner)
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


def test_another_token_is_refused(servers: GoServer, way: Way, options: dict[str, Any], runner: asyncio.Runner) -> None:
    """With the error for it."""
    server, protocol, codec = way
    url = servers.connect if server == "connect" else servers.grpc
    caller = Caller(options["kind"](bearer_token="unknown", base_url=url, protocol=protocol, codec=codec), runner)
    with pytest.raises(gitpod.AuthenticationError):
        caller.list()
    caller.close()
