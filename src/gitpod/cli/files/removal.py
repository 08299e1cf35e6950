"""Removes a folder with everything in it, however deep, also as a program of its own.

As a program, it waits until `run --files` and its command, or `edit`, have ended, and removes the folder if it is
still there. It is another process than these, so it outlives them when they are killed. It imports nothing of this
package, so that it starts fast and needs no settings.
"""

import os
import stat
import sys
from contextlib import suppress

ATTEMPTS = 10
"""How often to begin anew when another process writes to the folder meanwhile."""


def remove(folder: bytes) -> None:
    """Remove a folder and all that is in it.

    Args:
        folder: its path. No link is followed.

    Raises:
        OSError: something could not be removed. All the rest is.
    """
    for left in reversed(range(ATTEMPTS)):
        try:
            _empty(folder)
            os.rmdir(folder)  # noqa: PTH106 # a Path holds no bytes
        except FileNotFoundError:
            return
        except OSError:
            if not left:
                raise
        else:
            return


def _empty(folder: bytes) -> None:
    """Remove what is in a folder, as far as that can be removed."""
    if stat.S_ISDIR(os.lstat(folder).st_mode):
        os.chmod(folder, stat.S_IRWXU)  # noqa: PTH101 # a Path holds no bytes
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        left = os.listdir(top)  # noqa: PTH208 # a descriptor
        while left:
            name = left.pop()
            with suppress(OSError):
                if stat.S_ISDIR(os.lstat(name, dir_fd=top).st_mode):
                    left += _flatten(top, name)
                else:
                    os.unlink(name, dir_fd=top)
    finally:
        os.close(top)


def _flatten(top: int, name: str) -> list[str]:
    """Remove a folder in `top`. The folders in it are moved to `top`; returns their new names.

    So every path has one name, and neither the stack nor the number of open files grows with the depth.
    """
    moved: list[str] = []
    os.chmod(name, stat.S_IRWXU, dir_fd=top)
    folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
    try:
        for each in os.listdir(folder):  # noqa: PTH208 # a descriptor
            with suppress(OSError):
                if stat.S_ISDIR(os.lstat(each, dir_fd=folder).st_mode):
                    os.chmod(each, stat.S_IRWXU, dir_fd=folder)
                    new = os.urandom(16).hex()
                    os.rename(each, new, src_dir_fd=folder, dst_dir_fd=top)
                    moved.append(new)
                else:
                    os.unlink(each, dir_fd=folder)
    finally:
        os.close(folder)
    with suppress(OSError):
        os.rmdir(name, dir_fd=top)
    return moved


def _main() -> None:
    """Remove the folder when the caller and its command, if it has one, have ended.

    Standard input has a line with the folder's path in hexadecimal digits, and may have one with the number of the
    command's process. It ends with the caller.
    """
    folder = bytes.fromhex(sys.stdin.readline())
    command = sys.stdin.readline()
    # The number may be reused later. The descriptor stays that of the command.
    process = None
    if command and hasattr(os, "pidfd_open"):
        with suppress(OSError):  # it has ended
            process = os.pidfd_open(int(command))
    sys.stdin.read()
    if process is not None:
        import select

        select.select([process], [], [])
    with suppress(OSError):  # nobody is left to be told
        remove(folder)


if __name__ == "__main__":
    _main()
