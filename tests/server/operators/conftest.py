"""The stores that operators work on."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.operators import PROJECT, VALUE, Place

from gitpod import Gitpod


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A store of either kind that does not exist yet."""
    if request.param == "sqlite":
        made = Place(f"sqlite:///{tmp_path}/secrets.db", tmp_path)
    else:
        made = Place(request.getfixturevalue("database_url"), tmp_path, f"file:{tmp_path}/key")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a store that has a secret and a token, and the secret's id."""
    folder = tmp_path_factory.mktemp("template")
    with Gitpod(bearer_token="any", base_url=f"sqlite:///{folder}/secrets.db") as client:
        made = client.secrets.create(name="KEPT", value=VALUE, project_id=PROJECT, api_only=True).secret
        client.secrets.get_value(secret_id=made.id)
    return folder, made.id


@pytest.fixture
def kept(template: tuple[Path, str], tmp_path: Path) -> Place:
    """A copy of that store."""
    folder = tmp_path / "store"
    shutil.copytree(template[0], folder)
    return Place(f"sqlite:///{folder}/secrets.db", folder)
