"""The exceptions, and the one place that makes them from what a call met.

    GitpodError                         everything below, and a client that was set up wrongly
    └── APIError                        a call failed: code, outcome, attempts
        ├── InvalidRequestError         refused before anything was sent
        ├── APIConnectionError          no answer
        │   └── APITimeoutError         no answer in time
        ├── APIResponseValidationError  an answer that cannot be trusted
        └── APIStatusError              the service said no
            ├── BadRequestError 400     ├── ConflictError 409
            ├── AuthenticationError 401 ├── UnprocessableEntityError 422
            ├── PermissionDeniedError 403   ├── RateLimitError 429
            └── NotFoundError 404       └── InternalServerError 5xx

None of them holds a secret's value or a token, and what a service quotes of them is masked from 8 characters
on. All of them can be pickled and copied.
"""

from functools import wraps
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from typing import Any, Literal, ParamSpec, TypeAlias, TypeVar

    from protovalidate import ViolationPb

    from gitpod._retry import Failure

    P = ParamSpec("P")
    T = TypeVar("T")
    Outcome: TypeAlias = Literal["not_sent", "rejected", "unknown"]


UNKNOWN = " (it is not known whether the request was processed)"
SHORTEST_MASKED = 8
"""Characters."""


class GitpodError(Exception):
    """The base of every error of this package. Raised itself by a constructor that got a bad option."""


class Violation(NamedTuple):
    """One rule that a request breaks: the field's path, the rule's id, and what the rule says."""

    field: str
    rule_id: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class APIError(GitpodError):
    """A call failed.

    Attributes:
        message: what went wrong, in words.
        code: the Connect code, such as `"already_exists"`.
        outcome: `"not_sent"`: the service never processed the request; `"rejected"`: it answered that
            it did nothing; `"unknown"`: it may have done what was asked.
        attempts: how many times the request was sent.
        status_code: the HTTP status of the answer, None when there was none.
        request_id: the service's `x-request-id`, None when it gave none.
        violations: each rule that the request breaks, when that is why it was refused.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "unknown",
        outcome: "Outcome" = "unknown",
        attempts: int = 0,
        status_code: int | None = None,
        request_id: str | None = None,
        violations: "Iterable[Violation]" = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.outcome: Outcome = outcome
        self.attempts = attempts
        self.status_code = status_code
        self.request_id = request_id
        self.violations = tuple(violations)


class InvalidRequestError(APIError):
    """Refused before anything was sent; `violations` lists every reason."""

    def __init__(self, message: str, *, violations: "Iterable[Violation]" = ()) -> None:
        super().__init__(message, code="invalid_argument", outcome="not_sent", violations=violations)

    @classmethod
    def of(cls, violations: "Iterable[Violation]") -> "InvalidRequestError":
        """Make the error that lists these violations, one a line where there are several."""
        found = tuple(violations)
        lines = [str(violation) for violation in found]
        text = lines[0] if len(lines) == 1 else "".join([f"{len(lines)} problems", *(f"\n  {line}" for line in lines)])
        return cls(f"invalid request: {text}", violations=found)


class APIConnectionError(APIError):
    """No answer: the connection failed. `outcome` says whether the request may have been processed."""


class APITimeoutError(APIConnectionError):
    """No answer before the deadline. `outcome` says whether the request may have been processed."""


class APIResponseValidationError(APIError):
    """An answer that cannot be trusted: not what the contract says, too large, or a redirect."""


class APIStatusError(APIError):
    """The service answered with an error."""


class BadRequestError(APIStatusError):
    """400: `invalid_argument` (see `violations`), `failed_precondition` or `out_of_range`."""


class AuthenticationError(APIStatusError):
    """401 `unauthenticated`: no bearer token, or one that the service does not know."""


class PermissionDeniedError(APIStatusError):
    """403 `permission_denied`: the token may not do this here."""


class NotFoundError(APIStatusError):
    """404 `not_found`: no such secret."""


class ConflictError(APIStatusError):
    """409 `already_exists`: the name is taken in this scope; or `aborted`."""


class UnprocessableEntityError(APIStatusError):
    """422: understood, but refused."""


class RateLimitError(APIStatusError):
    """429 `resource_exhausted`: too many requests, or a quota is used up."""


class InternalServerError(APIStatusError):
    """5xx: the service failed. The outcome is unknown unless `outcome` says otherwise."""


_BY_STATUS: dict[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}


def status_error(status: int) -> type[APIStatusError]:
    """The class for an HTTP status."""
    return _BY_STATUS.get(status, InternalServerError if status >= 500 else APIStatusError)  # noqa: PLR2004


def violation(found: "ViolationPb") -> Violation:
    """A protovalidate violation as ours: its path, rule and message, and never the value."""
    path = ""
    for element in found.field.elements if found.field else ():
        path += f".{element.field_name}" if path else element.field_name
        if element.subscript is not None:
            path += f"[{element.subscript.value}]"
    return Violation(path, found.rule_id, found.message)


def translate(error: Exception, *hidden: str) -> BaseException:
    """The error that a caller gets for what a call met. `hidden` texts are masked, whoever quoted them."""
    # All of the RPC stack, which `import gitpod.errors` should not load.
    import json
    from asyncio import CancelledError
    from urllib.parse import quote

    from gitpod._results import UntrustedResponseError
    from gitpod._retry import LAST_ANSWER, Failure

    # A short value may be part of any word, and masking that would only spoil the text.
    secrets = [text for text in hidden if len(text) >= SHORTEST_MASKED]
    quoted = {form for text in secrets for form in (text, json.dumps(text)[1:-1], repr(text)[1:-1], quote(text))}

    def mask(text: str) -> str:
        for form in sorted(quoted, key=len, reverse=True):
            text = text.replace(form, "**********")
        return text

    cause = error.error.__cause__ if isinstance(error, Failure) else error
    if isinstance(cause, UntrustedResponseError):
        cause = APIResponseValidationError(f"{cause}{UNKNOWN}")
    if isinstance(cause, APIResponseValidationError):
        answer = LAST_ANSWER.get()
        cause.attempts, cause.status_code = answer.attempts, answer.http_status
        cause.request_id = mask(answer.headers.get("x-request-id", "")) or None
    if not isinstance(error, Failure) or isinstance(cause, GitpodError | CancelledError):
        return cause or error
    kind, message = _kind(error)
    return kind(
        f"{error.error.code.value}: {mask(message)}{UNKNOWN if error.outcome == 'unknown' else ''}",
        code=error.error.code.value,
        outcome=error.outcome,
        attempts=error.attempts,
        status_code=error.status,
        request_id=mask(error.headers.get("x-request-id", "")) or None,
        violations=[Violation(*map(mask, found)) for found in _violations(error)],
    )


def _kind(failure: "Failure") -> "tuple[type[APIError], str]":
    """The class of a failure, and its text."""
    cause, status = failure.error.__cause__, failure.status
    if isinstance(cause, TimeoutError) or (status is None and cause is None):
        return APITimeoutError, "no answer before the deadline"
    if status is None or (cause is not None and failure.error.code.value == "unavailable"):
        return APIConnectionError, f"the connection failed: {failure.error.message.removeprefix('Request failed: ')}"
    if failure.by_service:
        return status_error(status), failure.error.message or "the service gave no reason"
    if 300 <= status < 400:  # noqa: PLR2004 # HTTP redirects
        location = failure.headers.get("location", "nowhere").partition("?")[0]
        return APIResponseValidationError, f"HTTP {status} to {location}, and redirects are not followed; fix base_url"
    if status < 400 or cause is not None:  # noqa: PLR2004 # HTTP success
        return APIResponseValidationError, "the answer is not one that the contract allows"
    return status_error(status), f"HTTP {status}, and not from the service itself; is base_url right?"


def _violations(failure: "Failure") -> list[Violation]:
    """The violations in a failure's details, where the service sent some."""
    from protovalidate import ViolationsPb  # with the RPC stack

    wanted = ViolationsPb.desc().type_name
    details = [detail.message_bytes for detail in failure.error.details if detail.type_name == wanted]
    try:
        return [violation(found) for detail in details for found in ViolationsPb.from_binary(detail).violations]
    except ValueError:
        # The error is worth more than its details.
        return []


def _bare(error: BaseException) -> BaseException:
    """The error without the frames and causes that it came through, whose locals hold values and tokens."""
    if not isinstance(error, GitpodError) and isinstance(error, Exception):
        # Not ours, hence a fault of this package: say where, as source lines without locals.
        import traceback  # rarely needed

        error.add_note("".join(["raised inside gitpod:\n", *traceback.format_tb(error.__traceback__)]))
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def without_frames(method: "Callable[P, T]") -> "Callable[P, T]":
    """Have a method raise its errors from here, where no frame holds a value or a token.

    Crash reporters and `traceback.TracebackException(capture_locals=True)` print the locals of every
    frame that an exception passed through.
    """

    @wraps(method)
    def call(*args: "P.args", **kwargs: "P.kwargs") -> "T":
        try:
            return method(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 # raised again below
            failure = _bare(error)
        finally:
            del args
            kwargs.clear()
        raise failure

    return call


def without_frames_async(method: "Callable[P, Coroutine[Any, Any, T]]") -> "Callable[P, Coroutine[Any, Any, T]]":
    """`without_frames` for a coroutine."""

    @wraps(method)
    async def call(*args: "P.args", **kwargs: "P.kwargs") -> "T":
        try:
            return await method(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 # raised again below
            failure = _bare(error)
        finally:
            del args
            kwargs.clear()
        raise failure

    return call
