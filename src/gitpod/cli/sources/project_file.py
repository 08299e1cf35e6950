"""A project's file, `.gitpod-secrets.toml`: chooses a profile and a scope, and gives names to ids of projects.

A stranger may have written it, as it comes with a project. At worst it chooses among the profiles and scopes of the
user. It never says where a token is sent, what is trusted, what is run or which file is read.
"""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import UUID

import click

from gitpod.cli.files.owner import has_mode, is_of_another
from gitpod.cli.output import printable
from gitpod.cli.sources.setting import NAME_PATTERN, SCOPES, Setting, Settings, is_id
from gitpod.cli.sources.toml import parse, table

NAME = ".gitpod-secrets.toml"
VARIABLE = "GITPOD_PROJECT_FILE"
MAX_BYTES = 64 * 1024
"""More is no file of names and ids."""
MAX_DOTS = 64
"""In a line. The time to parse a key grows with the square of its dots, and 64 KiB of them take half a minute."""
SCOPE_KEYS = {name.removesuffix("_id"): name for name in SCOPES}
KEYS = ("profile", *SCOPE_KEYS, "projects")
SHOWN = 40
"""Characters that are shown of a wrong key."""


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """What the file says.

    Attributes:
        path: where it is.
        profile: the name of a profile, empty for none.
        scope: the scope by its kind, empty for none.
        projects: ids of projects by name.
    """

    path: Path
    profile: str
    scope: Settings
    projects: dict[str, str]


def find() -> ProjectFile | None:
    """Return the file of the folder in which the command runs, or of the nearest folder above it; None without one.

    The search ends before the home folder, and at the border of a file system. The file is read once in a process.

    Raises:
        click.UsageError: the file says what it may not, or another user could have written it.
    """
    if given := os.environ.get(VARIABLE):
        return _named(Path(given))
    try:
        start = Path.cwd()
    except OSError:  # the folder was removed, or is hidden
        return None
    return _nearest(start)


@cache
def _named(file: Path) -> ProjectFile:
    """Read the file that the user names, and so trusts. `/dev/null` is empty, as for git."""
    try:
        data = b"" if str(file) == os.devnull else _read(os.open(file, os.O_RDONLY | _flag("O_NONBLOCK")), file)[0]
    except FileNotFoundError:
        raise click.UsageError(f"{VARIABLE}: there is no file {file}") from None
    except OSError as error:
        raise click.UsageError(f"{VARIABLE}: {file}: {error.strerror}") from None
    return _checked(file, parse(file, data))


@cache
def _nearest(start: Path) -> ProjectFile | None:
    for folder in _folders(start):
        file = folder / NAME
        try:
            # A pipe would be waited for.
            opened = os.open(file, os.O_RDONLY | _flag("O_NONBLOCK") | _flag("O_NOFOLLOW"))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            reason = "must not be a symbolic link" if file.is_symlink() else error.strerror
            raise click.UsageError(f"{file}: {reason}") from None
        data, status = _read(opened, file)
        for each in (status, folder.stat()):
            if is_of_another(each) or has_mode(each, stat.S_IWOTH):
                which = f"{VARIABLE} names a file that you trust, {os.devnull} for none"
                raise click.UsageError(f"{file}: another user owns or can write it, or its folder; {which}")
        return _checked(file, parse(file, data))
    return None


def _folders(start: Path) -> Iterator[Path]:
    """Yield the folders to look into, the nearest first."""
    try:
        home, device = Path.home().resolve(), start.stat().st_dev
        for folder in (start, *start.parents):
            if folder == home or folder.stat().st_dev != device:
                return
            yield folder
    except (OSError, RuntimeError):  # a folder that cannot be looked into, or no home
        return


def _read(opened: int, file: Path) -> tuple[bytes, os.stat_result]:
    """Read an open file to its end, and close it."""
    try:
        status = os.fstat(opened)
        if not stat.S_ISREG(status.st_mode):
            raise click.UsageError(f"{file}: must be a regular file")
        with open(opened, "rb", closefd=False) as reader:
            data = reader.read(MAX_BYTES + 1)
    finally:
        os.close(opened)
    if len(data) > MAX_BYTES:
        raise click.UsageError(f"{file}: is larger than {MAX_BYTES} bytes")
    if any(line.count(b".") > MAX_DOTS for line in data.split(b"\n")):
        raise click.UsageError(f"{file}: has a line with more than {MAX_DOTS} dots")
    return data, status


def _flag(name: str) -> int:
    """Return a flag of `os.open` that only POSIX has."""
    return int(getattr(os, name, 0))


def _checked(file: Path, given: dict[str, object]) -> ProjectFile:
    for key in given:
        if key not in KEYS:
            shown = printable(key if len(key) <= SHOWN else f"{key[:SHOWN]}…")
            rule = "must not be in a project's file, which others may have written; it takes"
            raise click.UsageError(f"{file}: {shown}: {rule} {', '.join(KEYS)}")
    projects = _projects(file, given.pop("projects")) if "projects" in given else {}
    chosen: dict[str, str] = {}
    for key, value in given.items():
        if not isinstance(value, str) or not re.fullmatch(NAME_PATTERN, value):
            raise click.UsageError(f"{file}: {key}: must be a name or an id")
        chosen[key] = value
    profile = chosen.pop("profile", "")
    if len(chosen) > 1:
        raise click.UsageError(f"{file}: must have one of {', '.join(SCOPE_KEYS)}, not several")
    scope: Settings = {}
    for key, value in chosen.items():
        id_ = projects.get(value, value) if key == "project" else value
        if not is_id(id_):
            rule = "is neither a UUID nor a name in [projects]" if key == "project" else "is not a valid UUID"
            raise click.UsageError(f"{file}: {key}: {rule}")
        scope[SCOPE_KEYS[key]] = Setting(SCOPE_KEYS[key], str(UUID(id_)), str(file))
    return ProjectFile(file, profile, scope, projects)


def _projects(file: Path, given: object) -> dict[str, str]:
    """Return the ids by name. A name that is itself an id could stand for another project, and is refused."""
    projects: dict[str, str] = {}
    names = table(given)
    for name, value in ({"": given} if names is None else names).items():
        if not re.fullmatch(NAME_PATTERN, name) or is_id(name) or not isinstance(value, str) or not is_id(value):
            rule = "must be a table of names (letters, digits, underscores, dots, hyphens; no UUID) and UUIDs"
            raise click.UsageError(f"{file}: projects: {rule}")
        projects[name] = str(UUID(value))
    return projects
