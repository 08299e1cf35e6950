"""Where an extra is not installed, the command and the client name that extra, not the module that is missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.absent import without
from tests.support.shell import SECONDS, Shell

from gitpod._extras import EXTRA_OF, needed

SERVE = ("serve", "--store", "sqlite://", "--port", "0")


def modules_of(extra: str) -> list[str]:
    """Those that only the extra brings."""
    return [module for module, found in EXTRA_OF.items() if found == extra]


def shown(shell: Shell, *arguments: str, **variables: str) -> str:
    """What a command that fails says, as one line."""
    return shell.run(*arguments, code=2, **variables).err.replace("\ngitpod-secrets: hint", "").strip()


@pytest.mark.parametrize("module", modules_of("cli"))
def test_the_command_names_the_extra_cli(shell: Shell, tmp_path: Path, module: str) -> None:
    """Whichever of its libraries is missing, once it is needed."""
    (tmp_path / "a.env").write_text("NAME=value\n")
    shell.variables |= without([module], tmp_path)
    terminal = shell.on_terminal("import", "--dry-run", str(tmp_path / "a.env"))
    assert needed("cli") in terminal.end(2).replace("\ngitpod-secrets: hint", "")


@pytest.mark.parametrize("module", modules_of("server"))
def test_serve_names_the_extra_server(shell: Shell, tmp_path: Path, module: str) -> None:
    """Whichever of its libraries is missing."""
    store = ("--store", f"sqlite:///{tmp_path}/s.db")
    said = shown(shell, "serve", *store, "--host", "192.0.2.1", **without([module], tmp_path))
    assert said.endswith(f"gitpod-secrets: error: the command {needed('server')}")


@pytest.mark.parametrize("module", ["alembic", "cryptography", "sqlalchemy"])
def test_an_embedded_service_names_the_extra_server(shell: Shell, tmp_path: Path, module: str) -> None:
    """Before a call, whichever library of the store is missing."""
    url = f"sqlite:///{tmp_path}/s.db"
    said = shown(shell, "list", GITPOD_BASE_URL=url, **without([module], tmp_path))
    assert said.endswith(f"GITPOD_BASE_URL: sqlite: is the embedded service, which {needed('server')}")


@pytest.mark.parametrize(
    ("extra", "arguments", "variables"),
    [
        ("postgres", ("list",), {"GITPOD_BASE_URL": "postgresql://user@host/database"}),
        ("postgres", ("serve", "--store", "postgresql://user@host/database"), {}),
        ("grpc", (*SERVE, "--grpc-port", "0"), {}),
        ("otel", SERVE, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}),
    ],
)
def test_a_command_names_the_extra_that_it_needs(
    shell: Shell, tmp_path: Path, extra: str, arguments: tuple[str, ...], variables: dict[str, str]
) -> None:
    """Once a setting asks for what the extra does."""
    said = shown(shell, *arguments, **variables, **without(modules_of(extra), tmp_path))
    assert said.endswith(needed(extra))


def test_the_client_names_the_extra_zstd(tmp_path: Path) -> None:
    """When it is made with that compression."""
    program = "from gitpod import Gitpod; Gitpod(bearer_token='t', compression='zstd')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | without(modules_of("zstd"), tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert f'compression: "zstd" {needed("zstd")}' in done.stderr
