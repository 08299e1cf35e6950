"""Store secrets with `gitpod.v1.SecretService`.

`Gitpod().secrets.create(...)` is all that most programs need; `AsyncGitpod` is its twin for asyncio.
The names below load on first use, so that importing this package costs next to nothing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gitpod import pagination, types
    from gitpod._client import AsyncGitpod, Gitpod
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

    Client, AsyncClient = Gitpod, AsyncGitpod

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

_HOMES = {
    "APIResponse": ("_secrets.raw", "APIResponse"),
    "AsyncAPIResponse": ("_secrets.raw", "AsyncAPIResponse"),
    "AsyncClient": ("_client", "AsyncGitpod"),
    "AsyncGitpod": ("_client", "AsyncGitpod"),
    "Client": ("_client", "Gitpod"),
    "Gitpod": ("_client", "Gitpod"),
    "SecretValue": ("_secret_value", "SecretValue"),
    "__version__": ("_version", "__version__"),
}
"""The module of each name, and its name there; every other is an error's."""


if not TYPE_CHECKING:
    # A type checker would take any name for one of ours.
    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        if name in ("pagination", "types"):
            return import_module(f"{__name__}.{name}")
        module, attribute = _HOMES.get(name, ("errors", name))
        value: object = getattr(import_module(f"{__name__}.{module}"), attribute)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return __all__
