"""Operating a store loads the store and its keys, and no application."""

import json

import pytest
from tests.support.programs import run

APPLICATIONS = {"gitpod.server.app", "gitpod.server.service", "connectrpc.server", "starlette", "uvicorn", "grpc"}


@pytest.mark.parametrize("module", ["gitpod.server.operate", "gitpod.server.keys.unlock"])
def test_operating_a_store_loads_no_application(module: str) -> None:
    """Neither our own application, nor the RPC servers, nor the web servers."""
    loaded = json.loads(run("python", "-c", f"import json, sys, {module}\nprint(json.dumps(sorted(sys.modules)))"))
    assert module in loaded
    assert APPLICATIONS & set(loaded) == set()
