"""Where the service is, who asks and for which scope: from options, the environment, or a file in TOML."""

import os
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

VARIABLES = {"base_url": "GITPOD_BASE_URL", "api_key": "GITPOD_API_KEY", "project_id": "GITPOD_PROJECT_ID"}
"""The settings that the environment may have."""
SCOPES = ("project_id", "user_id", "organization_id", "service_account_id")
NAMES = ("base_url", "api_key", "ca_cert", *SCOPES)
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Setting:
    """A value, and where it came from. Its repr shows no token."""

    name: str
    value: str
    source: str

    @property
    def shown(self) -> str:
        """The value as it may be shown: of a token the last four characters at most, of a URL no password."""
        if self.name == "api_key":
            return f"…{self.value[-4:]}" if len(self.value) >= 20 else "…"  # noqa: PLR2004 # or four are a part of it
        scheme, _, rest = self.value.partition("://")
        return f"{scheme}://…@{rest.rpartition('@')[2]}" if self.name == "base_url" and "@" in rest else self.value

    def __repr__(self) -> str:
        return f"Setting({self.name!r}, {self.shown!r}, {self.source!r})"


def path() -> Path:
    """The configuration file, whether it is there or not."""
    if given := os.environ.get("GITPOD_CONFIG"):
        return Path(given)
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "gitpod-secrets" / "config.toml"


def settings() -> dict[str, Setting]:
    """What is set, by name: the environment comes before the file. A scope that the environment names is the only one.

    Raises:
        click.UsageError: the file is not TOML, has what is no setting, or a token that others can read.
    """
    file = path()
    found: dict[str, Setting] = {name: Setting(name, value, str(file)) for name, value in _read(file).items()}
    for name, variable in VARIABLES.items():
        if value := os.environ.get(variable):
            if name in SCOPES:
                found = {each: setting for each, setting in found.items() if each not in SCOPES}
            found[name] = Setting(name, value, variable)
    return found


def _read(file: Path) -> dict[str, str]:
    try:
        with file.open("rb") as opened:
            status = os.fstat(opened.fileno())
            mode = status.st_mode
            given = tomllib.load(opened)
    except FileNotFoundError:
        if os.environ.get("GITPOD_CONFIG"):
            raise click.UsageError(f"GITPOD_CONFIG: there is no file {file}") from None
        return {}
    except OSError as error:
        raise click.UsageError(f"{file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        # Its text may quote a token.
        raise click.UsageError(f"{file}: is not valid TOML") from None
    if mode & WRITABLE_BY_OTHERS or status.st_uid not in (0, os.geteuid()):
        # It may say where a token is sent.
        raise click.UsageError(f"{file}: must be yours, and writable by nobody else; chmod 600 it")
    _check(file, given, mode)
    return given


def _check(file: Path, given: dict[str, Any], mode: int) -> None:
    for name, value in given.items():
        if name not in NAMES:
            raise click.UsageError(f"{file}: {name}: is not a setting; those are {', '.join(NAMES)}")
        if not isinstance(value, str) or not value:
            raise click.UsageError(f"{file}: {name}: must be a string")
    if "api_key" in given and mode & OPEN_TO_OTHERS:
        raise click.UsageError(f"{file}: holds a token, and is open to other users; chmod 600 it")
    if len([name for name in SCOPES if name in given]) > 1:
        raise click.UsageError(f"{file}: must have one of {', '.join(SCOPES)}, not several")
