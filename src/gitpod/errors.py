"""The exceptions. `_translate.py` makes them from what a call met.

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

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal, Self, TypeAlias

    from protobuf import Message
    from protovalidate import ViolationPb

    from gitpod.types import ErrorCode

    Outcome: TypeAlias = Literal["not_sent", "rejected", "unknown"]


UNKNOWN = " (it is not known whether the request was processed)"


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
        attempts: how many times the request was sent. (A refused HTTP/2 stream counts once, though the
            HTTP library repeats such a request twice by itself.)
        status_code: the HTTP status of the answer, None when there was none.
        request_id: the service's `x-request-id`, None when it gave none.
        violations: each rule that the request breaks, when that is why it was refused.
        details: what the service attached, decoded: `google.rpc` messages such as `RetryInfo` (from
            `gitpod_proto.google.rpc.error_details_pb`). Those of other types are left out.
    """

    def __init__(
        self,
        message: str,
        *,
        code: "ErrorCode" = "unknown",
        outcome: "Outcome" = "unknown",
        attempts: int = 0,
        status_code: int | None = None,
        request_id: str | None = None,
        violations: "Iterable[Violation]" = (),
        details: "Iterable[Message]" = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code: ErrorCode = code
        self.outcome: Outcome = outcome
        self.attempts = attempts
        self.status_code = status_code
        self.request_id = request_id
        self.violations = tuple(violations)
        self.details = tuple(details)

    def saying(self, more: str) -> "Self":
        """This error, with more in its message."""
        self.message = f"{self.message}; {more}"
        self.args = (self.message,)
        return self


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
