"""The Python environments of the peers: each has one peer in an exact version, and is made once by uv."""

import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PINS = {
    "gitpod-sdk 0.11": ["gitpod-sdk==0.11.0"],
    "gitpod-sdk 1.2": ["gitpod-sdk==1.2.0"],
    "grpcio": ["grpcio==1.85.1", "protobuf==7.36.2"],
    "httpx": ["httpx==0.28.1"],
    "httpx2": ["httpx2==2.16.2"],
    "aiohttp": ["aiohttp==3.14.5"],
    "uvicorn": ["uvicorn==0.54.0", "httptools==0.9.0", "h11==0.16.0", "uvloop==0.23.0"],
    "psycopg": ["psycopg[binary]==3.3.9"],
    "matplotlib": ["matplotlib==3.11.2"],
}
"""What is installed for each peer. What these need themselves is the newest; `versions` tells it."""


class MissingPeerError(Exception):
    """A peer cannot be measured here; the message is the reason, in one line."""


class Environments:
    """The environments below a folder.

    Args:
        folder: where they are, or are made.
        installs: whether to make those that are not there. If not, a peer runs in this process's environment when
            that has the same packages, whatever their versions.
    """

    def __init__(self, folder: Path, *, installs: bool = True) -> None:
        self._folder = folder
        self._installs = installs
        self._found: dict[str, Path | MissingPeerError] = {}

    def python(self, peer: str) -> Path:
        """The interpreter that has the peer. Raises `MissingPeerError`."""
        if peer not in self._found:
            try:
                self._found[peer] = self._make(peer) if self._installs else _here(peer)
            except MissingPeerError as error:
                self._found[peer] = error
        found = self._found[peer]
        if isinstance(found, MissingPeerError):
            raise MissingPeerError(*found.args)
        return found

    def versions(self) -> dict[str, list[str]]:
        """What the environments that were used have, as `uv pip freeze` prints it."""
        used = {peer: found for peer, found in self._found.items() if isinstance(found, Path)}
        return {peer: _uv("freeze", "--python", str(found)).splitlines() for peer, found in used.items()}

    def missing(self) -> dict[str, str]:
        """The peers that cannot be measured here, and why."""
        return {peer: str(found) for peer, found in self._found.items() if isinstance(found, MissingPeerError)}

    def _make(self, peer: str) -> Path:
        folder = self._folder / re.sub(r"\W+", "-", "-".join([f"{sys.version_info.minor}", *PINS[peer]]))
        python = folder / "bin/python"
        if not (folder / "made").exists():
            try:
                subprocess.run(  # noqa: S603 # our own tool
                    [_tool(), "venv", "--quiet", "--clear", "--python", sys.executable, folder],
                    check=True,
                    capture_output=True,
                    text=True,
                )
                _uv("install", "--quiet", "--compile-bytecode", "--python", str(python), *PINS[peer])
            except (OSError, subprocess.CalledProcessError) as error:
                raise MissingPeerError(_reason(error)) from None
            (folder / "made").touch()
        return python


def _here(peer: str) -> Path:
    for pin in PINS[peer]:
        name = re.split(r"[\[=]", pin)[0]
        try:
            version(name)
        except PackageNotFoundError:
            raise MissingPeerError(f"{name} is not installed here") from None
    return Path(sys.executable)


def _tool() -> str:
    beside = Path(sys.executable).parent / "uv"
    return str(beside) if beside.exists() else "uv"


def _uv(*arguments: str) -> str:
    command = [_tool(), "pip", *arguments]
    # The environment of the caller's is none of the peers'.
    kept = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=kept).stdout  # noqa: S603 # as above


def _reason(error: Exception) -> str:
    """The first line of what the tool said."""
    said = str(error.stderr) if isinstance(error, subprocess.CalledProcessError) else str(error)
    lines = [re.sub(r"^\W+", "", line) for line in said.splitlines()]
    return next((line for line in lines if line), "it could not be installed")
