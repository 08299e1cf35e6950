"""A clock that is wrong ends nothing and hides nothing: the order is that of the commits."""

import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from tests.support.clock import SECOND, YEAR, Clocked, clocked
from tests.support.service import TOKEN

import gitpod
from gitpod import Gitpod
from gitpod.server.storage.store import Store

PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
NEVER = datetime.min.replace(tzinfo=UTC)
JUMPS = {
    "a year ahead": YEAR,
    "past the year 9999": 9000 * YEAR,
    "an hour back": -3600 * SECOND,
    "before 1970": -100 * YEAR,
}


@pytest.fixture
def service(url: str, tmp_path: Path) -> Iterator[Clocked]:
    """A service on either database."""
    with clocked(url, tmp_path) as served:
        yield served


@pytest.fixture
def client(service: Clocked) -> Iterator[Gitpod]:
    """A client of it."""
    with Gitpod(bearer_token=TOKEN, base_url=service.url, max_retries=0) as made:
        yield made


def create(client: Gitpod) -> gitpod.types.Secret:
    """A new secret."""
    return client.secrets.create(name=f"N{uuid.uuid4().hex}", value="v", project_id=PROJECT, api_only=True).secret


def actions(url: str, limit: int, since: int = 0) -> list[str]:
    """The last records, in order."""
    with closing(Store(url)) as store:
        return [record.action for record in store.audit(secret_id=None, since=since, limit=limit)]


@pytest.mark.parametrize("jump", JUMPS)
def test_the_last_records_are_the_last_that_happened(url: str, service: Clocked, client: Gitpod, jump: str) -> None:
    """During a wrong clock, and after it was set right again."""
    before = create(client)
    service.set(JUMPS[jump])
    wrong = create(client)
    client.secrets.delete(secret_id=before.id)
    assert actions(url, 3) == ["CreateSecret", "CreateSecret", "DeleteSecret"]
    service.set(0)
    client.secrets.get_value(secret_id=wrong.id)
    client.secrets.update_value(secret_id=wrong.id, value="w")
    assert actions(url, 2) == ["GetSecretValue", "UpdateSecretValue"]
    assert actions(url, 4) == ["CreateSecret", "DeleteSecret", "GetSecretValue", "UpdateSecretValue"]
    # What happened since a time is found by the clock of its service, which was right then.
    assert set(actions(url, 100, since=(time.time_ns() - 600 * SECOND) // 1000)) >= {"GetSecretValue"}


@pytest.mark.parametrize("jump", JUMPS)
def test_times_of_a_secret_go_forwards(service: Clocked, client: Gitpod, jump: str) -> None:
    """From the one before it to its creation, and to each change of its value. Lists have the order of creation."""
    made = [create(client)]
    for step in (JUMPS[jump], 0, -JUMPS[jump] // 2, 0):
        service.set(step)
        made.append(create(client))
        for changed in (made[0], made[-1]):
            client.secrets.update_value(secret_id=changed.id, value="w")
    listed = list(client.secrets.list(page_size=2))
    assert [secret.id for secret in listed] == [secret.id for secret in made]
    times = [secret.created_at or NEVER for secret in listed]
    assert times == sorted(set(times))
    for secret in listed[:2]:
        assert secret.created_at
        assert secret.updated_at
        assert secret.updated_at > secret.created_at
    assert max(secret.updated_at for secret in listed if secret.updated_at) <= datetime.max.replace(tzinfo=UTC)


def test_a_change_after_a_step_back_is_later(service: Clocked, client: Gitpod) -> None:
    """Than the creation, and than the change before it."""
    service.set(YEAR)
    made = create(client)
    seen: list[datetime] = []
    for step in (0, YEAR, -YEAR, 0):
        service.set(step)
        client.secrets.update_value(secret_id=made.id, value="w")
        [listed] = client.secrets.list()
        seen.append(listed.updated_at or NEVER)
    assert made.created_at
    assert [made.created_at, *seen] == sorted({made.created_at, *seen})


@pytest.mark.slow
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_service_serves_on(service: Clocked, client: Gitpod) -> None:
    """It answers, is ready and logs while its clock is wrong for longer than a tick of its server, and after that."""
    for jump in JUMPS.values():
        service.set(jump)
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            made = create(client)
            assert client.secrets.get_value(secret_id=made.id).value == "v"
            assert httpx.get(f"{service.url}/readyz").status_code == 200
    with pytest.raises(gitpod.NotFoundError):
        client.secrets.delete(secret_id=str(uuid.uuid4()))
    service.set(0)
    assert create(client).name
    log = service.log.read_text()
    assert "Traceback" not in log
    assert log.count('"CreateSecret"') > 1
