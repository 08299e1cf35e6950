"""A token that expires: when, by which clock, and what its holder is told."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from uuid import uuid4

import pytest
from tests.support.clock import SECOND, Clocked, clocked
from tests.support.service import TOKEN

import gitpod
from gitpod import Gitpod
from gitpod.server.caller import Role
from gitpod.server.operate import create_token, revoke_token
from gitpod.server.storage.rows import StoredToken, now
from gitpod.server.storage.store import Store
from gitpod_proto.gitpod.v1.identity_pb import Principal, Subject

DAY = 24 * 3600


@pytest.fixture
def made(url: str, tmp_path: Path) -> tuple[str, StoredToken]:
    """A token that expires in a day, and its row."""
    who = Subject(id=str(uuid4()), principal=Principal.USER)
    with closing(Store(url)) as store:
        key, ends = f"file:{tmp_path / 'key'}", now() + DAY * 1_000_000
        return create_token(store, key, who, Role.ADMIN, frozenset(), None, expires_at=ends)


@pytest.fixture
def replicas(url: str, made: object, tmp_path: Path) -> Iterator[list[Clocked]]:
    """Two services of the store, each with a clock of its own."""
    assert made
    folders = [tmp_path / name for name in ("one", "two")]
    with ExitStack() as stack:
        for folder in folders:
            folder.mkdir()
        yield [stack.enter_context(clocked(url, folder, tmp_path / "key")) for folder in folders]


def told(service: Clocked, token: str) -> str:
    """What a call with a token comes to: nothing, or the error."""
    with Gitpod(bearer_token=token, base_url=service.url, max_retries=0) as client:
        try:
            client.secrets.list()
        except gitpod.AuthenticationError as error:
            return str(error)
    return ""


def test_a_token_ends_on_each_replica_when_its_clock_says_so(
    replicas: list[Clocked], made: tuple[str, StoredToken]
) -> None:
    """At once, although it was used a moment before; and no other token ends with it."""
    one, two = replicas
    assert [told(each, made[0]) for each in replicas] == ["", ""]
    one.set((DAY + 1) * SECOND)
    assert "the bearer token has expired" in told(one, made[0])
    assert told(two, made[0]) == told(one, TOKEN) == ""
    two.set((DAY + 1) * SECOND)
    assert "the bearer token has expired" in told(two, made[0])


def test_only_its_holder_learns_that_a_token_has_expired(
    url: str, replicas: list[Clocked], made: tuple[str, StoredToken]
) -> None:
    """Nobody who guesses does, and nobody whose token was revoked."""
    token, stored = made
    replicas[0].set((DAY + 1) * SECOND)
    stranger = told(replicas[0], f"{token[:-1]}{'A' if token[-1] != 'A' else 'B'}")
    assert "is not known" in stranger
    with closing(Store(url)) as store:
        revoke_token(store, stored.id)
    assert told(replicas[0], token) == stranger
