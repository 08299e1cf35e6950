"""Clients of services of their own, and what is stored there."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.support.service import TOKEN

from gitpod import AsyncGitpod, Gitpod
from gitpod.types import Secret


@pytest.fixture
def client() -> Iterator[Gitpod]:
    """A client of a service of its own."""
    with Gitpod(bearer_token=TOKEN, base_url="sqlite://") as made:
        yield made


@pytest.fixture
def twin(runner: asyncio.Runner) -> Iterator[AsyncGitpod]:
    """The same for asyncio."""
    made = AsyncGitpod(bearer_token=TOKEN, base_url="sqlite://")
    yield made
    runner.run(made.close())


@pytest.fixture
def stored(client: Gitpod, project: str) -> list[str]:
    """The names of five secrets of the project."""
    names = [f"SECRET_{number}" for number in range(5)]
    for name in names:
        client.secrets.create(name=name, project_id=project, value="x", api_only=True)
    return names


@pytest.fixture
def secret(client: Gitpod, project: str) -> Secret:
    """One secret of the project."""
    return client.secrets.create(name="API_TOKEN", project_id=project, value="s3cret-value", api_only=True).secret
