"""What may be sent again, and when; what a failure proves.

One policy for sync and async, as an interceptor: it sees the deadline of the whole call and writes what
is left of it into every attempt.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar

from connectrpc.client import ResponseMetadata
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel
from connectrpc.request import RequestContext

from gitpod._transport import HTTP_OK, was_unsent
from gitpod.errors import GitpodError

if TYPE_CHECKING:
    from gitpod.errors import Outcome

REQ = TypeVar("REQ")
RES = TypeVar("RES")

FIRST_DELAY, LONGEST_DELAY = 0.5, 8.0
"""Seconds: full jitter draws between 0 and FIRST_DELAY, doubled for each attempt up to LONGEST_DELAY."""

REDIRECTS, CLIENT_ERRORS = range(300, 400), range(400, 500)
SHEDDING = {429, 503}
PROVES_NOTHING = {303, 408, 499, 500, 502, 504}
"""Statuses that may come after the service was at work, whatever code goes with them."""

REFUSALS = {
    Code.INVALID_ARGUMENT,
    Code.NOT_FOUND,
    Code.ALREADY_EXISTS,
    Code.PERMISSION_DENIED,
    Code.UNAUTHENTICATED,
    Code.RESOURCE_EXHAUSTED,
    Code.FAILED_PRECONDITION,
    Code.ABORTED,
    Code.OUT_OF_RANGE,
    Code.UNIMPLEMENTED,
    Code.UNAVAILABLE,
}
"""Codes by which the service itself says that it did nothing. INTERNAL, UNKNOWN, DATA_LOSS,
DEADLINE_EXCEEDED and CANCELED may come after the fact."""

REPEATABLE = {"UpdateSecretValue"}
"""Calls that leave the same state when they are sent twice, though the contract does not mark them."""


class Answer(ResponseMetadata):
    """What is known of the answer to a call's last attempt, and how many attempts there were."""

    def __init__(self, attempts: int) -> None:
        self.attempts = attempts

    def __enter__(self) -> Self:
        LAST_ANSWER.set(self)
        return super().__enter__()


LAST_ANSWER: ContextVar[Answer] = ContextVar("gitpod_last_answer")
"""The answer to the call that this thread or task made last."""


class Failure(Exception):  # noqa: N818 # internal; errors.py makes the error of it
    """A call that failed for good: the last error, and what is known of its answer."""

    def __init__(self, error: ConnectError, answer: "Answer", earlier: "Failure | None") -> None:
        super().__init__()
        self.error = error
        self.status = answer.http_status
        self.headers = answer.headers
        self.attempts = answer.attempts
        self._in_doubt = earlier is not None and earlier.outcome == "unknown"

    @property
    def by_service(self) -> bool:
        """Whether the error is the service's own: a Connect error, not a proxy's page or a broken answer."""
        content_type = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        return self.error.__cause__ is None and self.status != HTTP_OK and content_type == "application/json"

    @property
    def outcome(self) -> "Outcome":
        """What became of the request, as far as this attempt and those before it prove it."""
        if self._in_doubt:
            return "unknown"
        if was_unsent(self.error.__cause__):
            return "not_sent"
        if self.status is None:
            # Without a cause the deadline had passed before anything was sent.
            return "unknown" if self.error.__cause__ else "not_sent"
        refused = self.error.code in REFUSALS if self.by_service else self.status in (*REDIRECTS, *CLIENT_ERRORS)
        return "rejected" if refused and self.status not in PROVES_NOTHING else "unknown"

    @property
    def is_shed(self) -> bool:
        """Whether the service turned the request away unprocessed, for now."""
        return (
            self.by_service
            and self.status in SHEDDING
            and self.error.code in (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED)
        )

    def retry_in(self, ctx: RequestContext[Any, Any], max_retries: int) -> float | None:
        """Seconds until the next attempt, or None when there must not be one."""
        if self.attempts > max_retries or isinstance(self.error.__cause__, GitpodError | asyncio.CancelledError):
            return None
        repeatable = ctx.method.idempotency_level is not IdempotencyLevel.UNKNOWN or ctx.method.name in REPEATABLE
        transient = repeatable and self.error.code in (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED)
        if not (self.outcome == "not_sent" or self.is_shed or transient):
            return None
        delay = _retry_after(self.headers.get("retry-after"))
        if delay is None:
            delay = random.uniform(0, min(LONGEST_DELAY, FIRST_DELAY * 2 ** (self.attempts - 1)))  # noqa: S311
        left = ctx.timeout_ms
        return None if left is not None and delay * 1000 >= left else delay


def _retry_after(header: str | None) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110 section 10.2.3: a number of seconds, or a date)."""
    if header is None:
        return None
    if header.isascii() and header.isdigit():
        return float(header)
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None


class RetryInterceptor:
    """Sends a call again when that is safe, at most `max_retries` times and never past its deadline.

    Raises `Failure` in place of `ConnectError`.
    """

    def __init__(self, max_retries: int) -> None:
        self._max_retries = max_retries

    def intercept_unary_sync(
        self, call_next: Callable[[REQ, RequestContext[Any, Any]], RES], request: REQ, ctx: RequestContext[Any, Any], /
    ) -> RES:
        """Call until it succeeds or must not be repeated (connectrpc.interceptor.UnaryInterceptorSync)."""
        failure, attempts = None, 0
        while True:
            attempts += 1
            with Answer(attempts) as answer:
                try:
                    return call_next(request, ctx)
                except ConnectError as error:
                    failure = Failure(error, answer, failure)
            time.sleep(self._delay(failure, ctx))
            _write_deadline(ctx)

    async def intercept_unary(
        self,
        call_next: Callable[[REQ, RequestContext[Any, Any]], Awaitable[RES]],
        request: REQ,
        ctx: RequestContext[Any, Any],
        /,
    ) -> RES:
        """`intercept_unary_sync` for connectrpc.interceptor.UnaryInterceptor."""
        failure, attempts = None, 0
        while True:
            attempts += 1
            with Answer(attempts) as answer:
                try:
                    return await call_next(request, ctx)
                except ConnectError as error:
                    failure = Failure(error, answer, failure)
            await asyncio.sleep(self._delay(failure, ctx))
            _write_deadline(ctx)

    def _delay(self, failure: Failure, ctx: RequestContext[Any, Any]) -> float:
        delay = failure.retry_in(ctx, self._max_retries)
        if delay is None:
            raise failure
        return delay


def _write_deadline(ctx: RequestContext[Any, Any]) -> None:
    if (left := ctx.timeout_ms) is not None:
        ctx.request_headers["connect-timeout-ms"] = str(max(1, int(left)))
