"""gitpod-sdk 0.11.0 itself, in an environment of its own, against the served service."""

import json
import subprocess
import uuid
import venv
from pathlib import Path

import pytest
from tests.support.programs import run
from tests.support.service import ROOT, TOKEN, Service

from gitpod import Gitpod

PROGRAM = """
import asyncio, json, sys
from itertools import islice
from gitpod import AsyncGitpod, Gitpod

base_url, options = sys.argv[1], json.loads(sys.argv[2])


async def walk():
    async with AsyncGitpod(base_url=base_url, max_retries=0) as client:
        return [secret.name async for secret in client.secrets.list(**options)]


with Gitpod(base_url=base_url, max_retries=0) as client:
    # More than there are, as a list without an end would fill the memory.
    names = [secret.name for secret in islice(client.secrets.list(**options), 1000)]
print(json.dumps([names, asyncio.run(walk())]))
"""
NAMES = [f"NAME_{number}" for number in range(60)]


@pytest.fixture(scope="session")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of an environment that has gitpod-sdk 0.11.0, and nothing of ours."""
    folder = tmp_path_factory.mktemp("vendor") / "venv"
    venv.create(folder, with_pip=True)
    python = str(folder / "bin/python")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "-q", "-c", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, "gitpod-sdk==0.11.0"], check=True)
    return python


@pytest.fixture(scope="module")
def filled(service: Service) -> str:
    """A project with sixty secrets."""
    project = str(uuid.uuid4())
    with Gitpod(bearer_token=TOKEN, base_url=service.url) as client:
        for name in NAMES:
            client.secrets.create(name=name, value="v", project_id=project, api_only=True)
    return project


def walk(vendor: str, service: Service, tmp_path: Path, **options: object) -> list[list[str]]:
    """The names that the vendor's sync and async clients list, in the order that they come."""
    found: list[list[str]] = json.loads(
        run(vendor, "-c", PROGRAM, service.url, json.dumps(options), cwd=tmp_path, NO_PROXY="*")
    )
    return found


@pytest.mark.parametrize(
    "options",
    [{}, {"page_size": 7}, {"page_size": 60}, {"pagination": {"page_size": 25}}, {"pagination": {"page_size": 59}}],
    ids=str,
)
def test_the_vendors_client_lists_every_secret_once(
    vendor: str, service: Service, filled: str, tmp_path: Path, options: dict[str, object]
) -> None:
    """Its loop ends, by the default page size and by others, in the query or in the body."""
    given = {**options, "filter": {"scope": {"project_id": filled}}}
    assert walk(vendor, service, tmp_path, **given) == [NAMES, NAMES]


def test_a_list_that_begins_in_the_middle_ends(vendor: str, service: Service, filled: str, tmp_path: Path) -> None:
    """From a token in the query, which the next pages replace."""
    with Gitpod(bearer_token=TOKEN, base_url=service.url) as client:
        token = client.secrets.list(filter={"scope": {"project_id": filled}}, page_size=40).pagination.next_token
    given = {"filter": {"scope": {"project_id": filled}}, "token": token}
    assert walk(vendor, service, tmp_path, **given) == [NAMES[40:]] * 2
