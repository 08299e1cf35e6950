"""The outermost interceptor: gives each call a request id, and keeps text of the request out of error messages."""

import traceback

from connectrpc.code import Code
from connectrpc.errors import ConnectError

from gitpod.server.auth import Ctx
from gitpod.server.edge.trailers import fitting
from gitpod.server.errors import OutcomeUnknownError, ServiceError, StoreUnavailableError
from gitpod.server.log import REQUEST, logger


class Guard:
    """Names every call in the answer and in the log, and replaces errors that may quote the request."""

    def on_start_sync(self, ctx: Ctx, /) -> None:
        """Name the request (connectrpc.interceptor.MetadataInterceptorSync)."""
        request = REQUEST.get()
        request.method = ctx.method.name
        ctx.response_headers["x-request-id"] = request.id
        ctx.response_headers["cache-control"] = "no-store"

    def on_end_sync(self, _token: None, ctx: Ctx, error: Exception | None, /) -> None:
        """Log the code of the call, and replace an error that is not the service's own."""
        safe = _safe_error(error, ctx)
        REQUEST.get().code = "ok" if safe is None else safe.code.value
        if safe is not None and REQUEST.get().protocol == "grpc":
            safe = fitting(safe)
        if safe is not None and safe is not error:
            raise safe from None

    async def on_start(self, ctx: Ctx, /) -> None:
        """`on_start_sync` for connectrpc.interceptor.MetadataInterceptor."""
        self.on_start_sync(ctx)

    async def on_end(self, token: None, ctx: Ctx, error: Exception | None, /) -> None:
        """`on_end_sync` for connectrpc.interceptor.MetadataInterceptor."""
        self.on_end_sync(token, ctx, error)


def _safe_error(error: Exception | None, ctx: Ctx) -> ConnectError | None:
    """Return what the caller may read of an error."""
    if error is None:
        return None
    if isinstance(error, ConnectError):
        return _safe_connect_error(error) or _unexpected(error, ctx)
    if isinstance(error, StoreUnavailableError):
        logger.info("request %s: %s: %s", REQUEST.get().id, error, error.reason)
        return ConnectError(Code.UNAVAILABLE, str(error))
    return _unexpected(error, ctx)


def _safe_connect_error(error: ConnectError) -> ConnectError | None:
    """Return the error itself if a handler raised it, or what it means if the runtime did; None if unexpected."""
    if error.__cause__ is None:
        # This message of the runtime quotes the request's header.
        is_quoting = error.message.startswith("unknown compression")
        return ConnectError(Code.UNIMPLEMENTED, "compression: send gzip, or none") if is_quoting else error
    if error.code is Code.DEADLINE_EXCEEDED:
        return ConnectError(error.code, "the deadline passed")
    if error.code is not Code.INTERNAL:
        # The runtime could not decode the body, and its message quotes the body.
        return ConnectError(error.code, "the request's body is not a valid message")
    return None


def _unexpected(error: Exception, ctx: Ctx) -> ConnectError:
    """Log an error and its traceback, and return what the caller may read of it."""
    request_id = REQUEST.get().id
    # The exception's message is left out, as it may quote a value.
    frames = "".join(traceback.format_tb(error.__traceback__))
    what = f"{type(error).__name__}: {error}" if isinstance(error, ServiceError) else type(error).__name__
    text = f"request {request_id}: {ctx.method.name}: {what}\n{frames}"
    logger.error(text, extra={"fields": {"request_id": request_id}})
    if isinstance(error, ServiceError):
        # Only the key raises this during a call, and it is used before anything is written.
        return ConnectError(Code.UNAVAILABLE, "the key cannot be used; nothing was written")
    if isinstance(error, OutcomeUnknownError):
        return ConnectError(Code.INTERNAL, "the store was lost during the commit; the outcome is not known")
    return ConnectError(Code.INTERNAL, f"internal error; the service's log has request {request_id}")
