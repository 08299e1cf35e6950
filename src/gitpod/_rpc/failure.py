"""What a failed attempt proves, and whether another attempt may help. This module decides nothing and sends nothing."""

import asyncio
import time
from contextvars import ContextVar, Token
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from connectrpc.client import ResponseMetadata
from connectrpc.code import Code
from connectrpc.errors import ConnectError, ErrorDetail
from connectrpc.request import Headers
from protobuf import Message

from gitpod._transport.answers import ASKED, HTTP_OK, NO_CODE, Head
from gitpod._transport.failures import NotSentError
from gitpod._transport.loading import can_import
from gitpod.errors import GitpodError

if TYPE_CHECKING:
    from pyqwest import Headers as HTTPHeaders

    from gitpod.errors import Outcome

REDIRECTS, CLIENT_ERRORS = range(300, 400), range(400, 500)
SHEDDING = {Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED}
PROVES_NOTHING = {303, 408, 499, 500, 502, 504}
"""Statuses that may come after the service has begun to process the request, whatever their code."""

TRANSIENT = {408, 429, 500, 502, 503, 504}
"""Statuses after which another attempt may succeed."""

REFUSALS = {
    Code.INVALID_ARGUMENT,
    Code.NOT_FOUND,
    Code.ALREADY_EXISTS,
    Code.PERMISSION_DENIED,
    Code.UNAUTHENTICATED,
    Code.FAILED_PRECONDITION,
    Code.ABORTED,
    Code.OUT_OF_RANGE,
    Code.UNIMPLEMENTED,
}
"""Codes of the service itself that mean that it did nothing. INTERNAL, UNKNOWN, DATA_LOSS,
DEADLINE_EXCEEDED and CANCELED may come after the fact; for UNAVAILABLE and RESOURCE_EXHAUSTED see `is_shed`."""

STATUS = {
    Code.CANCELED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}
"""The HTTP status of each code (the Connect protocol's table), for gRPC, whose errors are all 200."""

TRAILER = "trailer-"
"""What the names of headers begin with that are trailers of a unary RPC of Connect."""

UNKNOWN_ENCODING = "Error parsing 'grpc-encoding' metadata"
"""What services on grpc-core answer, with INTERNAL, to a compression that they do not know. It reaches no handler."""


class Answer(ResponseMetadata):
    """The answer to the last attempt of a call, and the number of attempts. A context manager around the attempt.

    connectrpc fills it for gRPC and gRPC-Web, whose trailers it reads. For Connect, `_transport` does: connectrpc would
    copy every header of every answer.
    """

    def __init__(self, attempts: int, *, has_trailers: bool = False) -> None:
        self.attempts = attempts
        self._started = time.perf_counter()
        self._has_trailers = has_trailers
        self._taken: HTTPHeaders | None = None
        self._before: Token[Head | None] | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since the last attempt began."""
        return time.perf_counter() - self._started

    @property
    def headers(self) -> Headers:
        """The headers; none without an answer."""
        if self._taken is None:
            return super().headers
        return Headers([(name, text) for name, text in self._taken.items() if not name.startswith(TRAILER)])

    @property
    def trailers(self) -> Headers:
        """The trailers. Connect sends those of a unary RPC as headers."""
        if self._taken is None:
            return super().trailers
        named = [(name, text) for name, text in self._taken.items() if name.startswith(TRAILER)]
        return Headers([(name.removeprefix(TRAILER), text) for name, text in named])

    def take(self, status: int, headers: "HTTPHeaders") -> None:
        """Keep the head of an answer (gitpod._transport.answers.Head)."""
        self._http_status, self._taken = status, headers

    def __enter__(self) -> Self:
        LAST_ANSWER.set(self)
        if self._has_trailers:
            return super().__enter__()
        self._before = ASKED.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._before is None:
            super().__exit__(kind, error, traceback)
            return
        try:  # noqa: SIM105 # suppress() costs more than the rest, at every call
            ASKED.reset(self._before)
        except ValueError:
            # A task that was never finished is closed in another context.
            pass
        self._before = None


LAST_ANSWER: ContextVar[Answer] = ContextVar("gitpod_last_answer")
"""The answer to the last call of this thread or task."""


class Failure(Exception):  # noqa: N818 # internal; errors.py makes the error of it
    """A failed attempt: its error, its answer, and whether an earlier attempt may have been processed."""

    def __init__(self, error: ConnectError, answer: Answer, earlier: "Failure | None") -> None:
        super().__init__()
        if error.code is Code.INTERNAL and error.message == UNKNOWN_ENCODING:
            # The code that gRPC has for it.
            error = ConnectError(Code.UNIMPLEMENTED, "the service does not know this compression; use gzip, or none")
        self.error = error
        self.headers = answer.headers
        self.attempts = answer.attempts
        given_type = self.headers.get("content-type", "")
        content_type = given_type.partition(";")[0].strip().lower()
        self.is_grpc = content_type.startswith("application/grpc") and answer.http_status == HTTP_OK
        # An error in JSON without a code of Connect: of a gateway, or of a service that is not Connect's.
        self.has_no_code = given_type == NO_CODE
        # An error of the service itself, not a proxy's page or a broken answer.
        self.by_service = error.__cause__ is None and (
            answer.trailers.get("grpc-status", "0") != "0"
            if self.is_grpc
            else answer.http_status != HTTP_OK and content_type == "application/json" and not self.has_no_code
        )
        self.status = STATUS[error.code] if self.is_grpc and self.by_service else answer.http_status
        self._in_doubt = earlier is not None and earlier.outcome == "unknown"

    @property
    def outcome(self) -> "Outcome":
        """Whether the request was processed, as far as this attempt and earlier ones prove it."""
        if self._in_doubt:
            return "unknown"
        if isinstance(self.error.__cause__, NotSentError):
            return "not_sent"
        if self.status is None:
            # Without a cause, the deadline passed before anything was sent.
            return "unknown" if self.error.__cause__ else "not_sent"
        if self.by_service:
            refused = self.error.code in REFUSALS or self.is_shed
        else:
            refused = self.status in (*REDIRECTS, *CLIENT_ERRORS)
        return "rejected" if refused and self.status not in PROVES_NOTHING else "unknown"

    @property
    def is_shed(self) -> bool:
        """Whether the service refused the request because of load, and did not process it.

        gRPC proxies also answer UNAVAILABLE if a connection breaks after they forwarded the request. So with gRPC
        only a RetryInfo, which the service itself adds, proves it.
        """
        if not self.by_service or self.error.code not in SHEDDING:
            return False
        return self.retry_info is not None if self.is_grpc else self.status in (429, 503)

    @property
    def is_transient(self) -> bool:
        """Whether another attempt may succeed. It says nothing about whether one is safe."""
        cause = self.error.__cause__
        if isinstance(cause, GitpodError | asyncio.CancelledError):
            return False
        if isinstance(cause, NotSentError):
            return not cause.permanent
        # A failure with status 200 is an answer that was cut off or garbled.
        return self.status is None or self.status in {HTTP_OK, *TRANSIENT}

    @cached_property
    def details(self) -> list[Message]:
        """The decoded details of the error, of the types that this package knows."""
        if not can_import():
            # The interpreter is ending, so their types cannot be loaded.
            return []
        return [message for detail in self.error.details if (message := _decoded(detail)) is not None]

    @property
    def retry_info(self) -> float | None:
        """Seconds until the next attempt, as the service asks for in `google.rpc.RetryInfo`."""
        if not self.details:
            return None
        from gitpod_proto.google.rpc.error_details_pb import RetryInfo  # only when something fails

        asked = [detail.retry_delay for detail in self.details if isinstance(detail, RetryInfo)]
        seconds = (delay.seconds + delay.nanos / 1e9 if delay else 0.0 for delay in asked)
        return max((max(0.0, each) for each in seconds), default=None)


def forget_frames(error: BaseException | None) -> None:
    """Remove the frames of a failure and its causes. They would keep the request in memory.

    Contexts are not followed: a context may be an error that the caller is handling.
    """
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        error.__traceback__ = error.__context__ = None
        error = error.error if isinstance(error, Failure) else error.__cause__


def _decoded(detail: ErrorDetail) -> Message | None:
    """Decode a detail that is a google.rpc message or protovalidate's violations. Return None for others."""
    from protovalidate import ViolationsPb  # only when something fails

    from gitpod_proto.google.rpc import error_details_pb

    package, _, name = detail.type_name.rpartition(".")
    known: Any = getattr(error_details_pb, name, None) if package == "google.rpc" else None
    if detail.type_name == ViolationsPb.desc().type_name:
        known = ViolationsPb
    if Message not in getattr(known, "__bases__", ()):
        return None
    try:
        message: Message | None = detail.value(known)
    except ValueError:
        # The error is reported without this detail.
        return None
    return message
