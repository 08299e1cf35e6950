"""Replaces a file by a private one that is complete from the first moment."""

import os
import stat
from contextlib import suppress
from pathlib import Path

import click

from gitpod.cli.files.owner import is_of_another

MOST_LINKS = 40
"""Links to links, of which Linux follows as many."""


def target_of(output: Path) -> Path:
    """Return the file to replace for an option `--output`, with links resolved.

    Raises:
        click.UsageError: it is something else than a regular file, its folder is not there, or another user made a
            link to it.
    """
    if str(output) == "-":
        raise click.UsageError("--output: - is no file; leave out --output to print the values")
    target = _without_links(output)
    try:
        if not stat.S_ISREG(target.stat().st_mode):
            raise click.UsageError("--output: is not a regular file")
    except FileNotFoundError:
        if not target.parent.exists():
            raise click.UsageError("--output: there is no such folder") from None
    except OSError as error:
        raise click.UsageError(f"--output: {error.strerror}") from None
    return target


def _without_links(output: Path) -> Path:
    """Return the file to which links lead. The system resolves the folders before it.

    Raises:
        click.UsageError: another user made a link. In a folder such as /tmp, it could lead to any file of this user,
            and systems that follow no such link do not see that it is read here.
    """
    path = output
    for _ in range(MOST_LINKS):
        try:
            status = path.lstat()
        except OSError:  # the caller meets it again
            return path
        if not stat.S_ISLNK(status.st_mode):
            return path
        if is_of_another(status):
            raise click.UsageError("--output: is a symbolic link of another user")
        path = path.parent / path.readlink()
    raise click.UsageError("--output: is one of many symbolic links, perhaps in a circle")


def replace(target: Path, data: bytes) -> None:
    """Write a file of mode 0600, which takes the place of another one of that name in one step.

    Until it is complete, it has no name where the file system can do that (Linux: O_TMPFILE), so that nothing is left
    if the process is killed. Elsewhere it has a temporary name beside the target.

    Args:
        target: where to write, in a folder that exists. A link is replaced, not followed.
        data: the content.

    Raises:
        OSError: nothing is written, and a file of that name stays as it was.
    """
    if os.open not in os.supports_dir_fd:
        _replace_by_path(target, data)
        return
    folder = os.open(target.parent, os.O_RDONLY)
    temporary = f".gitpod-secrets-{os.urandom(8).hex()}"
    try:
        _place(folder, temporary, target.name, data)
        os.fsync(folder)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        os.close(folder)


def _replace_by_path(target: Path, data: bytes) -> None:
    """Do it on a system where no folder can be opened (Windows)."""
    from tempfile import NamedTemporaryFile

    with NamedTemporaryFile(prefix=".gitpod-secrets-", dir=target.parent, delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            file.close()
            temporary.replace(target)
        except BaseException:
            file.close()
            temporary.unlink(missing_ok=True)
            raise


def _place(folder: int, temporary: str, name: str, data: bytes) -> None:
    if hasattr(os, "O_TMPFILE"):
        # Some file systems do not have it, and some containers have no /proc. Any other failure comes up again below.
        with suppress(OSError):
            _place_unnamed(folder, temporary, name, data)
            return
        with suppress(FileNotFoundError):
            # The file may have got this name before the replacement failed.
            os.unlink(temporary, dir_fd=folder)
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
    try:
        _fill(file, data)
    finally:
        os.close(file)
    os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)


def _place_unnamed(folder: int, temporary: str, name: str, data: bytes) -> None:
    file = os.open(".", os.O_WRONLY | os.O_TMPFILE, 0o600, dir_fd=folder)
    try:
        _fill(file, data)
        try:
            _link(file, folder, name)
        except FileExistsError:
            # Nothing replaces a file by one without a name, so it has a name for the moment between these two calls.
            _link(file, folder, temporary)
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        os.close(file)


def _fill(file: int, data: bytes) -> None:
    with open(file, "wb", closefd=False) as opened:
        opened.write(data)
    os.fsync(file)


def _link(file: int, folder: int, name: str) -> None:
    """Give an open file a name (open(2), O_TMPFILE)."""
    os.link(f"/proc/self/fd/{file}", name, dst_dir_fd=folder, follow_symlinks=True)
