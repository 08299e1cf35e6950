"""What calls on an event loop do while the threads that they need are busy."""

import asyncio
from collections.abc import Callable, Iterator
from threading import Event
from typing import TYPE_CHECKING

import httpx
import pytest

from gitpod.server.app import Embedded
from gitpod.server.keys import keyring
from gitpod.server.threads import Pools

if TYPE_CHECKING:
    from gitpod.server.storage.refusals import Refusals
    from gitpod.server.storage.store import Store

RPC = "/gitpod.v1.SecretService/"
ID = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"


@pytest.fixture
def service() -> Iterator[Embedded]:
    """A store in memory, and its service."""
    service = Embedded("sqlite://")
    yield service
    service.close()


@pytest.fixture
def end() -> Iterator[Event]:
    """Ends what keeps the threads busy."""
    event = Event()
    yield event
    event.set()


def pools(service: Embedded) -> Pools:
    """The threads of a service."""
    found: Pools = vars(service)["_pools"]
    return found


def caller(service: Embedded) -> httpx.AsyncClient:
    """A client of the service's application."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=service.asgi), base_url="http://service")


async def happens(condition: Callable[[], bool]) -> None:
    """Wait in a loop until something is so."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 # no event tells of it
            await asyncio.sleep(0.01)


def test_one_call_waits_for_a_newer_key_and_the_others_go_on(
    service: Embedded, end: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when no thread is left that could look for one, because a KMS holds them all for other organizations."""
    monkeypatch.setattr(keyring, "REFRESH", 0)
    for _ in range(pools(service).keys.count):
        pools(service).keys.submit(end.wait)

    async def main() -> None:
        async with caller(service) as client:

            async def create(number: int) -> int:
                message = {"name": f"NAME_{number}", "value": "v", "apiOnly": True, "projectId": ID}
                return (await client.post(f"{RPC}CreateSecret", json=message)).status_code

            first, *others = [asyncio.create_task(create(number)) for number in range(3)]
            async with asyncio.timeout(30):
                assert await asyncio.gather(*others) == [200, 200]
            assert not first.done()
            end.set()
            assert await first == 200

    asyncio.run(main())


def test_a_refusal_is_written_although_its_caller_has_left(service: Embedded, end: Event) -> None:
    """The first of a minute, which no timer writes."""
    store: Store = vars(service)["_store"]
    counts: Refusals = vars(store)["_refusals"]
    # The only thread of this pool.
    busy = pools(service).refusals.submit(end.wait)

    async def main() -> None:
        async with caller(service) as client:
            call = asyncio.create_task(client.post(f"{RPC}GetSecretValue", json={"secretId": ID}))
            await happens(lambda: bool(vars(counts)["_pending"]))
            await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
            end.set()
            await asyncio.wrap_future(busy)
            await happens(lambda: bool(store.audit(secret_id=None, since=0, limit=10)))

    asyncio.run(main())
