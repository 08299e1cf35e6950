"""Removes the frames of this package from its errors, because their locals hold values and tokens."""

from gitpod._transport.loading import can_import
from gitpod.errors import GitpodError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")


def _bare(error: BaseException) -> BaseException:
    """Return the error without frames and causes, whose locals hold values and tokens."""
    # Nothing can be imported while the interpreter ends.
    if not isinstance(error, GitpodError) and isinstance(error, Exception) and can_import():
        # Any other error is a fault of this package. The note says where: source lines, without locals.
        import traceback  # rarely needed

        lines = traceback.extract_tb(error.__traceback__)
        # Raised in this file, the error says that the arguments do not fit the method, or has its note already.
        if lines and lines[-1].filename != __file__:
            error.add_note("".join(["raised inside gitpod:\n", *lines.format()]))
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _name_like(call: "Callable[..., object]", method: "Callable[..., object]") -> None:
    """Give a wrapper the name and the documentation of its method. `functools.wraps` is slow to load."""
    for name in ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__"):
        setattr(call, name, getattr(method, name))
    call.__dict__["__wrapped__"] = method


def without_frames(method: "Callable[P, T]") -> "Callable[P, T]":
    """Make a method raise its errors from this file, where no frame holds a value or a token.

    Crash reporters and `traceback.TracebackException(capture_locals=True)` print the locals of every
    frame that an exception passed through.
    """

    def call(*args: "P.args", **kwargs: "P.kwargs") -> "T":
        try:
            return method(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 # raised again below
            failure = error
        finally:
            del args
            kwargs.clear()
        # Outside of `except`, so that an interrupt at this point does not get the error as its context.
        raise _bare(failure)

    _name_like(call, method)
    return call


def without_frames_async(method: "Callable[P, Coroutine[Any, Any, T]]") -> "Callable[P, Coroutine[Any, Any, T]]":
    """`without_frames` for a coroutine."""

    async def call(*args: "P.args", **kwargs: "P.kwargs") -> "T":
        try:
            return await method(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 # raised again below
            failure = error
        finally:
            del args
            kwargs.clear()
        raise _bare(failure)

    _name_like(call, method)
    return call
