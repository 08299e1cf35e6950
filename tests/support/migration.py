"""What tests of docs/migrating.md and its sequel share: the guide, and what gitpod-sdk 0.11 takes."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from tests.support import pages

from gitpod import InvalidRequestError

GUIDE = pages.page("migrating") + pages.page("migrating-from-1")
MOUNTS: list[dict[str, Any]] = [
    {"environment_variable": True},
    {"file_path": "/home/gitpod/.ssh/id_rsa"},
    {"container_registry_basic_auth_host": "https://registry.example.com"},
    {"api_only": True},
]
SCOPES = ["project_id", "user_id", "organization_id", "service_account_id"]


def section(title: str) -> str:
    """A section of the guide, up to the next of its level."""
    return re.split(r"^## ", GUIDE.partition(f"\n## {title}\n")[2], flags=re.MULTILINE)[0]


def violations(error: pytest.ExceptionInfo[InvalidRequestError]) -> list[tuple[str, str]]:
    """The field and the rule of everything that is wrong with a request."""
    return [(violation.field, violation.rule_id) for violation in error.value.violations]


class Application:
    """A WSGI application that gives one answer, and keeps what it was asked."""

    def __init__(self, status: str, body: bytes) -> None:
        self.status, self.body = status, body
        self.requests: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any], start: Callable[..., object]) -> list[bytes]:
        self.requests.append(environ)
        start(self.status, [("content-type", "application/json")])
        return [self.body]
