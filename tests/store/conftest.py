"""Stores of either kind."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.storage import Writes, tables

from gitpod.server.storage.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store that does not exist yet."""
    return tmp_path / "secrets.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/secrets.db"
    found: str = request.getfixturevalue("database_url")
    return found


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A store with tables and no rows."""
    with tables(url) as made:
        yield made


@pytest.fixture
def writes(url: str, store: Store) -> Iterator[Writes]:
    """Group commit on the store, beside that of the store itself."""
    assert store.is_current
    made = Writes(url)
    yield made
    made.database.close()
