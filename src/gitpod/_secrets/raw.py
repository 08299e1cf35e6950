"""`with_raw_response`: what a call returns, with the status, headers and trailers that came with it."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar

from gitpod._rpc.failure import LAST_ANSWER
from gitpod._rpc.tracebacks import without_frames, without_frames_async

if TYPE_CHECKING:
    from connectrpc.request import Headers

    from gitpod._secrets.aio import AsyncSecrets
    from gitpod._secrets.sync import Secrets

__all__ = ["APIResponse", "AsyncAPIResponse", "AsyncSecretsWithRawResponse", "SecretsWithRawResponse"]

P = ParamSpec("P")
T = TypeVar("T")


class _Response(Generic[T]):
    """The answer to a call: to the last attempt, or to the last of the RPCs that it took.

    Attributes:
        status_code: the HTTP status.
        headers: by name in any case.
        trailers: likewise; Connect sends those of a unary RPC as headers `trailer-…`.
        request_id: the service's `x-request-id`, None when it gave none.
        retries_taken: how many attempts there were before this one.
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
        """What the call itself returns."""
        return self._parsed


class AsyncAPIResponse(_Response[T]):
    __doc__ = _Response.__doc__

    async def parse(self) -> T:
        """What the call itself returns, when awaited."""
        return self._parsed


class SecretsWithRawResponse:
    """`Gitpod().secrets.with_raw_response`: the calls of `Secrets`, each of which returns an `APIResponse`."""

    def __init__(self, secrets: "Secrets") -> None:
        self.create = _raw(secrets.create)
        self.put = _raw(secrets.put)
        self.list = _raw(secrets.list)
        self.get_value = _raw(secrets.get_value)
        self.update_value = _raw(secrets.update_value)
        self.delete = _raw(secrets.delete)


class AsyncSecretsWithRawResponse:
    """`AsyncGitpod().secrets.with_raw_response`: the calls of `AsyncSecrets`, which give an `AsyncAPIResponse`."""

    def __init__(self, secrets: "AsyncSecrets") -> None:
        self.create = _araw(secrets.create)
        self.put = _araw(secrets.put)
        self.list = _araw(secrets.list)
        self.get_value = _araw(secrets.get_value)
        self.update_value = _araw(secrets.update_value)
        self.delete = _araw(secrets.delete)


def _raw(method: Callable[P, T]) -> Callable[P, APIResponse[T]]:
    @without_frames
    def call(*args: P.args, **kwargs: P.kwargs) -> APIResponse[T]:
        return APIResponse(method(*args, **kwargs))

    return call


def _araw(method: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[AsyncAPIResponse[T]]]:
    @without_frames_async
    async def call(*args: P.args, **kwargs: P.kwargs) -> AsyncAPIResponse[T]:
        return AsyncAPIResponse(await method(*args, **kwargs))

    return call
