"""Errors as objects: they pickle and copy, and leave the caller's own error whole."""

import asyncio
import copy
import pickle
from typing import Any

import pytest
from tests.support.caller import Caller
from tests.support.service import TOKEN

import gitpod
from gitpod import APIError, ConflictError, InvalidRequestError, Violation


def test_errors_pickle_and_copy() -> None:
    """With everything that they know."""
    violation = Violation("name", "string.min_len", "must be at least 3 characters")
    errors: list[APIError] = [
        ConflictError("taken", code="already_exists", outcome="rejected", attempts=2, status_code=409, request_id="r"),
        InvalidRequestError.of([violation]),
    ]
    for error in errors:
        for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):  # noqa: S301 # ours
            assert type(twin) is type(error)
            assert (str(twin), vars(twin)) == (str(error), vars(error))


def test_an_error_that_the_caller_handles_stays_whole(kind: Any, runner: asyncio.Runner) -> None:
    """A call that fails meanwhile does not cut it off from its own frames."""
    caller = Caller(kind(bearer_token=TOKEN, base_url="http://127.0.0.1:9", max_retries=0), runner)

    def fail_within() -> BaseException:
        try:
            raise KeyError from ValueError("the caller's own")  # noqa: TRY301 # as it happens
        except KeyError as error:
            with pytest.raises(gitpod.APIConnectionError):
                caller.list()
            return error

    found = fail_within()
    assert found.__traceback__
    assert isinstance(found.__cause__, ValueError)
