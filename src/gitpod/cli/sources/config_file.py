"""The user's configuration file (TOML): settings, and profiles, which are sets of settings with a name."""

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click

from gitpod.cli.files.owner import OPEN_TO_OTHERS, WRITABLE_BY_OTHERS, has_mode, is_of_another
from gitpod.cli.output import printable
from gitpod.cli.sources.setting import NAME_PATTERN, NAMES, SCOPES, Setting, Settings, own_folder
from gitpod.cli.sources.toml import parse, table

VARIABLE = "GITPOD_CONFIG"


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What the file says: `top` are the settings outside of profiles."""

    path: Path
    top: Settings
    profiles: dict[str, Settings]


def path() -> Path:
    """Return the path of the configuration file, which need not exist."""
    given = os.environ.get(VARIABLE)
    return Path(given) if given else own_folder() / "config.toml"


def read() -> ConfigFile:
    """Read the file, once in a process, so that a question and the call after it are about the same service.

    Raises:
        click.UsageError: it is not TOML, has an unknown setting, or is open to other users.
    """
    return _read(path())


@cache
def _read(file: Path) -> ConfigFile:
    try:
        with file.open("rb") as opened:
            status = os.fstat(opened.fileno())
            data = opened.read()
    except FileNotFoundError:
        if os.environ.get(VARIABLE):
            raise click.UsageError(f"{VARIABLE}: there is no file {file}") from None
        return ConfigFile(file, {}, {})
    except OSError as error:
        raise click.UsageError(f"{file}: {error.strerror}") from None
    given = parse(file, data)
    # Another user could change where the token is sent.
    if is_of_another(status) or has_mode(status, WRITABLE_BY_OTHERS):
        raise click.UsageError(f"{file}: must be your own file, and writable by nobody else; chmod 600 it")
    profiles = _profiles(file, given.pop("profiles")) if "profiles" in given else {}
    top = _checked(str(file), given)
    if has_mode(status, OPEN_TO_OTHERS) and any("api_key" in each for each in (top, *profiles.values())):
        raise click.UsageError(f"{file}: holds a token, and is open to other users; chmod 600 it")
    return ConfigFile(file, top, profiles)


def _profiles(file: Path, given: object) -> dict[str, Settings]:
    profiles: dict[str, Settings] = {}
    tables = table(given)
    for name, each in ({"": given} if tables is None else tables).items():
        settings = table(each)
        if settings is None:
            raise click.UsageError(f"{file}: profiles: each must be a table, [profiles.NAME]")
        if not re.fullmatch(NAME_PATTERN, name):
            rule = "a name has 1 to 64 letters, digits, underscores, dots and hyphens"
            raise click.UsageError(f"{file}: profiles: {rule}")
        profiles[name] = _checked(f"{file}: profiles.{name}", settings)
    return profiles


def _checked(source: str, given: dict[str, object]) -> Settings:
    found: Settings = {}
    for name, value in given.items():
        if name not in NAMES:
            raise click.UsageError(f"{source}: {printable(name)}: is not a setting; those are {', '.join(NAMES)}")
        if not isinstance(value, str) or not value:
            raise click.UsageError(f"{source}: {name}: must be a string that is not empty")
        found[name] = Setting(name, value, source)
    if len(SCOPES.keys() & given.keys()) > 1:
        raise click.UsageError(f"{source}: must have one of {', '.join(SCOPES)}, not several")
    return found
