"""A client of a SQLite store in this process, and one marked secret in it."""

from pathlib import Path

from tests.support.service import TOKEN

from gitpod import Gitpod

VALUE = "canary-value-51c2"
UUID = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"


def embedded(path: Path) -> Gitpod:
    """A client of the store in this process."""
    return Gitpod(bearer_token=TOKEN, base_url=f"sqlite:///{path}")


def keep(client: Gitpod, name: str = "KEPT") -> str:
    """Store the marked value, and return its id."""
    return client.secrets.create(name=name, value=VALUE, project_id=UUID, api_only=True).secret.id
