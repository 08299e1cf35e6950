"""Calls written for the `secrets` of gitpod-sdk 0.11 run as they are."""

import asyncio
from typing import Any

import pytest
from tests.support.migration import MOUNTS, SCOPES

from gitpod import APIStatusError, AsyncGitpod, ConflictError, Gitpod, NotFoundError
from gitpod.types import Secret, SecretListParams, SecretScopeParam


@pytest.mark.parametrize("mount", MOUNTS, ids=lambda mount: next(iter(mount)))
def test_create_takes_every_mount(client: Gitpod, project: str, mount: dict[str, Any]) -> None:
    """By its keyword, and the answer has it as an attribute."""
    answer = client.secrets.create(name="DOCKER_AUTH", project_id=project, value="user:password", **mount)
    [(name, value)] = mount.items()
    assert getattr(answer.secret, name) == value
    assert answer.secret.project_id == project


@pytest.mark.parametrize("scope", SCOPES)
def test_create_and_list_take_every_scope(client: Gitpod, project: str, scope: str) -> None:
    """As a mapping; `project` stands for an id of any kind."""
    owner: SecretScopeParam = {scope: project}  # type: ignore[misc]  # pyright: ignore[reportAssignmentType] # any of its keys
    made = client.secrets.create(name="API_TOKEN", scope=owner, value="x", environment_variable=True).secret
    assert made.scope
    assert getattr(made.scope, scope) == project
    assert [found.id for found in client.secrets.list(filter={"scope": owner})] == [made.id]


def test_a_secret_lives_through_all_calls(client: Gitpod, project: str) -> None:
    """Created, read, changed and deleted, with the keywords of 0.11."""
    secret = client.secrets.create(name="API_TOKEN", project_id=project, value="first", api_only=True).secret
    assert client.secrets.get_value(secret_id=secret.id).value == "first"
    client.secrets.update_value(secret_id=secret.id, value="second")
    assert client.secrets.get_value(secret_id=secret.id).value == "second"
    client.secrets.delete(secret_id=secret.id)
    assert list(client.secrets.list()) == []


def test_a_secret_lives_through_all_calls_in_asyncio(twin: AsyncGitpod, runner: asyncio.Runner, project: str) -> None:
    """The same, awaited."""

    async def main() -> tuple[str, list[Secret]]:
        secret = (await twin.secrets.create(name="API_TOKEN", project_id=project, value="1", api_only=True)).secret
        await twin.secrets.update_value(secret_id=secret.id, value="second")
        value = (await twin.secrets.get_value(secret_id=secret.id)).value
        await twin.secrets.delete(secret_id=secret.id)
        return value, [found async for found in twin.secrets.list()]

    assert runner.run(main()) == ("second", [])


@pytest.mark.parametrize("size", [{"pagination": {"page_size": 2}}, {"page_size": 2}, {}])
def test_iterating_goes_through_every_page(
    client: Gitpod, project: str, stored: list[str], size: SecretListParams
) -> None:
    """However the size of a page is asked for."""
    params: SecretListParams = {**size, "filter": {"scope": {"project_id": project}}}
    found = client.secrets.list(**params)
    assert [secret.name for secret in found] == stored


def test_pages_are_turned_by_hand(client: Gitpod, stored: list[str]) -> None:
    """By has_next_page and get_next_page, by iter_pages, and by a token of an earlier page."""
    page = client.secrets.list(pagination={"page_size": 3})
    assert [secret.name for secret in page.secrets] == stored[:3]
    assert page.has_next_page()
    following = page.get_next_page()
    assert [secret.name for secret in following.secrets] == stored[3:]
    assert not following.has_next_page()
    with pytest.raises(RuntimeError):
        following.get_next_page()
    assert [len(each.secrets) for each in page.iter_pages()] == [3, 2]


@pytest.mark.parametrize("nested", [True, False])
def test_a_token_leads_to_the_next_page(client: Gitpod, stored: list[str], *, nested: bool) -> None:
    """In `pagination` or beside it."""
    token = client.secrets.list(page_size=4).pagination.next_token
    assert token
    found = client.secrets.list(pagination={"token": token}) if nested else client.secrets.list(token=token)
    assert [secret.name for secret in found] == stored[4:]


def test_pages_are_turned_in_asyncio(twin: AsyncGitpod, runner: asyncio.Runner, project: str) -> None:
    """Await the list for its first page, and get_next_page for the one after it."""

    async def main() -> list[list[str]]:
        for number in range(3):
            await twin.secrets.create(name=f"SECRET_{number}", project_id=project, value="x", api_only=True)
        page = await twin.secrets.list(pagination={"page_size": 2})
        pages = [page, *([await page.get_next_page()] if page.has_next_page() else [])]
        return [[secret.name for secret in each.secrets] for each in pages] + [
            [secret.name for secret in each.secrets] async for each in page.iter_pages()
        ]

    assert runner.run(main()) == [["SECRET_0", "SECRET_1"], ["SECRET_2"]] * 2


def test_raw_responses(client: Gitpod, secret: Secret) -> None:
    """The status, the headers by name in any case, and the result by parse()."""
    response = client.secrets.with_raw_response.get_value(secret_id=secret.id)
    assert response.status_code == 200
    assert response.headers["X-Request-Id"] == response.headers.get("x-request-id")
    assert response.retries_taken == 0
    assert response.parse().value == "s3cret-value"


def test_raw_responses_in_asyncio(twin: AsyncGitpod, runner: asyncio.Runner, project: str) -> None:
    """The same, where parse() is awaited."""

    async def main() -> tuple[int | None, str | None, str]:
        create = twin.secrets.with_raw_response.create
        response = await create(name="API_TOKEN", project_id=project, value="x", api_only=True)
        return response.status_code, response.headers.get("content-type"), (await response.parse()).secret.name

    assert runner.run(main()) == (200, "application/proto", "API_TOKEN")


def test_a_taken_name_is_a_conflict(client: Gitpod, project: str, secret: Secret) -> None:
    """Caught by its name, with status, code and message."""
    with pytest.raises(ConflictError) as caught:
        client.secrets.create(name=secret.name, project_id=project, value="x", api_only=True)
    assert (caught.value.status_code, caught.value.code) == (409, "already_exists")
    assert caught.value.message == str(caught.value) == "already_exists: name: is taken in this scope"


def test_no_such_secret_is_not_found_in_asyncio(twin: AsyncGitpod, runner: asyncio.Runner, project: str) -> None:
    """Caught as an APIStatusError."""

    async def main() -> None:
        await twin.secrets.delete(secret_id=project)

    with pytest.raises(APIStatusError) as caught:
        runner.run(main())
    assert isinstance(caught.value, NotFoundError)
    assert (caught.value.status_code, caught.value.code) == (404, "not_found")
