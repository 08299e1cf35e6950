"""One client in many threads, event loops and tasks."""

import asyncio
import threading

import pytest
from tests.support.peer import Peer, stall
from tests.support.service import TOKEN, Service

from gitpod import AsyncGitpod, Gitpod, GitpodError


def test_one_client_serves_many_threads(service: Service, project: str) -> None:
    """32 of them, each creating and reading its own."""
    failures: list[BaseException] = []

    def work(client: Gitpod, number: int) -> None:
        try:
            made = client.secrets.create(name=f"THREAD_{number}", value=f"v{number}", project_id=project, api_only=True)
            assert client.secrets.get_value(secret_id=made.secret.id).value == f"v{number}"
        except BaseException as error:  # noqa: BLE001 # told to the main thread
            failures.append(error)

    with Gitpod(bearer_token=TOKEN, base_url=service.url) as client:
        threads = [threading.Thread(target=work, args=(client, number)) for number in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(list(client.secrets.list(filter={"scope": {"project_id": project}}))) == 32


def test_one_client_serves_successive_loops(service: Service, project: str) -> None:
    """An async client outlives the event loop of its first call."""
    client = AsyncGitpod(bearer_token=TOKEN, base_url=service.url)

    async def add_and_count(name: str) -> int:
        await client.secrets.create(name=name, value="v", project_id=project, api_only=True)
        return len((await client.secrets.list(filter={"scope": {"project_id": project}})).secrets)

    assert [asyncio.run(add_and_count(name)) for name in ("ONE", "TWO", "THREE")] == [1, 2, 3]
    asyncio.run(client.close())


def test_cancelling_a_task_cancels_it() -> None:
    """Not an error of ours: `task.cancelled()` is True, `asyncio.timeout` raises TimeoutError."""
    silent = Peer(stall(1))

    async def scenario() -> None:
        async with AsyncGitpod(bearer_token=TOKEN, base_url=silent.url) as client:
            task = asyncio.create_task(client.secrets.delete(secret_id="b0e12f6c-4c67-429d-a4a6-d9838b5da047"))
            await asyncio.to_thread(silent.wait)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await client.secrets.list()

    asyncio.run(scenario())
    silent.close()


def test_only_asyncio_runs_the_async_client() -> None:
    """Elsewhere a call says so, instead of failing like an outage that is worth a retry."""
    client = AsyncGitpod(bearer_token=TOKEN, base_url="http://127.0.0.1:9")
    with pytest.raises(GitpodError, match="needs a running asyncio event loop"):
        client.secrets.list().__await__().send(None)
