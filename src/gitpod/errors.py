"""The exceptions. `_rpc/translate.py` makes them from the failures of calls.

    GitpodError                         everything below; itself: a wrong option, or a closed client
    └── APIError                        a call failed: code, outcome, attempts
        ├── InvalidRequestError         refused before anything was sent
        ├── APIConnectionError          no connection, or the connection broke
        │   └── APITimeoutError         no answer before the deadline
        ├── APIResponseValidationError  the answer breaks the contract, or is a redirect
        └── APIStatusError              the service answered with an error
            ├── BadRequestError 400     ├── ConflictError 409
            ├── AuthenticationError 401 ├── UnprocessableEntityError 422
            ├── PermissionDeniedError 403   ├── RateLimitError 429
            └── NotFoundError 404       └── InternalServerError 5xx

None of them holds a secret's value or a token: where a service quotes one of 8 characters or more, it is masked.
All of them can be pickled and copied.
"""

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal, NamedTuple, Self, TypeAlias

    from protobuf import Message
    from protovalidate import ViolationPb

    from gitpod.types import ErrorCode

    Outcome: TypeAlias = Literal["not_sent", "rejected", "unknown"]

    class _Violation(NamedTuple):
        field: str
        rule_id: str
        message: str

else:
    # `typing` costs as much time as the interpreter takes to start.
    _Violation = namedtuple("_Violation", ("field", "rule_id", "message"))  # noqa: PYI024 # typed above


UNKNOWN = " (it is not known whether the request was processed)"


class GitpodError(Exception):
    """The base of every error of this package. Itself: an option is wrong, or the client is closed."""


class Violation(_Violation):
    """One rule that a request breaks: the field's path, the rule's id, and what the rule says."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class APIError(GitpodError):
    """A call failed.

    Attributes:
        message: what went wrong, in words.
        code: the Connect code, such as `"already_exists"`.
        outcome: `"not_sent"`: the service never saw the request. `"rejected"`: the service answered that it did
            nothing. `"unknown"`: the service may have processed the request, or may do so later, if something on
            the way holds the request. A late update overwrites a newer value: before storing another value, wait,
            or delete the secret and create it again, which gives it another id.
        attempts: number of times the request was sent. (An HTTP/2 stream that the service refuses counts once,
            although the HTTP library repeats it twice by itself.)
        status_code: the HTTP status of the answer; None without an answer.
        request_id: the `x-request-id` of the answer; None if it has none.
        violations: the rules that the request breaks, if it was refused for that.
        details: the `google.rpc` messages that the service attached, such as `RetryInfo` (the classes are in
            `gitpod_proto.google.rpc.error_details_pb`). Details of other types are left out.
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
        """Add a clause to the message, and return this error."""
        self.message = f"{self.message}; {more}"
        self.args = (self.message,)
        return self


class InvalidRequestError(APIError):
    """The request breaks a rule, and nothing was sent. `violations` lists the reasons, at most the first 20."""

    def __init__(self, message: str, *, violations: "Iterable[Violation]" = ()) -> None:
        super().__init__(message, code="invalid_argument", outcome="not_sent", violations=violations)

    @classmethod
    def of(cls, violations: "Iterable[Violation]", more: int = 0) -> "InvalidRequestError":
        """Make the error that lists these violations: one on each line if there are several.

        Args:
            violations: those to list.
            more: number of further violations, which the message counts.
        """
        found = tuple(violations)
        lines = [str(violation) for violation in found]
        if more:
            lines.append(f"and {more:,} more")
        first = f"{len(found) + more:,} problems"
        text = lines[0] if len(lines) == 1 else "".join([first, *(f"\n  {line}" for line in lines)])
        return cls(f"invalid request: {text}", violations=found)


class APIConnectionError(APIError):
    """No connection, or it broke. `outcome` says whether the request may have been processed, or may still be."""


class APITimeoutError(APIConnectionError):
    """No answer before the deadline. `outcome` says whether the request may have been processed, or may still be."""


class APIResponseValidationError(APIError):
    """The answer breaks the contract, is larger than 4 MiB, or is a redirect."""


class APIStatusError(APIError):
    """The service answered with an error."""


class BadRequestError(APIStatusError):
    """400: `invalid_argument` (see `violations`), `failed_precondition` or `out_of_range`."""


class AuthenticationError(APIStatusError):
    """401 `unauthenticated`: the service does not know the bearer token."""


class PermissionDeniedError(APIStatusError):
    """403 `permission_denied`: the token does not permit this call here."""


class NotFoundError(APIStatusError):
    """404 `not_found`: no such secret. With the code `unimplemented`: no such service at `base_url`."""


class ConflictError(APIStatusError):
    """409 `already_exists`: the name is taken in this scope. Also `aborted`."""


class UnprocessableEntityError(APIStatusError):
    """422: the service understood the request and refused it."""


class RateLimitError(APIStatusError):
    """429 `resource_exhausted`: too many requests, or a quota is used up."""


class InternalServerError(APIStatusError):
    """5xx: the service failed. `outcome` says whether the request may have been processed, or may still be."""


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
    """Return the class for an HTTP status."""
    return _BY_STATUS.get(status, InternalServerError if status >= 500 else APIStatusError)  # noqa: PLR2004


def violation(found: "ViolationPb") -> Violation:
    """Convert a violation of protovalidate: its path, rule and message, and never the value."""
    path = ""
    for element in found.field.elements if found.field else ():
        path += f".{element.field_name}" if path else element.field_name
        if element.subscript is not None:
            path += f"[{element.subscript.value}]"
    return Violation(path, found.rule_id, found.message)
