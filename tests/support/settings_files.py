"""The files that settings come from, and a command that runs in a folder."""

from pathlib import Path
from typing import Any

from tests.support.shell import COMMAND, Shell

NONE: dict[str, Any] = {"GITPOD_BASE_URL": "", "GITPOD_API_KEY": "", "GITPOD_PROJECT_ID": ""}
"""No setting comes from the environment."""
WEB, API = "b0e12f6c-4c67-429d-a4a6-d9838b5da047", "0f4c8a90-6d1c-4f7e-9a53-1f0c5b7e2d44"


def write_config(shell: Shell, text: str, mode: int = 0o600) -> Path:
    """Write the configuration file."""
    file = shell.home / ".config" / "gitpod-secrets" / "config.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return file


def write_project(folder: Path, text: str) -> Path:
    """Write a project's file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / ".gitpod-secrets.toml"
    file.write_text(text)
    return file


def only(**variables: Any) -> dict[str, Any]:
    """These settings come from the environment, and no others."""
    return {**NONE, **variables}


def inside(folder: Path) -> tuple[str, ...]:
    """The command, started in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return ("sh", "-c", 'cd "$0" && exec "$@"', str(folder), *COMMAND)
