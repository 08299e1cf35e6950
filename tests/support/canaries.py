"""A marked value and token, and the search for them in what an error shows."""

import pickle
import traceback
from collections.abc import Iterator

import pytest

VALUE = "canary-value-7d1f"
TOKEN = "canary-token-93ab"
UUID = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"


def strip_own_frames(error: BaseException) -> BaseException:
    """Drop the tests' own frames from the top of the traceback."""
    frame = error.__traceback__
    while frame and "/gitpod/" not in frame.tb_frame.f_code.co_filename:
        frame = frame.tb_next
    assert frame, "the error has no frame of the package"
    return error.with_traceback(frame)


def everything(error: BaseException) -> Iterator[str]:
    """All that a crash reporter could print of an error: locals of every frame, causes, notes, state."""
    yield "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    yield repr(error) + str(error) + repr(vars(error)) + repr(pickle.dumps(error))
    assert error.__cause__ is None
    assert error.__context__ is None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for local in frame.f_locals.values():
            yield repr(local) + repr(getattr(local, "__dict__", None))


def assert_clean(error: BaseException, log: pytest.LogCaptureFixture) -> None:
    """No canary in what the error shows, nor in what was logged at any level."""
    shown = [*everything(error), log.text]
    assert [text for text in shown if VALUE in text or TOKEN in text] == []
