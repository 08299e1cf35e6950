"""What a forked process must know. Loaded with the package itself, so that no fork goes unnoticed."""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

_was_there_before = "pyqwest" in sys.modules
_has_forked = False


def _after_in_child() -> None:
    global _has_forked  # noqa: PLW0603 # a fact of the process
    _has_forked = _has_forked or "pyqwest" in sys.modules


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_in_child)


def lost_pyqwest() -> bool:
    """Whether pyqwest cannot be used in this process.

    Its threads do not survive a fork, and once anything of it was made, by whomever, every later call in
    the child would hang for ever, even on a transport of its own.
    """
    if _has_forked or not _was_there_before:
        return _has_forked
    # Somebody loaded it before this package could notice a fork. Without its threads it is either unused or lost.
    return pyqwest_threads() == []


def pyqwest_threads() -> "list[Path] | None":
    """Those that pyqwest has in this process, as folders of /proc; None where there is no such thing."""
    from pathlib import Path  # rarely needed

    folder = Path("/proc/self/task")
    return [task for task in folder.iterdir() if _name(task).startswith("tokio")] if folder.is_dir() else None


def _name(task: "Path") -> str:
    try:
        return (task / "comm").read_text()
    except OSError:
        # It has ended meanwhile.
        return ""
