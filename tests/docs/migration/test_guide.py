"""docs/migrating.md names what stays and what is gone, and its programs run."""

import importlib
import re
import sys
from typing import get_type_hints

import pytest
from tests.support.migration import GUIDE, MOUNTS, SCOPES, section
from tests.support.programs import run
from tests.support.service import TOKEN

import gitpod
import gitpod.types
from gitpod import APIError, APIStatusError, Gitpod, GitpodError, NotFoundError
from gitpod.pagination import AsyncSecretsPage, SecretsPagePagination, SyncSecretsPage
from gitpod.types import Secret, SecretCreateParams, SecretListParams, SecretScopeParam, SecretUpdateValueParams

# What `import gitpod` of 0.11 has for secrets.
TYPES = [
    "ErrorCode",
    "Principal",
    "Secret",
    "SecretCreateParams",
    "SecretCreateResponse",
    "SecretDeleteParams",
    "SecretGetValueParams",
    "SecretGetValueResponse",
    "SecretListParams",
    "SecretScope",
    "SecretScopeParam",
    "SecretUpdateValueParams",
    "Subject",
]
PAGES = ["AsyncSecretsPage", "SecretsPagePagination", "SyncSecretsPage"]
ERRORS = [
    "GitpodError",
    "APIError",
    "APIStatusError",
    "APITimeoutError",
    "APIConnectionError",
    "APIResponseValidationError",
    "BadRequestError",
    "AuthenticationError",
    "PermissionDeniedError",
    "NotFoundError",
    "ConflictError",
    "UnprocessableEntityError",
    "RateLimitError",
    "InternalServerError",
]


def names_in(title: str, row: str) -> list[str]:
    """The names in code style in the second cell of a row of a section's table."""
    [found] = [line.split(" | ")[1] for line in section(title).splitlines() if line.startswith(f"| {row} |")]
    return re.findall(r"`(\w+)`", found)


@pytest.mark.parametrize("name", ERRORS)
def test_the_exceptions_have_their_names_and_their_order(name: str) -> None:
    """Every one of 0.11, with the parents that it has there."""
    parents = {
        "GitpodError": Exception,
        "APIError": GitpodError,
        "APIStatusError": APIError,
        "APIConnectionError": APIError,
        "APIResponseValidationError": APIError,
        "APITimeoutError": gitpod.APIConnectionError,
    }
    assert getattr(gitpod, name).__bases__ == (parents.get(name, APIStatusError),)


def test_types_and_pages_are_attributes_of_the_package() -> None:
    """After a plain import, in a program that imported nothing else."""
    program = "import gitpod; print(gitpod.types.Secret.__name__, gitpod.pagination.SyncSecretsPage.__name__)"
    assert run(sys.executable, "-c", program) == "Secret SyncSecretsPage\n"


def test_pages_are_subscripted_at_run_time() -> None:
    """In annotations, which programs of today evaluate."""

    def first(page: SyncSecretsPage[Secret]) -> AsyncSecretsPage[Secret] | None:
        raise AssertionError(page)

    assert get_type_hints(first)["page"] == SyncSecretsPage[Secret]
    assert SecretsPagePagination(next_token="2").next_token == "2"


def test_the_parameters_have_the_names_of_0_11() -> None:
    """In the TypedDicts that programs build and pass by `**`."""
    assert set(SecretCreateParams.__annotations__) >= {
        "name",
        "value",
        "project_id",
        "scope",
        *(name for mount in MOUNTS for name in mount),
    }
    assert set(SecretListParams.__annotations__) == {"filter", "pagination", "page_size", "token"}
    assert set(SecretUpdateValueParams.__annotations__) == {"secret_id", "value"}
    assert list(SecretScopeParam.__annotations__) == SCOPES


@pytest.mark.parametrize(
    ("row", "names", "home"),
    [
        ("exceptions", ERRORS, gitpod),
        ("`gitpod.types`", TYPES, gitpod.types),
        ("`gitpod.pagination`", PAGES, gitpod.pagination),
    ],
)
def test_the_guide_names_what_stays(row: str, names: list[str], home: object) -> None:
    """All of it, and all of it is there."""
    assert sorted(names_in("What runs unchanged", row)) == sorted(names)
    assert [name for name in names if not hasattr(home, name)] == []


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL))
def test_the_programs_of_the_guide_run(block: str) -> None:
    """Without a warning, and print what their comments say."""
    shown = run(sys.executable, "-W", "error", "-c", block, GITPOD_BASE_URL="sqlite://")
    promised = re.findall(r"^ *print\(.*\)  # (.+)$", block, flags=re.MULTILINE)
    assert shown
    assert not promised or shown.splitlines() == promised


def test_the_guide_names_what_is_gone(client: Gitpod, secret: Secret, project: str) -> None:
    """Of the package, of its objects and of its errors."""
    with pytest.raises(NotFoundError) as caught:
        client.secrets.delete(secret_id=project)
    raw = client.secrets.with_raw_response.list()
    gone: list[tuple[object, str]] = [
        (gitpod, "`NOT_GIVEN`, `not_given`, `NotGiven`, `omit`, `Omit`, `Timeout`, `DefaultHttpxClient`, `BaseModel`"),
        (client, "`client.with_raw_response.secrets`"),
        (client, "environments, projects"),
        (client.secrets, "`with_streaming_response`"),
        (raw, "`.http_response`, `.text()`, `.json()`"),
        (secret, "`model_dump()`, `model_dump_json()`, `model_copy()`"),
        (caught.value, "`.response`, `.request`, `.body`"),
    ]
    here = section("What differs on purpose")
    assert [text for _, text in gone if text not in here] == []
    names = [(place, name) for place, text in gone for name in re.findall(r"\w+", text)]
    assert [name for place, name in names if name not in ("client", "secrets") and hasattr(place, name)] == []


def test_the_guide_names_what_exceptions_have() -> None:
    """In place of the response."""
    said = "`status_code`, `code`, `message`, `details`, `request_id`, `attempts`, `outcome`, `violations`"
    assert said in section("What differs on purpose")
    assert set(vars(APIError("x"))) == set(re.findall(r"`(\w+)`", said))


def test_the_hosted_service_is_the_one_of_the_guide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing says otherwise; the guide names both."""
    monkeypatch.delenv("GITPOD_BASE_URL", raising=False)
    url = Gitpod(bearer_token=TOKEN).base_url
    assert f"| the hosted service is `https://app.gitpod.io/api` | `{url}` |" in GUIDE


def test_the_guide_names_no_module_that_is_gone() -> None:
    """The parameters of a list are in gitpod.types, by names of their own."""
    assert {"SecretListFilter", "SecretListPagination"} <= set(gitpod.types.__all__)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("gitpod.types.secret_list_params")
