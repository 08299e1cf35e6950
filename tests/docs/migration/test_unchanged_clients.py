"""Clients are set up, copied and given headers as in gitpod-sdk 0.11."""

import re
import sys

import httpx
import pytest
from tests.support.migration import Application
from tests.support.programs import run
from tests.support.service import TOKEN

import gitpod
from gitpod import AsyncGitpod, Gitpod, GitpodError


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
