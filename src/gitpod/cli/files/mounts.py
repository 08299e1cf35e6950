"""Where secrets that are files go in a private folder: the checks before anything is written, and the writing."""

import os
from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise

from gitpod.cli.failures import USAGE, fail

Place = tuple[bytes, ...]
"""The names of the folders that lead to a file, and the file's own name."""


def place(file_path: str) -> Place:
    """Return the place for a secret's path. Empty names and dots are left out, as the system ignores them."""
    return tuple(part for part in file_path.encode().split(b"/") if part not in (b"", b"."))


def places(folder: bytes, file_paths: Mapping[str, str]) -> dict[str, Place]:
    """Return the place of each file below the folder. Ends the process when one of them cannot be written.

    Args:
        folder: the private folder.
        file_paths: the path of each secret that is a file, by the secret's name.
    """
    found = {name: place(file_path) for name, file_path in file_paths.items()}
    longest_name, longest_path = os.pathconf(folder, "PC_NAME_MAX"), os.pathconf(folder, "PC_PATH_MAX") - 1
    for name, parts in found.items():
        # The service checks paths, but a faulty or false service must not choose where to write.
        if not parts or not file_paths[name].startswith("/") or b".." in parts or "\0" in file_paths[name]:
            raise fail(f"{name}: its path is not one to write to", USAGE)
        if max(map(len, parts)) > longest_name:
            raise fail(f"{name}: a name in its path is longer than {longest_name} bytes", USAGE)
        if len(path(folder, parts)) > longest_path:
            raise fail(f"{name}: its path is longer than {longest_path} bytes with the folder in front", USAGE)
    # In this order, a file comes directly before one that would be at or below its place.
    for (name, parts), (other, below) in pairwise(sorted(found.items(), key=lambda item: item[1])):
        if below[: len(parts)] == parts:
            raise fail(f"{other}: another secret is where its path leads: {name}", USAGE)
    return found


def path(folder: bytes, parts: Place) -> bytes:
    """Return the path of a file."""
    return b"/".join((folder, *parts))


def write(folder: bytes, parts: Place, name: str, value: str) -> None:
    """Write a file that only the user can read. Ends the process when that fails.

    Args:
        folder: the private folder.
        parts: the place of the file, as `places` returned it.
        name: the secret's name, for messages.
        value: the secret's value.
    """
    try:
        _write(folder, parts, value.encode())
    except (FileExistsError, NotADirectoryError):
        # On a file system that takes other letters for the same, such as upper case.
        raise fail(f"{name}: another secret is where its path leads", USAGE) from None
    except OSError as error:
        raise fail(f"{name}: cannot write its file: {error.strerror}", USAGE) from None


def _write(folder: bytes, parts: Place, data: bytes) -> None:
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        for part in parts[:-1]:
            with suppress(FileExistsError):
                os.mkdir(part, 0o700, dir_fd=at)
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = below
        file = os.open(parts[-1], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=at)
    finally:
        os.close(at)
    with open(file, "wb") as opened:  # noqa: PTH123 # takes a descriptor
        opened.write(data)
