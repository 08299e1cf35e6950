"""Turns the failures of calls into the errors of `errors.py`, in one place."""

import re
from asyncio import CancelledError
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from connectrpc.code import Code
from protobuf import Message, message_from_json_value, message_to_json_value
from protovalidate import ViolationsPb
from pyqwest import StreamError

from gitpod import errors
from gitpod._messages.results import UntrustedResponseError
from gitpod._rpc.failure import LAST_ANSWER, Failure
from gitpod._transport.failures import NotSentTimeoutError
from gitpod.errors import APIError, APIResponseValidationError, GitpodError, Violation

if TYPE_CHECKING:
    from gitpod.types import ErrorCode


def translate(error: Exception, mask: Callable[[str], str]) -> BaseException:
    """Return the error that the caller gets. `mask` is applied to every text of the service."""
    cause = error.error.__cause__ if isinstance(error, Failure) else error
    if isinstance(cause, UntrustedResponseError):
        cause = APIResponseValidationError(f"{cause}{errors.UNKNOWN}")
    if isinstance(cause, APIResponseValidationError):
        answer = LAST_ANSWER.get()
        cause.attempts, cause.status_code = answer.attempts, answer.http_status
        cause.request_id = mask(answer.headers.get("x-request-id", "")) or None
    if not isinstance(error, Failure) or isinstance(cause, GitpodError | CancelledError):
        return cause or error
    kind, message = _kind(error)
    # connectrpc says "invalid argument" for an answer that it cannot read, as if the caller had made a mistake.
    code: ErrorCode = "unknown" if kind is APIResponseValidationError else error.error.code.value
    details = [_masked(detail, mask) for detail in error.details]
    return kind(
        f"{code}: {mask(message)}{errors.UNKNOWN if error.outcome == 'unknown' else ''}",
        code=code,
        outcome=error.outcome,
        attempts=error.attempts,
        status_code=error.status,
        request_id=mask(error.headers.get("x-request-id", "")) or None,
        details=[detail for detail in details if detail is not None],
        violations=_violations(details),
    )


def _kind(failure: Failure) -> tuple[type[APIError], str]:
    """Return the class of the error, and its text."""
    cause, status = failure.error.__cause__, failure.status
    is_reset = isinstance(cause, StreamError)
    is_late = isinstance(cause, TimeoutError) or (is_reset and failure.error.code is Code.DEADLINE_EXCEEDED)
    if is_late or (status is None and cause is None):
        text = str(cause) if isinstance(cause, NotSentTimeoutError) else "no answer before the deadline"
        return errors.APITimeoutError, text
    if status is None or is_reset or isinstance(cause, OSError):
        return errors.APIConnectionError, f"the connection failed: {failure.error.message}"
    if failure.by_service:
        return errors.status_error(status), failure.error.message or "the service gave no reason"
    if 300 <= status < 400:  # noqa: PLR2004 # HTTP redirects
        location = re.sub("//[^/]*@", "//", failure.headers.get("location", "nowhere").partition("?")[0])
        return APIResponseValidationError, f"HTTP {status} to {location}, and redirects are not followed; fix base_url"
    if status < 400 or cause is not None:  # noqa: PLR2004 # HTTP success
        return APIResponseValidationError, "the answer is not one that the contract allows"
    said = f" The answer says: {failure.error.message}" if failure.has_no_code and failure.error.message else ""
    return errors.status_error(status), f"HTTP {status}, and not from the service itself; is base_url right?{said}"


def _masked(detail: Message, mask: Callable[[str], str]) -> Message | None:
    """Return the detail with its texts masked; None if it is not a valid message."""

    def masked(value: Any) -> Any:  # noqa: ANN401 # JSON
        if isinstance(value, str):
            return mask(value)
        if hasattr(value, "items"):
            return {mask(key): masked(each) for key, each in value.items()}
        return [masked(each) for each in value] if hasattr(value, "append") else value

    try:
        return message_from_json_value(type(detail), masked(message_to_json_value(detail)))
    except (ValueError, OverflowError):
        return None


def _violations(details: list[Message | None]) -> list[Violation]:
    """Return the violations in an error's details."""
    every = [detail.violations for detail in details if isinstance(detail, ViolationsPb)]
    return [errors.violation(broken) for violations in every for broken in violations]
