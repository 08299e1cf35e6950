"""What only POSIX systems have is not needed by the client, by an embedded store, or by the calls of the command."""

import os
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from uuid import uuid4

import pytest
from tests.support.service import ROOT, TOKEN, Service
from tests.support.shell import SECONDS, VALUE, Shell

FOLDER = str(ROOT / "tests/support/without_posix")
SYNC = """
from gitpod import Gitpod
from gitpod.types import SecretScope

scope = SecretScope(project_id="{project}")
with Gitpod({options}) as client:
    made = client.secrets.create(name="ONE", value="a", scope=scope, environment_variable=True)
    client.secrets.put(name="ONE", value="b", scope=scope, environment_variable=True)
    print(client.secrets.get_value(secret_id=made.secret.id).reveal())
    client.secrets.update_value(secret_id=made.secret.id, value="c")
    print([secret.name for secret in client.secrets.list(filter={{"scope": scope}})])
    client.secrets.delete(secret_id=made.secret.id)
"""
ASYNC = """
import asyncio
from gitpod import AsyncGitpod
from gitpod.types import SecretScope

async def main():
    scope = SecretScope(project_id="{project}")
    async with AsyncGitpod({options}) as client:
        made = await client.secrets.create(name="ONE", value="b", scope=scope, environment_variable=True)
        print((await client.secrets.get_value(secret_id=made.secret.id)).reveal())
        print([secret.name async for secret in client.secrets.list(filter={{"scope": scope}})])
        await client.secrets.delete(secret_id=made.secret.id)

asyncio.run(main())
"""


KEY = {"GITPOD_SECRETS_KEY": "env:KEY", "KEY": b64encode(bytes(32)).decode()}


def program(code: str, url: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a program of the service at this URL, on such a system."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=os.environ | {"PYTHONPATH": FOLDER, "GITPOD_BASE_URL": url, "GITPOD_API_KEY": TOKEN} | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


@pytest.fixture
def other(shell: Shell) -> Shell:
    """A shell on such a system."""
    shell.variables["PYTHONPATH"] = FOLDER
    return shell


@pytest.mark.parametrize("code", [SYNC, ASYNC], ids=["sync", "async"])
@pytest.mark.parametrize("options", ["", "protocol='grpc'", "protocol='grpc-web', codec='json'", "http2=True"])
def test_the_client_makes_every_call(service: Service, project: str, code: str, options: str) -> None:
    """Of a served store, over each kind of connection."""
    done = program(code.format(project=project, options=options), service.url)
    assert (done.stdout, done.stderr) == ("b\n['ONE']\n", "")


@pytest.mark.parametrize("code", [SYNC, ASYNC], ids=["sync", "async"])
@pytest.mark.parametrize("in_memory", [True, False])
def test_an_embedded_service_answers_every_call(project: str, tmp_path: Path, code: str, *, in_memory: bool) -> None:
    """Also one with a file, if its key is in no file."""
    url = "sqlite://" if in_memory else f"sqlite:///{tmp_path}/s.db"
    done = program(code.format(project=project, options=""), url, **KEY)
    assert (done.stdout, done.stderr) == ("b\n['ONE']\n", "")


def test_a_key_file_is_refused(tmp_path: Path) -> None:
    """Nothing would keep other users from it."""
    done = program(SYNC.format(project=uuid4(), options=""), f"sqlite:///{tmp_path}/s.db", GITPOD_SECRETS_KEY="")
    assert "a key file needs the modes of a POSIX system" in done.stderr
    assert [path.name for path in tmp_path.iterdir() if "key" in path.name] == []


def test_the_command_makes_every_call(other: Shell) -> None:
    """The values come from pipes, from variables and from files."""
    other.run("create", "ONE", "--from-env", "VALUE", VALUE=VALUE)
    other.run("put", "ONE", stdin="second\n", code=0)
    assert other.run("get", "ONE").text == "second\n"
    value = other.home / "value"
    value.write_text("third")
    other.run("update", "ONE", "--value-file", str(value))
    assert [row[0] for row in other.run("list").rows] == ["ONE"]
    assert other.run("get", "ONE").text == "third"
    other.run("delete", "ONE", "--yes")
    assert other.run("config").text
    assert other.run("list").text == ""


def test_the_command_imports_and_exports(other: Shell) -> None:
    """A file is replaced by another one, and nothing else is left in its folder."""
    folder = other.home / "files"
    folder.mkdir()
    file = folder / "a.env"
    file.write_text(f"ONE={VALUE}\nTWO=2\n")
    other.run("import", str(file), "--yes")
    other.run("export", "--output", str(file))
    assert VALUE in file.read_text()
    assert list(folder.iterdir()) == [file]
    assert other.stored() == {"ONE": VALUE, "TWO": "2"}


def test_the_settings_file_is_read(other: Shell) -> None:
    """Where no file has an owner."""
    file = other.home / "config.toml"
    file.write_text(f'base_url = "{other.url}"\napi_key = "{TOKEN}"\n')
    file.chmod(0o600)
    assert "config.toml" in other.run("config", GITPOD_CONFIG=str(file), GITPOD_BASE_URL="", GITPOD_API_KEY="").text
