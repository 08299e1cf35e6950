"""What importing costs, what the package exports, and what the generated code depends on."""

import os
import subprocess
import sys

import pytest

import gitpod

HEAVY = ("protobuf", "google.protobuf", "asyncio", "pyqwest", "connectrpc", "protovalidate", "sqlalchemy", "httpx")
SLOW = (
    "typing",
    "re",
    "threading",
    "contextlib",
    "dataclasses",
    "functools",
    "urllib.parse",
    "json",
    "weakref",
    "enum",
)
"""Modules of the standard library. Together they cost more time than the interpreter takes to start."""


def loaded_by(program: str, candidates: tuple[str, ...] = HEAVY) -> set[str]:
    """Which of these modules a program loads."""
    report = f"{program}\nimport sys; print(*(name for name in {candidates!r} if name in sys.modules))"
    environment = os.environ | {"GITPOD_API_KEY": "x"}
    done = subprocess.run([sys.executable, "-c", report], env=environment, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "program",
    [
        "import gitpod",
        "from gitpod import Gitpod, AsyncGitpod, ConflictError; Gitpod(); AsyncGitpod()",
        "from gitpod import Gitpod; Gitpod(base_url='sqlite:///never-opened.db').with_options(timeout=1)",
        "import gitpod.errors, gitpod.types",
    ],
)
def test_nothing_heavy_loads_before_the_first_call(program: str) -> None:
    """Neither by importing the package nor by making a client."""
    assert loaded_by(program) == set()


@pytest.mark.parametrize(
    "program",
    [
        "import gitpod",
        "from gitpod import Gitpod, ConflictError; Gitpod(); Gitpod(timeout=5, max_retries=1, codec='json')",
        "from gitpod import AsyncGitpod; AsyncGitpod(protocol='grpc').with_options(timeout=1)",
    ],
)
def test_a_client_of_the_hosted_service_starts_fast(program: str) -> None:
    """Most programs that make a client call it later, or never. Packages that the site loads are not counted."""
    assert loaded_by(program, SLOW) == loaded_by("", SLOW)


def test_the_client_loads_no_server() -> None:
    """SQL is for those who embed the service."""
    assert "sqlalchemy" not in loaded_by("from gitpod import Gitpod; Gitpod().secrets")


def test_the_package_alone_loads_little() -> None:
    """`import gitpod` costs its own few lines."""
    program = "import sys; before = set(sys.modules); import gitpod; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["gitpod"]


def test_exports_are_these() -> None:
    """A name more or less is a decision."""
    assert gitpod.__all__ == sorted(gitpod.__all__)
    assert dir(gitpod) == gitpod.__all__
    assert gitpod.__all__ == [
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
    for name in gitpod.__all__:
        assert getattr(gitpod, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        gitpod.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_the_private_path_of_the_rules_exists() -> None:
    """The generated code imports it; `protovalidate<2.2` is pinned for it."""
    from protovalidate._gen.buf.validate import validate_pb

    assert validate_pb.desc().name == "buf/validate/validate.proto"
