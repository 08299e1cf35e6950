"""pytest fixtures for programs that use this package: add `pytest_plugins = ["gitpod.testing"]` to conftest.py.

They run the real service, in this process and in memory, so they need `gitpod-connect[server]`.
"""

from collections.abc import Iterator

import pytest

from gitpod import Gitpod


@pytest.fixture
def gitpod_client() -> Iterator[Gitpod]:
    """A client of a service of its own, which is empty and gone after the test."""
    with Gitpod(bearer_token="test", base_url="sqlite://") as client:  # noqa: S106 # in process any token will do
        yield client
