"""ListSecrets takes its pagination from the URL's query too, as gitpod-sdk 0.11 sends it."""

from collections.abc import Iterator

import httpx
import pytest
from tests.support.service import TOKEN, Service

from gitpod import Gitpod
from gitpod_proto.gitpod.v1.pagination_pb import PaginationRequest
from gitpod_proto.gitpod.v1.secret_pb import ListSecretsRequest, ListSecretsResponse, SecretScope

PATH = "/gitpod.v1.SecretService/ListSecrets"


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    """A plain HTTP client of the service."""
    with httpx.Client(base_url=service.url, headers={"authorization": f"Bearer {TOKEN}"}, trust_env=False) as client:
        yield client


@pytest.fixture
def names(service: Service, project: str) -> list[str]:
    """The names of five secrets in the project."""
    given = [f"NAME_{number}" for number in range(5)]
    with Gitpod(bearer_token=TOKEN, base_url=service.url) as client:
        for name in given:
            client.secrets.create(name=name, value="v", project_id=project, api_only=True)
    return given


def page(http: httpx.Client, project: str, query: dict[str, str], **pagination: object) -> tuple[list[str], str]:
    """The names on a page, and the token of the next one."""
    body = {"filter": {"scope": {"projectId": project}}, "pagination": pagination}
    response = http.post(PATH, params=query, json=body)
    assert response.status_code == 200, response.text
    answer = response.json()
    return [each["name"] for each in answer["secrets"]], answer["pagination"].get("nextToken", "")


@pytest.mark.parametrize("size", ["page_size", "pageSize"])
def test_a_list_is_walked_by_the_query(http: httpx.Client, project: str, names: list[str], size: str) -> None:
    """The body stays that of the first page."""
    found, token = page(http, project, {size: "2"})
    while token:
        more, token = page(http, project, {size: "2", "token": token})
        found += more
    assert found == names


def test_the_query_completes_the_body(http: httpx.Client, project: str, names: list[str]) -> None:
    """Each has one half of the pagination, or both have the same."""
    _, token = page(http, project, {}, pageSize=2)
    for query, body in (
        ({"token": token}, {"pageSize": 2}),
        ({"page_size": "2"}, {"token": token}),
        ({"token": token, "page_size": "2"}, {"token": token, "pageSize": 2}),
        ({"token": "", "page_size": ""}, {"token": token, "pageSize": 2}),
    ):
        assert page(http, project, query, **body)[0] == names[2:4]


def test_the_bodys_page_size_has_precedence(http: httpx.Client, project: str, names: list[str]) -> None:
    """A caller that gave both gets what the message says."""
    assert page(http, project, {"page_size": "4"}, pageSize=1)[0] == names[:1]


def test_a_binary_request_has_a_query_as_well(http: httpx.Client, project: str, names: list[str]) -> None:
    """The codec makes no difference."""
    scope = ListSecretsRequest.Filter(scope=SecretScope.from_json(f'{{"projectId": "{project}"}}'))
    body = ListSecretsRequest(filter=scope, pagination=PaginationRequest(page_size=3)).to_binary()
    _, token = page(http, project, {}, pageSize=3)
    response = http.post(PATH, params={"token": token}, content=body, headers={"content-type": "application/proto"})
    assert [each.name for each in ListSecretsResponse.from_binary(response.content).secrets] == names[3:]


@pytest.mark.parametrize(
    ("query", "body", "message"),
    [
        ({"token": "bmV4dA=="}, {"token": "Zmlyc3Q="}, "pagination.token: contradicts the token of the URL's query"),
        ({"token": "hunter2"}, {}, "pagination.token: is not one that this service gave"),
        ({"page_size": "hunter2"}, {}, "pagination.page_size: must be a whole number"),
        ({"page_size": "-1"}, {}, "pagination.page_size: must be a whole number"),
        ({"pageSize": "9999999999"}, {}, "pagination.page_size: must be a whole number"),
        ({"page_size": "101"}, {}, "pagination.page_size: "),
    ],
)
def test_a_query_that_is_no_pagination_is_refused(
    http: httpx.Client, query: dict[str, str], body: dict[str, str], message: str
) -> None:
    """The error names the field, and does not quote the query."""
    response = http.post(PATH, params=query, json={"pagination": body})
    assert (response.status_code, response.json()["code"]) == (400, "invalid_argument")
    assert message in response.json()["message"]
    assert "hunter2" not in response.text


def test_other_calls_ignore_the_query(http: httpx.Client, project: str) -> None:
    """A create has no pagination."""
    body = {"name": "QUERIED", "value": "v", "projectId": project, "apiOnly": True}
    path = "/gitpod.v1.SecretService/CreateSecret"
    assert http.post(path, params={"token": "t", "page_size": "x"}, json=body).status_code == 200
