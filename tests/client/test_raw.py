"""`with_raw_response`: what came with an answer."""

import asyncio
from typing import Any

import httpx
import pytest
from tests.support.caller import Caller
from tests.support.peer import Peer, answer, in_turn
from tests.support.service import TOKEN, Service

import gitpod
from gitpod import AsyncGitpod, SecretValue
from gitpod.pagination import AsyncSecretsPage, SyncSecretsPage
from gitpod.types import SecretCreateResponse, SecretPutResponse

PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
PARAMS: dict[str, Any] = {"name": "NAME", "value": "v", "project_id": PROJECT, "api_only": True}


def parsed(caller: Caller, response: Any) -> Any:
    """What the call itself would return, which the async client gives when awaited."""
    return caller.run(response.parse())


def test_every_call_has_its_raw_response(client: Caller, project: str) -> None:
    """With status and headers beside what it returns."""
    raw: Any = client.client.secrets.with_raw_response
    params = {**PARAMS, "project_id": project}
    created = client.run(raw.create(**params))
    secret = parsed(client, created).secret
    calls: list[tuple[Any, Any]] = [
        (created, SecretCreateResponse),
        (client.run(raw.put(**params)), SecretPutResponse),
        (client.run(raw.list()), SyncSecretsPage | AsyncSecretsPage),
        (client.run(raw.get_value(secret_id=secret.id)), SecretValue),
        (client.run(raw.update_value(secret_id=secret.id, value="w")), type(None)),
        (client.run(raw.delete(secret_id=secret.id)), type(None)),
    ]
    for response, kind_of in calls:
        assert isinstance(parsed(client, response), kind_of)
        assert response.status_code == 200
        assert response.headers.get("Content-Type", "").startswith("application/")
        assert response.request_id == response.headers["x-request-id"]
        assert response.retries_taken == 0
        assert repr(response).endswith("APIResponse [200]>")
    assert len({response.request_id for response, _ in calls}) == len(calls)


def test_trailers_and_attempts_are_told(kind: Any, runner: asyncio.Runner) -> None:
    """Connect sends the trailers of a unary RPC as headers with a prefix."""
    shed = answer(503, b'{"code": "unavailable"}', "retry-after: 0")
    there = Peer(in_turn(shed, answer(200, b"{}", "trailer-x-cost: 3", "x-one: 1")))
    caller = Caller(kind(bearer_token=TOKEN, base_url=there.url, codec="json"), runner)
    raw: Any = caller.client.secrets.with_raw_response
    response = caller.run(raw.delete(secret_id=PROJECT))
    assert (response.trailers["x-cost"], response.headers["X-One"], response.retries_taken) == ("3", "1", 1)
    caller.close()
    there.close()


def test_an_error_is_raised_as_ever(client: Caller) -> None:
    """And not wrapped."""
    raw: Any = client.client.secrets.with_raw_response
    with pytest.raises(gitpod.NotFoundError):
        client.run(raw.delete(secret_id=PROJECT))


def test_concurrent_calls_keep_their_answers(runner: asyncio.Runner) -> None:
    """Each task has the headers of its own answer."""
    there = Peer(lambda connection, request: answer(200, b"{}", f"x-echo: {_marker(request)}")(connection, request))

    async def ask(client: AsyncGitpod, marker: str) -> bool:
        headers = {"x-marker": marker}
        response = await client.secrets.with_raw_response.delete(secret_id=PROJECT, extra_headers=headers)
        return response.headers["x-echo"] == marker

    async def main() -> list[bool]:
        async with AsyncGitpod(bearer_token=TOKEN, base_url=there.url, codec="json") as client:
            return await asyncio.gather(*(ask(client, str(index)) for index in range(50)))

    assert all(runner.run(main()))
    there.close()


def _marker(request: bytes) -> str:
    lines = request.split(b"\r\n")
    return next(line for line in lines if line.startswith(b"x-marker: ")).partition(b": ")[2].decode()


def test_reading_calls_are_posted(kind: Any, runner: asyncio.Runner) -> None:
    """No scope stands in a URL, and nobody on the way may keep a value."""
    there = Peer(answer(200, b"{}"))
    caller = Caller(kind(bearer_token=TOKEN, base_url=there.url, codec="json"), runner)
    caller.list()
    caller.get_value(secret_id=PROJECT)
    assert [request.split(b" ")[0] for request in there.requests] == [b"POST", b"POST"]
    assert [b"cache-control: no-store" in request for request in there.requests] == [False, True]
    caller.close()
    there.close()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_service_forbids_caches_to_keep_answers(service: Service, method: str) -> None:
    """Also to a caller that lists by GET, which this client never does."""
    query = {"connect": "v1", "encoding": "json", "message": "{}"} if method == "GET" else None
    response = httpx.request(
        method,
        f"{service.url}/gitpod.v1.SecretService/ListSecrets",
        headers={"authorization": f"Bearer {TOKEN}"},
        params=query,
        json=None if query else {},
        trust_env=False,
    )
    assert (response.status_code, response.headers["cache-control"]) == (200, "no-store")
