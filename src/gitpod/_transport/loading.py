"""Loads modules at a first call. It is apart from `threads.py`, which is slow to load itself."""

import sys

from gitpod._transport.failures import unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gitpod.errors import APIConnectionError


def can_import() -> bool:
    """Whether modules can be imported. Some finalizers run after that has become impossible."""
    # At its end, the interpreter sets sys.meta_path to None.
    return bool(sys.meta_path)


class loading:  # noqa: N801 # used like a function
    """A block that imports modules.

    Raises:
        APIConnectionError: the interpreter is ending, and imports nothing any more.
    """

    __slots__ = ("_held",)

    def __enter__(self) -> None:
        try:
            from gitpod._transport.threads import held
        except ImportError as error:
            raise _failed(error) from None
        self._held: Any = held()
        self._held.__enter__()

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._held.__exit__()
        if isinstance(error, ImportError):
            raise _failed(error) from None


def _failed(error: ImportError) -> "ImportError | APIConnectionError":
    return error if can_import() else unavailable("what a first call needs cannot be loaded")
