"""What tests of the ways to a service share: an answer, and what is created."""

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import httpx
import httpx2
from tests.support.caller import Caller
from tests.support.peer import Peer, Script, answer

from gitpod import AsyncGitpod, Gitpod

HTTPX: dict[str, ModuleType] = {"httpx": httpx, "httpx2": httpx2}
Kind = type[Gitpod] | type[AsyncGitpod]
Connect = Callable[..., Caller]
MakePeer = Callable[[Script], Peer]

VALUE = "s3cret-canary"
UUID = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
PARAMS: dict[str, Any] = {"name": "NAME", "value": VALUE, "project_id": UUID, "api_only": True}
STORED = json.dumps({"secret": {"id": UUID, "name": "NAME", "apiOnly": True}}).encode()
OK = answer(200, STORED)
