"""Settings: where the service is, which token to send, and which scope is meant.

An option comes before an environment variable, that before the configuration file (TOML), and that before a default.
"""

import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

VARIABLES = {"base_url": "GITPOD_BASE_URL", "api_key": "GITPOD_API_KEY", "project_id": "GITPOD_PROJECT_ID"}
"""The environment variable of each setting that has one."""
SCOPES = {"project_id": 1, "user_id": 3, "organization_id": 0, "service_account_id": 2}
"""The scopes and their rank: where several have a secret of the same name, the one with the highest rank counts."""
NAMES = ("base_url", "api_key", "ca_cert", *SCOPES)
LONG_TOKEN = 20
"""Characters from which on the last four of a token are shown; they would be too large a part of a shorter one."""
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting and its source: a file, a variable, `option` or `default`. The repr masks a token."""

    name: str
    value: str
    source: str

    @property
    def shown(self) -> str:
        """The value with secrets masked: a token but for its last four characters; user and parameters in a URL."""
        if self.name == "api_key":
            return f"…{self.value[-4:]}" if len(self.value) >= LONG_TOKEN else "…"
        from gitpod._endpoint import shown  # loads a part of the SDK

        return shown(self.value) if self.name == "base_url" else self.value

    @property
    def given_as(self) -> str:
        """The setting as the user gave it: a variable, or a name in a file."""
        return self.source if self.source in VARIABLES.values() else f"{self.source}: {self.name}"

    def __repr__(self) -> str:
        return f"Setting({self.name!r}, {self.shown!r}, {self.source!r})"


Settings = dict[str, Setting]


def load(options: Mapping[str, str] | None = None) -> Settings:
    """Return the settings in effect, by name.

    Args:
        options: settings that options of the command gave.

    Raises:
        click.UsageError: the configuration file is not TOML, has an unknown setting, or is open to other users.
    """
    from gitpod._endpoint import DEFAULT_BASE_URL  # loads a part of the SDK

    file = config_file()
    return _merge(
        _layer({"base_url": DEFAULT_BASE_URL}, "default"),
        _layer(_read(file), str(file)),
        {name: Setting(name, given, each) for name, each in VARIABLES.items() if (given := os.environ.get(each))},
        _layer(options or {}, "option"),
    )


def _layer(values: Mapping[str, str], source: str) -> Settings:
    return {name: Setting(name, value, source) for name, value in values.items()}


def _merge(*layers: Settings) -> Settings:
    """Merge layers; a later one wins. A layer that names a scope removes the scopes of those before it."""
    merged: Settings = {}
    for layer in layers:
        if SCOPES.keys() & layer.keys():
            merged = {name: setting for name, setting in merged.items() if name not in SCOPES}
        merged |= layer
    return merged


def config_file() -> Path:
    """Return the path of the configuration file, which need not exist."""
    if given := os.environ.get("GITPOD_CONFIG"):
        return Path(given)
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "gitpod-secrets" / "config.toml"


def _read(file: Path) -> dict[str, str]:
    """Read and check the configuration file. An error never quotes a line, which may hold the token."""
    try:
        with file.open("rb") as opened:
            status = os.fstat(opened.fileno())
            given = tomllib.load(opened)
    except FileNotFoundError:
        if os.environ.get("GITPOD_CONFIG"):
            raise click.UsageError(f"GITPOD_CONFIG: there is no file {file}") from None
        return {}
    except OSError as error:
        raise click.UsageError(f"{file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise click.UsageError(f"{file}: is not valid TOML") from None
    # Windows has no modes and no owners by number: there, the folder's permissions protect the file.
    has_owner = hasattr(os, "geteuid")
    # Another user could change where the token is sent.
    if has_owner and (status.st_mode & WRITABLE_BY_OTHERS or status.st_uid not in (0, os.geteuid())):
        raise click.UsageError(f"{file}: must be your own file, and writable by nobody else; chmod 600 it")
    _check(file, given)
    if has_owner and "api_key" in given and status.st_mode & OPEN_TO_OTHERS:
        raise click.UsageError(f"{file}: holds a token, and is open to other users; chmod 600 it")
    return given


def _check(file: Path, given: dict[str, Any]) -> None:
    for name, value in given.items():
        if name not in NAMES:
            raise click.UsageError(f"{file}: {name}: is not a setting; those are {', '.join(NAMES)}")
        if not isinstance(value, str) or not value:
            raise click.UsageError(f"{file}: {name}: must be a string that is not empty")
    if len(SCOPES.keys() & given.keys()) > 1:
        raise click.UsageError(f"{file}: must have one of {', '.join(SCOPES)}, not several")
