"""Store secrets with `gitpod.v1.SecretService`.

`Gitpod().secrets.create(...)` is all that most programs need; `AsyncGitpod` is its twin for asyncio.
The names below load on first use, so that importing this package costs next to nothing.
"""

# In place of `typing.TYPE_CHECKING`: type checkers take it for true, and `typing` costs as much as an interpreter.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from gitpod import pagination, types
    from gitpod._client import AsyncClient, AsyncGitpod, Client, Gitpod
    from gitpod._secret_value import SecretValue
    from gitpod._secrets.raw import APIResponse, AsyncAPIResponse
    from gitpod._version import __version__
    from gitpod.errors import (
        APIConnectionError,
        APIError,
        APIResponseValidationError,
        APIStatusError,
        APITimeoutError,
        AuthenticationError,
        BadRequestError,
        ConflictError,
        GitpodError,
        InternalServerError,
        InvalidRequestError,
        NotFoundError,
        PermissionDeniedError,
        RateLimitError,
        UnprocessableEntityError,
        Violation,
    )

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIResponse",
    "APIResponseValidationError",
    "APIStatusError",
    "APITimeoutError",
    "AsyncAPIResponse",
    "AsyncClient",
    "AsyncGitpod",
    "AuthenticationError",
    "BadRequestError",
    "Client",
    "ConflictError",
    "Gitpod",
    "GitpodError",
    "InternalServerError",
    "InvalidRequestError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "SecretValue",
    "UnprocessableEntityError",
    "Violation",
    "__version__",
    "pagination",
    "types",
]

_MODULES = {
    "_client": ("AsyncClient", "AsyncGitpod", "Client", "Gitpod"),
    "_secret_value": ("SecretValue",),
    "_secrets.raw": ("APIResponse", "AsyncAPIResponse"),
    "_version": ("__version__",),
}
"""The names that each module exports here. The names of errors are left out: they are in `errors`."""


if not TYPE_CHECKING:
    # Type checkers would accept any name if they saw this function.
    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        if name in ("pagination", "types"):
            return import_module(f"{__name__}.{name}")
        home = next((module for module, names in _MODULES.items() if name in names), "errors")
        value: object = getattr(import_module(f"{__name__}.{home}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return __all__
