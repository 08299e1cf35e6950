"""Store secrets with `gitpod.v1.SecretService`.

`Gitpod().secrets.create(...)` is all that most programs need; `AsyncGitpod` is its twin for asyncio.
The names below load on first use, so that importing this package costs next to nothing.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gitpod._client import AsyncGitpod, Gitpod
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
    "APIResponseValidationError",
    "APIStatusError",
    "APITimeoutError",
    "AsyncGitpod",
    "AuthenticationError",
    "BadRequestError",
    "ConflictError",
    "Gitpod",
    "GitpodError",
    "InternalServerError",
    "InvalidRequestError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "UnprocessableEntityError",
    "Violation",
    "__version__",
]

_HOMES = {"AsyncGitpod": "_client", "Gitpod": "_client", "__version__": "_version"}


if not TYPE_CHECKING:
    # A type checker would take any name for one of ours.
    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value: object = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return __all__
