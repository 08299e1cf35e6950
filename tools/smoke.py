"""Uses each part of the installed package once, with whatever versions of the libraries are installed beside it.

Prints a line for each part. Ends with an exception, and so with status 1, at the first part that does not work.
"""

import asyncio
import importlib
import itertools
import json
import os
import pkgutil
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click
import grpc  # type: ignore[import-untyped]
import httpx
import httpx2
import postgres
from click.testing import CliRunner
from smoke_service import COMMAND, DEADLINE, TOKEN, served

import gitpod
from gitpod import AsyncGitpod, Gitpod
from gitpod.cli.commands.root import cli

PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
NAMES = (f"SECRET_{number}" for number in itertools.count())


@contextmanager
def refused(kind: type[Exception], text: str) -> Generator[None]:
    """A block that must raise this kind of error, with this text in its message."""
    try:
        yield
    except kind as error:
        if text not in str(error):
            raise
    else:
        raise AssertionError(f"no {kind.__name__}")


def uses(client: Gitpod) -> None:
    """Each call of the sync client."""
    with client:
        name = next(NAMES)
        made = client.secrets.create(name=name, value="first", project_id=PROJECT, environment_variable=True).secret
        client.secrets.put(name=name, value="second", project_id=PROJECT, environment_variable=True)
        assert client.secrets.get_value(secret_id=made.id).value == "second"
        client.secrets.update_value(secret_id=made.id, value="third" * 1000)
        assert [each.name for each in client.secrets.list(filter={"scope": {"project_id": PROJECT}})] == [name]
        client.secrets.delete(secret_id=made.id)
        with refused(gitpod.InvalidRequestError, "name"):
            client.secrets.create(name="x", value="v", project_id=PROJECT, environment_variable=True)
        with refused(gitpod.NotFoundError, "not_found"):
            client.secrets.get_value(secret_id=made.id)


async def uses_async(client: AsyncGitpod) -> None:
    """The same calls of the async client."""
    async with client:
        name = next(NAMES)
        create = client.secrets.create(name=name, value="first", project_id=PROJECT, environment_variable=True)
        made = (await create).secret
        await client.secrets.put(name=name, value="second", project_id=PROJECT, environment_variable=True)
        assert (await client.secrets.get_value(secret_id=made.id)).value == "second"
        await client.secrets.update_value(secret_id=made.id, value="third" * 1000)
        found = client.secrets.list(filter={"scope": {"project_id": PROJECT}})
        assert [each.name async for each in found] == [name]
        await client.secrets.delete(secret_id=made.id)


def modules(_: Path) -> None:
    """Every module of the package can be imported."""
    for each in pkgutil.walk_packages(gitpod.__path__, "gitpod."):
        # Alembic alone can run its scripts, `python -m` runs the command, and `testing` is for those who have pytest.
        others = (".__main__", ".migrations.env", ".testing")
        if not each.name.endswith(others) and ".versions" not in each.name:
            importlib.import_module(each.name)


def clients(folder: Path) -> None:
    """Both clients, over each protocol, codec and compression; those of httpx and httpx2; health and reflection."""
    with served(folder) as service:
        protocols = ("connect", "grpc-web", "grpc")
        ways: Any = itertools.product(protocols, ("binary", "json"), (None, "gzip", "zstd"))
        for protocol, codec, compression in ways:
            url = service.grpc_url if protocol == "grpc" else service.url
            given: Any = {"protocol": protocol, "codec": codec, "compression": compression, "base_url": url}
            uses(Gitpod(bearer_token=TOKEN, ca_cert=service.certificate, **given))
            asyncio.run(uses_async(AsyncGitpod(bearer_token=TOKEN, ca_cert=service.certificate, **given)))
        context = ssl.create_default_context(cafile=str(service.certificate))
        for library, protocol in itertools.product((httpx, httpx2), ("connect", "grpc-web")):
            given = {"bearer_token": TOKEN, "base_url": service.url, "protocol": protocol}
            uses(Gitpod(http_client=library.Client(verify=context), **given))
            asyncio.run(uses_async(AsyncGitpod(http_client=library.AsyncClient(verify=context), **given)))
        answer = httpx.get(f"{service.url}/readyz", verify=context)
        assert (answer.status_code, answer.text) == (200, "ok\n")
        origin = {"origin": "https://a.example", "access-control-request-method": "POST"}
        answer = httpx.options(f"{service.url}/gitpod.v1.SecretService/ListSecrets", headers=origin, verify=context)
        assert answer.headers["access-control-allow-origin"] == "https://a.example"
        credentials = grpc.ssl_channel_credentials(service.certificate.read_bytes())
        with grpc.secure_channel(service.grpc_url.removeprefix("https://"), credentials) as channel:
            assert channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=DEADLINE) == b"\x08\x01"
            method = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
            # The field list_services, with any text.
            ask = channel.stream_stream(method, request_serializer=bytes, response_deserializer=bytes)
            assert b"gitpod.v1.SecretService" in next(ask(iter([b"\x3a\x01*"]), timeout=DEADLINE))


def sqlite(folder: Path) -> None:
    """The embedded service in memory and in a file, which has the name that its URL has; other URLs are refused."""
    uses(Gitpod(base_url="sqlite://"))
    asyncio.run(uses_async(AsyncGitpod(base_url="sqlite://")))
    for name in ("plain.db", "a b+c&d=e;f@g.db", "日本.db"):
        (folder / "names").mkdir()
        url = f"sqlite:///{folder}/names/{name}"
        uses(Gitpod(base_url=url))
        asyncio.run(uses_async(AsyncGitpod(base_url=url)))
        with closing(sqlite3.connect(folder / "names" / name)) as connection:
            assert connection.execute("SELECT count(*) FROM audit").fetchone()[0] > 0
        assert {each.name.removesuffix(".key") for each in (folder / "names").iterdir()} == {name}
        (folder / "names").rename(folder / f"done-{name}")
    for name in ("q%41.db", "s?x.db", "h#x.db", "file:x.db", "~/x.db", "b\\x.db"):
        with refused(gitpod.GitpodError, "base_url: the store's path must not "):
            Gitpod(base_url=f"sqlite:///{name}")


def postgresql(folder: Path) -> None:
    """The embedded service on PostgreSQL, if that is installed."""
    if postgres.binaries() is None:
        print(f"     {postgres.MISSING}")
        return
    os.environ["GITPOD_SECRETS_KEY"] = f"file:{folder / 'postgresql.key'}"
    try:
        with postgres.Cluster() as cluster:
            run("migrate", "--store", cluster.url())
            uses(Gitpod(base_url=cluster.url()))
            asyncio.run(uses_async(AsyncGitpod(base_url=cluster.socket_url())))
    finally:
        del os.environ["GITPOD_SECRETS_KEY"]


def run(*arguments: str, given: str = "", **environment: str) -> str:
    """What a command prints. It must end with status 0."""
    done = subprocess.run(
        [COMMAND, *arguments],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
        env=os.environ | environment,
    )
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout


def help_texts(_: Path) -> None:
    """The help of each command."""

    def walk(command: click.Command, *path: str) -> None:
        shown = CliRunner().invoke(cli, [*path, "--help"])
        assert shown.exit_code == 0, shown.output
        assert shown.output.startswith("Usage: "), shown.output
        if isinstance(command, click.Group):
            for name, each in command.commands.items():
                walk(each, *path, name)

    walk(cli)


def commands(folder: Path) -> None:
    """A round of the commands that users run, and of those of operators."""
    store = f"sqlite:///{folder}/commands.db"
    own: Any = {"GITPOD_BASE_URL": store, "GITPOD_PROJECT_ID": PROJECT, "GITPOD_SECRETS_STORE": store}
    run("create", "FIRST_ONE", given="it's $one\n\\", **own)
    # python-dotenv must read what is exported of these.
    slashes = [{"name": f"SLASH_{number}", "value": "\\"} for number in "AB"]
    run(
        "import",
        "-",
        "--yes",
        given=json.dumps([{"name": "AS_FILE", "value": "two", "filePath": "/x"}, *slashes]),
        **own,
    )
    assert run("get", "FIRST_ONE", **own) == "it's $one\n\\"
    exported = run("export", **own)
    assert '"name": "AS_FILE"' in run("list", "--json", **own)
    run("import", "-", "--yes", given=exported.replace("two", "three"), **own)
    assert run("export", **own) == exported.replace("two", "three")
    program = "import os; print(os.environ['FIRST_ONE'], open(os.environ['AS_FILE']).read())"
    assert run("run", "--files", "--", sys.executable, "-c", program, **own) == "it's $one\n\\ three\n"
    done = subprocess.run([COMMAND, "put", "SECOND_ONE", "canary"], capture_output=True, text=True, check=False)
    assert (done.returncode, "canary" in done.stderr) == (2, False), "a message of click shows an argument"
    run("delete", "AS_FILE", "--yes", **own)
    assert run("token", "create", "--role", "admin", **own).startswith("gps_")
    run("keys", "rotate", **own)
    run("keys", "reencrypt", **own)
    assert "DeleteSecret" in run("audit", **own)
    assert "GITPOD_BASE_URL" in run("config", **own)
    for shell in ("bash", "zsh", "fish"):
        assert "_GITPOD_SECRETS_COMPLETE" in run("completion", shell)


def main() -> None:
    parts: list[Callable[[Path], None]] = [modules, help_texts, commands, sqlite, postgresql, clients]
    for part in parts:
        begin = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            part(Path(folder))
        print(f"ok   {part.__name__}, {time.monotonic() - begin:.1f} s", flush=True)


if __name__ == "__main__":
    main()
