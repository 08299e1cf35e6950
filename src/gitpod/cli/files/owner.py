"""Tells who owns a file, and who can write it. Only POSIX knows."""

import os
import stat

WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def is_of_another(status: os.stat_result) -> bool:
    """Tell whether a file belongs to a user other than this one and root."""
    user = getattr(os, "geteuid", None)
    return user is not None and status.st_uid not in (0, user())


def has_mode(status: os.stat_result, bits: int) -> bool:
    """Tell whether a file has any of some bits of the mode."""
    return os.name == "posix" and bool(status.st_mode & bits)
