"""Code written for the `secrets` of gitpod-sdk 0.11 runs as it is; docs/migrating.md is right about the rest."""

import asyncio
import dataclasses
import importlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, get_type_hints

import httpx
import pytest
from tests.support.programs import run
from tests.support.service import ROOT, TOKEN

import gitpod
import gitpod.types
from gitpod import (
    APIError,
    APIStatusError,
    AsyncGitpod,
    BadRequestError,
    ConflictError,
    Gitpod,
    GitpodError,
    InvalidRequestError,
    NotFoundError,
)
from gitpod.pagination import AsyncSecretsPage, SecretsPagePagination, SyncSecretsPage
from gitpod.types import Secret, SecretCreateParams, SecretListParams, SecretScopeParam, SecretUpdateValueParams

GUIDE = (ROOT / "docs/migrating.md").read_text()
MOUNTS: list[dict[str, Any]] = [
    {"environment_variable": True},
    {"file_path": "/home/gitpod/.ssh/id_rsa"},
    {"container_registry_basic_auth_host": "https://registry.example.com"},
    {"api_only": True},
]
SCOPES = ["project_id", "user_id", "organization_id", "service_account_id"]
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


def section(title: str) -> str:
    """A section of the guide, up to the next of its level."""
    return re.split(r"^## ", GUIDE.partition(f"\n## {title}\n")[2], flags=re.MULTILINE)[0]


def names_in(title: str, row: str) -> list[str]:
    """The names in code style in the second cell of a row of a section's table."""
    [found] = [line.split(" | ")[1] for line in section(title).splitlines() if line.startswith(f"| {row} |")]
    return re.findall(r"`(\w+)`", found)


def violations(error: pytest.ExceptionInfo[InvalidRequestError]) -> list[tuple[str, str]]:
    """The field and the rule of everything that is wrong with a request."""
    return [(violation.field, violation.rule_id) for violation in error.value.violations]


class Application:
    """A WSGI application that gives one answer, and keeps what it was asked."""

    def __init__(self, status: str, body: bytes) -> None:
        self.status, self.body = status, body
        self.requests: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any], start: Callable[..., object]) -> list[bytes]:
        self.requests.append(environ)
        start(self.status, [("content-type", "application/json")])
        return [self.body]


@pytest.fixture
def client() -> Iterator[Gitpod]:
    """A client of a service of its own."""
    with Gitpod(bearer_token=TOKEN, base_url="sqlite://") as made:
        yield made


@pytest.fixture
def twin(runner: asyncio.Runner) -> Iterator[AsyncGitpod]:
    """The same for asyncio."""
    made = AsyncGitpod(bearer_token=TOKEN, base_url="sqlite://")
    yield made
    runner.run(made.close())


@pytest.fixture
def stored(client: Gitpod, project: str) -> list[str]:
    """The names of five secrets of the project."""
    names = [f"SECRET_{number}" for number in range(5)]
    for name in names:
        client.secrets.create(name=name, project_id=project, value="x", api_only=True)
    return names


@pytest.fixture
def secret(client: Gitpod, project: str) -> Secret:
    """One secret of the project."""
    return client.secrets.create(name="API_TOKEN", project_id=project, value="s3cret-value", api_only=True).secret


@pytest.mark.parametrize("mount", MOUNTS, ids=lambda mount: next(iter(mount)))
def test_create_takes_every_mount(client: Gitpod, project: str, mount: dict[str, Any]) -> None:
    """By its keyword, and the answer has it as an attribute."""
    answer = client.secrets.create(name="DOCKER_AUTH", project_id=project, value="user:password", **mount)
    [(name, value)] = mount.items()
    assert getattr(answer.secret, name) == value
    assert answer.secret.project_id == project


@pytest.mark.parametrize("scope", SCOPES)
def test_create_and_list_take_every_scope(client: Gitpod, project: str, scope: str) -> None:
    """As a mapping; `project` stands for an id of any kind."""
    owner: SecretScopeParam = {scope: project}  # type: ignore[misc]  # pyright: ignore[reportAssignmentType] # any of its keys
    made = client.secrets.create(name="API_TOKEN", scope=owner, value="x", environment_variable=True).secret
    assert made.scope
    assert getattr(made.scope, scope) == project
    assert [found.id for found in client.secrets.list(filter={"scope": owner})] == [made.id]


def test_a_secret_lives_through_all_calls(client: Gitpod, project: str) -> None:
    """Created, read, changed and deleted, with the keywords of 0.11."""
    secret = client.secrets.create(name="API_TOKEN", project_id=project, value="first", api_only=True).secret
    assert client.secrets.get_value(secret_id=secret.id).value == "first"
    client.secrets.update_value(secret_id=secret.id, value="second")
    assert client.secrets.get_value(secret_id=secret.id).value == "second"
    client.secrets.delete(secret_id=secret.id)
    assert list(client.secrets.list()) == []


def test_a_secret_lives_through_all_calls_in_asyncio(twin: AsyncGitpod, runner: asyncio.Runner, project: str) -> None:
    """The same, awaited."""

    async def main() -> tuple[str, list[Secret]]:
        secret = (await twin.secrets.create(name="API_TOKEN", project_id=project, value="1", api_only=True)).secret
        await twin.secrets.update_value(secret_id=secret.id, value="second")
        value = (await twin.secrets.get_value(secret_id=secret.id)).value
        await twin.secrets.delete(secret_id=secret.id)
        return value, [found async for found in twin.secrets.list()]

    assert runner.run(main()) == ("second", [])


@pytest.mark.parametrize("size", [{"pagination": {"page_size": 2}}, {"page_size": 2}, {}])
def test_iterating_goes_through_every_page(
    client: Gitpod, project: str, stored: list[str], size: SecretListParams
) -> None:
    """However the size of a page is asked for."""
    params: SecretListParams = {**size, "filter": {"scope": {"project_id": project}}}
    found = client.secrets.list(**params)
    assert [secret.name for secret in found] == stored


def test_pages_are_turned_by_hand(client: Gitpod, stored: list[str]) -> None:
    """By has_next_page and get_next_page, by iter_pages, and by a token of an earlier page."""
    page = client.secrets.list(pagination={"page_size": 3})
    assert [secret.name for secret in page.secrets] == stored[:3]
    assert page.has_next_page()
    following = page.get_next_page()
    assert [secret.name for secret in following.secrets] == stored[3:]
    assert not following.has_next_page()
    with pytest.raises(RuntimeError):
        following.get_next_page()
    assert [len(each.secrets) for each in page.iter_pages()] == [3, 2]


@pytest.mark.parametrize("nested", [True, False])
def test_a_token_leads_to_the_next_page(client: Gitpod, stored: list[str], *, nested: bool) -> None:
    """In `pagination` or beside it."""
    token = client.secrets.list(page_size=4).pagination.next_token
    assert token
    found = client.secrets.list(pagination={"token": token}) if nested else client.secrets.list(token=token)
    assert [secret.name for secret in found] == stored[4:]


def test_pages_are_turned_in_asyncio(twin: AsyncGitpod, runner: asyncio.Runner, project: str) -> None:
    """Await the list for its first page, and get_next_page for the one after it."""

    async def main() -> list[list[str]]:
        for number in range(3):
            await twin.secrets.create(name=f"SECRET_{number}", project_id=project, value="x", api_only=True)
        page = await twin.secrets.list(pagination={"page_size": 2})
        pages = [page, *([await page.get_next_page()] if page.has_next_page() else [])]
        return [[secret.name for secret in each.secrets] for each in pages] + [
            [secret.name for secret in each.secrets] async for each in page.iter_pages()
        ]

    assert runner.run(main()) == [["SECRET_0", "SECRET_1"], ["SECRET_2"]] * 2


def test_raw_responses(client: Gitpod, secret: Secret) -> None:
    """The status, the headers by name in any case, and the result by parse()."""
    response = client.secrets.with_raw_response.get_value(secret_id=secret.id)
    assert response.status_code == 200
    assert response.headers["X-Request-Id"] == response.headers.get("x-request-id")
    assert response.retries_taken == 0
    assert response.parse().value == "s3cret-value"


def test_raw_responses_in_asyncio(twin: AsyncGitpod, runner: asyncio.Runner, project: str) -> None:
    """The same, where parse() is awaited."""

    async def main() -> tuple[int | None, str | None, str]:
        create = twin.secrets.with_raw_response.create
        response = await create(name="API_TOKEN", project_id=project, value="x", api_only=True)
        return response.status_code, response.headers.get("content-type"), (await response.parse()).secret.name

    assert runner.run(main()) == (200, "application/proto", "API_TOKEN")


def test_a_taken_name_is_a_conflict(client: Gitpod, project: str, secret: Secret) -> None:
    """Caught by its name, with status, code and message."""
    with pytest.raises(ConflictError) as caught:
        client.secrets.create(name=secret.name, project_id=project, value="x", api_only=True)
    assert (caught.value.status_code, caught.value.code) == (409, "already_exists")
    assert caught.value.message == str(caught.value) == "already_exists: name: is taken in this scope"


def test_no_such_secret_is_not_found_in_asyncio(twin: AsyncGitpod, runner: asyncio.Runner, project: str) -> None:
    """Caught as an APIStatusError."""

    async def main() -> None:
        await twin.secrets.delete(secret_id=project)

    with pytest.raises(APIStatusError) as caught:
        runner.run(main())
    assert isinstance(caught.value, NotFoundError)
    assert (caught.value.status_code, caught.value.code) == (404, "not_found")


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


def test_the_environment_sets_a_client_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token and the address, by the names of 0.11; Client is another name of Gitpod."""
    monkeypatch.setenv("GITPOD_API_KEY", TOKEN)
    monkeypatch.setenv("GITPOD_BASE_URL", "https://secrets.example.com/api")
    assert gitpod.Client().base_url == gitpod.AsyncClient().base_url == "https://secrets.example.com/api"
    assert (gitpod.Client, gitpod.AsyncClient) == (Gitpod, AsyncGitpod)
    monkeypatch.delenv("GITPOD_API_KEY")
    with pytest.raises(GitpodError, match="GITPOD_API_KEY"):
        gitpod.Client()


def test_the_environment_turns_logs_on(project: str) -> None:
    """GITPOD_LOG=debug shows each attempt, and no value."""
    program = (
        "import sys; sys.stderr = sys.stdout\n"
        "from gitpod import Gitpod\n"
        "secrets, owner = Gitpod().secrets, {'project_id': sys.argv[1]}\n"
        "made = secrets.create(name='API_TOKEN', value='s3cret-value', scope=owner, api_only=True)\n"
        "print(secrets.get_value(secret_id=made.secret.id))\n"
    )
    shown = run(sys.executable, "-c", program, project, GITPOD_BASE_URL="sqlite://", GITPOD_LOG="debug")
    assert re.search(r"gitpod DEBUG .*CreateSecret", shown)
    assert "s3cret-value" not in shown


@pytest.mark.parametrize("method", ["with_options", "copy"])
def test_a_copy_has_options_of_its_own(method: str) -> None:
    """Its timeout and its retries."""
    application = Application("503 Service Unavailable", b'{"code": "unavailable"}')
    client = Gitpod(bearer_token=TOKEN, codec="json", http_client=application)
    copy: Gitpod = getattr(client, method)(timeout=5, max_retries=0)
    with pytest.raises(gitpod.InternalServerError):
        copy.secrets.list()
    [request] = application.requests
    assert 0 < int(request["HTTP_CONNECT_TIMEOUT_MS"]) <= 5000


def test_default_headers_are_added_up() -> None:
    """A copy's to the client's, and a call's own beside them."""
    application = Application("200 OK", b"{}")
    headers = {"x-one": "1", "x-two": "1"}
    client = Gitpod(bearer_token=TOKEN, codec="json", default_headers=headers, http_client=application)
    client.with_options(default_headers={"x-two": "2"}).secrets.list(extra_headers={"x-three": "3"})
    [request] = application.requests
    assert [request[f"HTTP_X_{name}"] for name in ("ONE", "TWO", "THREE")] == ["1", "2", "3"]
    assert request["HTTP_AUTHORIZATION"] == f"Bearer {TOKEN}"


def test_a_client_of_httpx_sends_the_requests() -> None:
    """As `http_client`, set up like any other."""
    application = Application("200 OK", b"{}")
    with httpx.Client(transport=httpx.WSGITransport(app=application)) as http:
        client = Gitpod(bearer_token=TOKEN, base_url="https://secrets.example.com/api", codec="json", http_client=http)
        assert list(client.secrets.list()) == []
    assert [request["HTTP_HOST"] for request in application.requests] == ["secrets.example.com"]


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


def test_two_mounts_are_refused_before_anything_is_sent(client: Gitpod, project: str) -> None:
    """With the rule; and not as what the service answers."""
    with pytest.raises(InvalidRequestError) as caught:
        client.secrets.create(
            name="API_TOKEN", project_id=project, value="x", environment_variable=True, file_path="/home/gitpod/token"
        )
    assert violations(caught) == [("mount", "oneof")]
    assert (caught.value.outcome, caught.value.attempts, caught.value.status_code) == ("not_sent", 0, None)
    assert not isinstance(caught.value, BadRequestError)


@pytest.mark.parametrize("method", ["create", "list", "get_value", "update_value", "delete"])
@pytest.mark.parametrize("option", ["extra_query", "extra_body"])
def test_queries_and_bodies_are_refused(client: Gitpod, project: str, method: str, option: str) -> None:
    """By every call, as parameters that there are not."""
    own: dict[str, dict[str, Any]] = {
        "create": {"name": "API_TOKEN", "value": "x", "project_id": project, "api_only": True},
        "list": {},
        "update_value": {"secret_id": project, "value": "x"},
    }
    with pytest.raises(InvalidRequestError) as caught:
        getattr(client.secrets, method)(**own.get(method, {"secret_id": project}), **{option: {"dryRun": "1"}})
    assert violations(caught) == [(option, "unknown_field")]


@pytest.mark.parametrize("seconds", [httpx.Timeout(5), None])
def test_a_timeout_is_a_number(client: Gitpod, seconds: Any) -> None:
    """For a client and for its copies."""
    with pytest.raises(GitpodError, match="timeout: must be a number of seconds"):
        Gitpod(bearer_token=TOKEN, timeout=seconds)
    with pytest.raises(GitpodError, match="timeout: must be a number of seconds"):
        client.with_options(timeout=seconds)


def test_the_timeout_of_a_call_is_a_number_or_none(client: Gitpod, secret: Secret) -> None:
    """None is the client's."""
    assert client.secrets.get_value(secret_id=secret.id, timeout=None).value == "s3cret-value"
    limit: Any = httpx.Timeout(5)
    with pytest.raises(InvalidRequestError, match="timeout: must be a number of seconds"):
        client.secrets.get_value(secret_id=secret.id, timeout=limit)


@pytest.mark.parametrize("option", ["default_query", "_strict_response_validation"])
def test_a_client_does_not_take(option: str) -> None:
    """What the guide says is gone."""
    gone: dict[str, Any] = {option: {}}
    with pytest.raises(TypeError, match=option):
        Gitpod(bearer_token=TOKEN, **gone)
    assert f"`{option}`" in section("What differs on purpose")


@pytest.mark.parametrize("option", ["set_default_headers", "base_url"])
def test_a_copy_does_not_take(client: Gitpod, option: str) -> None:
    """What would make it another client."""
    gone: dict[str, Any] = {option: "https://secrets.example.com"}
    with pytest.raises(GitpodError, match=f"{option}: is not an option"):
        client.with_options(**gone)


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


def test_a_value_does_not_show(client: Gitpod, secret: Secret) -> None:
    """But by its names."""
    value = client.secrets.get_value(secret_id=secret.id)
    assert "s3cret" not in f"{value} {value!r} {[value]}"
    assert value.value == value.reveal() == "s3cret-value"


def test_results_are_the_documented_json(secret: Secret) -> None:
    """With times as text; they are not set, but replaced."""
    assert secret.created_at
    assert datetime.fromisoformat(secret.to_dict()["createdAt"]) == secret.created_at
    assert json.loads(secret.to_json()) == secret.to_dict()
    assert dataclasses.replace(secret, name="OTHER").name == "OTHER"
    with pytest.raises(dataclasses.FrozenInstanceError):
        secret.name = "OTHER"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue] # which is the point


def test_changes_return_nothing(client: Gitpod, secret: Secret) -> None:
    """Where 0.11 returned an empty object."""
    update, delete = (getattr(client.secrets, name) for name in ("update_value", "delete"))
    assert update(secret_id=secret.id, value="second") is None
    assert delete(secret_id=secret.id) is None


def test_a_keyword_that_is_none_was_left_out(client: Gitpod, project: str) -> None:
    """As NOT_GIVEN and omit said it."""
    unset: dict[str, Any] = {"file_path": None, "scope": None, "container_registry_basic_auth_host": None}
    made = client.secrets.create(name="API_TOKEN", project_id=project, value="x", api_only=True, **unset)
    assert (made.secret.api_only, made.secret.file_path) == (True, None)


def test_the_hosted_service_is_the_one_of_the_guide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing says otherwise; the guide names both."""
    monkeypatch.delenv("GITPOD_BASE_URL", raising=False)
    url = Gitpod(bearer_token=TOKEN).base_url
    assert f"| the hosted service is `https://app.gitpod.io/api` | `{url}` |" in GUIDE


@pytest.mark.parametrize(
    ("url", "rule"), [(httpx.URL("https://secrets.example.com"), "string"), ("http://secrets.example.com", "http://")]
)
def test_addresses_are_text_and_safe(url: Any, rule: str) -> None:
    """Neither objects of httpx nor plain text on the network."""
    with pytest.raises(GitpodError, match=rule):
        Gitpod(bearer_token=TOKEN, base_url=url)


@pytest.mark.parametrize("status", ["408 Request Timeout", "409 Conflict", "500 Internal Server Error"])
def test_a_create_that_may_have_been_done_is_sent_once(project: str, status: str) -> None:
    """Where 0.11 sends it again; the error says what is known."""
    application = Application(status, b"{}")
    client = Gitpod(bearer_token=TOKEN, http_client=application)
    with pytest.raises(APIError) as caught:
        client.secrets.create(name="API_TOKEN", value="x", project_id=project, api_only=True)
    assert len(application.requests) == caught.value.attempts == 1
    assert caught.value.outcome == ("rejected" if status.startswith("409") else "unknown")


def test_put_takes_the_place_of_a_retried_create(client: Gitpod, project: str) -> None:
    """Once it creates, then it updates."""
    done = [
        client.secrets.put(name="API_TOKEN", value=value, project_id=project, api_only=True).action
        for value in ("first", "second")
    ]
    assert done == ["created", "updated"]


def test_the_guide_names_no_module_that_is_gone() -> None:
    """The parameters of a list are in gitpod.types, by names of their own."""
    assert {"SecretListFilter", "SecretListPagination"} <= set(gitpod.types.__all__)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("gitpod.types.secret_list_params")
