"""Reads the pagination of ListSecrets from the URL's query too, where gitpod-sdk 0.11 puts it for later pages."""

import re
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TypeVar
from urllib.parse import parse_qs

from gitpod.server.auth import Ctx
from gitpod.server.rules import violation
from gitpod_proto.gitpod.v1.pagination_pb import PaginationRequest
from gitpod_proto.gitpod.v1.secret_pb import ListSecretsRequest

REQ = TypeVar("REQ")
RES = TypeVar("RES")

QUERY: ContextVar[str] = ContextVar("gitpod_query", default="")
"""The query of the URL of a Connect POST, else empty."""
SIZE = re.compile(r"[0-9]{1,9}")


class QueryPagination:
    """Completes the pagination of a ListSecrets request by `token` and `page_size` (or `pageSize`) of the query.

    The body's page size has precedence over the query's. An empty parameter counts as left out.

    Raises:
        ConnectError: INVALID_ARGUMENT, when body and query have different tokens, or the query's size is no number.
    """

    def intercept_unary_sync(self, call_next: Callable[[REQ, Ctx], RES], request: REQ, ctx: Ctx, /) -> RES:
        """Complete the request (connectrpc.interceptor.UnaryInterceptorSync)."""
        _complete(request, QUERY.get())
        return call_next(request, ctx)

    async def intercept_unary(self, call_next: Callable[[REQ, Ctx], Awaitable[RES]], request: REQ, ctx: Ctx, /) -> RES:
        """Complete the request (connectrpc.interceptor.UnaryInterceptor)."""
        _complete(request, QUERY.get())
        return await call_next(request, ctx)


def _complete(request: object, query: str) -> None:
    if not query or not isinstance(request, ListSecretsRequest):
        return
    given = {name: values[0] for name, values in parse_qs(query).items()}
    token, size = given.get("token", ""), given.get("page_size") or given.get("pageSize", "0")
    if SIZE.fullmatch(size) is None:
        raise violation("int32", "must be a whole number, in the URL's query too", "pagination", "page_size")
    pagination = request.pagination or PaginationRequest()
    if token and pagination.token not in ("", token):
        # A client that repeats its first body would get the same page for ever if the body's token were taken.
        raise violation("token_agrees", "contradicts the token of the URL's query", "pagination", "token")
    pagination.token = pagination.token or token
    pagination.page_size = pagination.page_size or int(size)
    request.pagination = pagination
