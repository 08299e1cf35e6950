"""`APIResponse`: what a call returns, together with the status, headers and trailers of the answer."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar

from gitpod._rpc.failure import LAST_ANSWER
from gitpod._rpc.tracebacks import without_frames, without_frames_async

if TYPE_CHECKING:
    from connectrpc.request import Headers

P = ParamSpec("P")
T = TypeVar("T")


class _Response(Generic[T]):
    """The result of a call and the HTTP answer it came with.

    A call may be sent several times, and `put` sends several RPCs: this is the last answer of all.

    Attributes:
        status_code: the HTTP status.
        headers: the headers, by name in any case.
        trailers: the trailers, by name in any case. Connect sends those of a unary RPC as headers `trailer-…`.
        request_id: the service's `x-request-id`; None if it sent none.
        retries_taken: number of attempts before this answer.
    """

    def __init__(self, parsed: T) -> None:
        answer = LAST_ANSWER.get()
        self._parsed = parsed
        self.status_code = answer.http_status
        self.headers: Headers = answer.headers
        self.trailers: Headers = answer.trailers
        self.request_id: str | None = self.headers.get("x-request-id")
        self.retries_taken = answer.attempts - 1

    def __repr__(self) -> str:
        return f"<{type(self).__name__} [{self.status_code}]>"


class APIResponse(_Response[T]):
    __doc__ = _Response.__doc__

    def parse(self) -> T:
        """Return what the call itself returns."""
        return self._parsed


class AsyncAPIResponse(_Response[T]):
    __doc__ = _Response.__doc__

    async def parse(self) -> T:
        """Return what the call itself returns when it is awaited."""
        return self._parsed


def raw(method: Callable[P, T]) -> Callable[P, APIResponse[T]]:
    """Make a call return its `APIResponse`."""

    @wraps(method)
    @without_frames
    def call(*args: P.args, **kwargs: P.kwargs) -> APIResponse[T]:
        return APIResponse(method(*args, **kwargs))

    return call


def araw(method: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[AsyncAPIResponse[T]]]:
    """Make an awaited call return its `AsyncAPIResponse`."""

    @wraps(method)
    @without_frames_async
    async def call(*args: P.args, **kwargs: P.kwargs) -> AsyncAPIResponse[T]:
        return AsyncAPIResponse(await method(*args, **kwargs))

    return call
