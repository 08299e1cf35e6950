"""Decides which calls are sent again, and when: an interceptor of connectrpc, for sync and async.

An interceptor sees the deadline of the whole call. It writes the time that is left into every attempt.
"""

import asyncio
import logging
import os
import random
import time
from collections.abc import Awaitable, Callable, Generator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel
from connectrpc.request import RequestContext

from gitpod._rpc.failure import Answer, Failure
from gitpod._rpc.mask import mask_of
from gitpod._rpc.steps import run, run_async

REQ = TypeVar("REQ")
RES = TypeVar("RES")

FIRST_DELAY, LONGEST_DELAY = 0.5, 8.0
"""Seconds: full jitter draws between 0 and FIRST_DELAY, doubled for each attempt up to LONGEST_DELAY."""

REPEATABLE = {"UpdateSecretValue"}
"""Calls that leave the same state when they are sent twice, although the contract does not mark them so."""

LONGEST_GRPC_MS = 100_000_000
"""`grpc-timeout` has room for eight digits."""

logger = logging.getLogger("gitpod")
if (level := os.environ.get("GITPOD_LOG", "").upper()) in ("DEBUG", "INFO"):
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logger.setLevel(level)


class RetryInterceptor:
    """Sends a call again when that is safe, at most `max_retries` times and never past its deadline.

    Raises `Failure` in place of `ConnectError`. Logs every attempt to the logger `gitpod` at DEBUG.

    Args:
        max_retries: how many attempts there may be after the first.
        repeat: send every call again, also those that are not safe to send twice.
        has_trailers: whether answers have trailers that connectrpc reads, as with gRPC and gRPC-Web.
    """

    def __init__(self, max_retries: int, *, repeat: bool = False, has_trailers: bool = False) -> None:
        self._max_retries = max_retries
        self._repeat = repeat
        self._has_trailers = has_trailers

    def intercept_unary_sync(
        self, call_next: Callable[[REQ, RequestContext[REQ, RES]], RES], request: REQ, ctx: RequestContext[REQ, RES], /
    ) -> RES:
        """Call until it succeeds or must not be repeated (connectrpc.interceptor.UnaryInterceptorSync)."""
        answer = Answer(1, has_trailers=self._has_trailers)
        try:
            with answer:
                message = call_next(request, ctx)
        except ConnectError as error:
            failure = Failure(error, answer, None)
        else:
            _log(request, ctx, answer, "ok")
            return message

        def take(pause: float | None) -> RES | None:
            if pause is None:
                return call_next(request, ctx)
            time.sleep(pause)
            return None

        return run(self._steps(failure, answer, request, ctx), take)

    async def intercept_unary(
        self,
        call_next: Callable[[REQ, RequestContext[REQ, RES]], Awaitable[RES]],
        request: REQ,
        ctx: RequestContext[REQ, RES],
        /,
    ) -> RES:
        """`intercept_unary_sync` for connectrpc.interceptor.UnaryInterceptor."""
        answer = Answer(1, has_trailers=self._has_trailers)
        try:
            with answer:
                message = await call_next(request, ctx)
        except ConnectError as error:
            failure = Failure(error, answer, None)
        else:
            _log(request, ctx, answer, "ok")
            return message

        def take(pause: float | None) -> Awaitable[RES | None]:
            return call_next(request, ctx) if pause is None else asyncio.sleep(pause)

        return await run_async(self._steps(failure, answer, request, ctx), take)

    def _steps(
        self, failure: Failure, answer: Answer, request: REQ, ctx: RequestContext[REQ, RES]
    ) -> Generator[float | None, Any, RES]:
        """Yield what follows the failed first attempt: a number for a pause of seconds, None for another attempt.

        The attempt gives the answer or a ConnectError. Returns the answer of the call.

        Raises:
            Failure: the call failed, and must not be sent again.
        """
        while (delay := self._delay(failure, answer, request, ctx)) is not None:
            yield delay
            _write_deadline(ctx)
            answer = Answer(failure.attempts + 1, has_trailers=self._has_trailers)
            with answer:
                try:
                    message: RES = yield None
                except ConnectError as error:
                    failure = Failure(error, answer, failure)
                else:
                    _log(request, ctx, answer, "ok")
                    return message
        return ctx.method.output()

    def _delay(self, failure: Failure, answer: Answer, request: object, ctx: RequestContext[Any, Any]) -> float | None:
        """Return the seconds until the next attempt, or None if the call is done. Raise the failure if it is final."""
        _log(request, ctx, answer, failure.error.code.value)
        is_gone = failure.by_service and failure.error.code is Code.NOT_FOUND and ctx.method.name == "DeleteSecret"
        if is_gone and failure.attempts > 1:
            # An earlier attempt has deleted it.
            return None
        is_repeatable = ctx.method.idempotency_level is not IdempotencyLevel.UNKNOWN or ctx.method.name in REPEATABLE
        is_harmless = self._repeat or is_repeatable or failure.outcome == "not_sent" or failure.is_shed
        if failure.attempts > self._max_retries or not failure.is_transient or not is_harmless:
            raise failure
        asked = [_retry_after(failure.headers.get("retry-after")), failure.retry_info]
        delay = max((seconds for seconds in asked if seconds is not None), default=None)
        if delay is None:
            delay = random.uniform(0, min(LONGEST_DELAY, FIRST_DELAY * 2 ** (failure.attempts - 1)))  # noqa: S311
        left = ctx.timeout_ms
        if left is not None and delay * 1000 >= left:
            raise failure
        logger.info("%s is sent again in %.2f s", ctx.method.name, delay)
        return delay


def _retry_after(header: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for (RFC 9110 section 10.2.3: seconds, or a date)."""
    if header is None:
        return None
    if header.isascii() and header.isdigit():
        return float(header)
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None


def _log(request: Any, ctx: RequestContext[Any, Any], answer: Answer, code: str) -> None:  # noqa: ANN401 # a message
    if logger.isEnabledFor(logging.DEBUG):
        request_id = answer.headers.get("x-request-id", "")
        logger.debug(
            "%s /%s/%s attempt=%d code=%s status=%s duration=%.1fms request_id=%s",
            ctx.http_method,
            ctx.method.service_name,
            ctx.method.name,
            answer.attempts,
            code,
            answer.http_status,
            answer.elapsed * 1000,
            mask_of(request, ctx.request_headers)(request_id) if request_id else "none",
        )


def _write_deadline(ctx: RequestContext[Any, Any]) -> None:
    if (left := ctx.timeout_ms) is None:
        return
    milliseconds = max(1, int(left))
    if "grpc-timeout" in ctx.request_headers:
        short = milliseconds < LONGEST_GRPC_MS
        ctx.request_headers["grpc-timeout"] = f"{milliseconds}m" if short else f"{milliseconds // 1000}S"
    else:
        ctx.request_headers["connect-timeout-ms"] = str(milliseconds)
