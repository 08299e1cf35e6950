"""The options of a client: where they come from, what is refused, and what a copy shares."""

import os
from typing import Any, cast

import pytest
from tests.support.caller import Caller
from tests.support.service import TOKEN, Service

import gitpod
from gitpod import AsyncGitpod, Gitpod, GitpodError

BOTH = pytest.mark.parametrize("kind_of", [Gitpod, AsyncGitpod])


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No option from the environment that the tests run in."""
    for name in ("GITPOD_API_KEY", "GITPOD_BASE_URL", "GITPOD_ALLOW_PLAINTEXT"):
        monkeypatch.delenv(name, raising=False)


@BOTH
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_token_names_the_variable(
    kind_of: type[Gitpod | AsyncGitpod], monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    """In the constructor, not at the first call."""
    if value is not None:
        monkeypatch.setenv("GITPOD_API_KEY", value)
    with pytest.raises(GitpodError, match=r"bearer_token: missing.*GITPOD_API_KEY"):
        kind_of(bearer_token=os.environ.get("GITPOD_API_KEY"))


@BOTH
def test_an_embedded_service_needs_no_token(kind_of: type[Gitpod | AsyncGitpod]) -> None:
    """It would take any."""
    assert kind_of(base_url="sqlite://").base_url == "sqlite://"


@BOTH
def test_the_environment_gives_token_and_url(
    kind_of: type[Gitpod | AsyncGitpod], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And an argument wins over it; without either, the hosted service is called."""
    monkeypatch.setenv("GITPOD_API_KEY", "from-the-environment")
    assert kind_of().base_url == "https://app.ona.com/api"
    monkeypatch.setenv("GITPOD_BASE_URL", "https://secrets.example.com/api/")
    assert kind_of().base_url == "https://secrets.example.com/api"
    assert kind_of(base_url="https://other.example.com").base_url == "https://other.example.com"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bearer_token": "line\n"}, "bearer_token: must be printable ASCII"),
        ({"bearer_token": b"bytes"}, "bearer_token: must be printable ASCII"),
        ({"base_url": 3}, "base_url: must be a string"),
        ({"base_url": "http://localhost.example.com"}, "base_url: http:// would show the token"),
        ({"base_url": "https://host?"}, "base_url: must not hold a query"),
        ({"base_url": "http://[::1%25lo]"}, "base_url: must not hold a query, a fragment, escapes"),
        ({"base_url": "HTTP://10.0.0.1"}, "base_url: http:// would show the token"),
        ({"base_url": "http://10.0.0.1", "allow_plaintext": "false"}, "allow_plaintext: must be True or False"),
        ({"default_headers": "a: b"}, "default_headers: must be a mapping"),
        ({"default_headers": {"a": 1}}, "default_headers: must be a mapping of strings"),
        ({"bearer_token": "tökén"}, "bearer_token: must be printable ASCII"),
        ({"base_url": "https://"}, "base_url: must have a host after https://"),
        ({"base_url": "http://:8080/api"}, "base_url: must have a host after http://"),
        ({"base_url": "ftp://host"}, "base_url: must start with https://, http://, sqlite: or postgresql:"),
        ({"base_url": "host"}, "base_url: must start with"),
        ({"base_url": "https:/host"}, "base_url: must start with"),
        ({"base_url": "https://host:port"}, "base_url: is not a valid URL"),
        ({"base_url": "http://[::1]evil.example"}, "base_url: is not a valid URL"),
        ({"base_url": "https://[v1.x]"}, "base_url: is not a valid URL"),
        ({"http2": "yes"}, "http2: must be True or False"),
        ({"protocol": "soap"}, 'protocol: must be "connect", "grpc" or "grpc-web"'),
        ({"compression": "br"}, 'compression: must be None, "gzip" or "zstd"'),
        ({"default_headers": {"Host": "a"}}, "default_headers: 'Host' is for the protocol to say"),
        ({"base_url": "https://user:hunter2@host"}, "base_url: must not hold a user name or password"),
        ({"base_url": "https://host/?q=1"}, "base_url: must not hold a query"),
        ({"base_url": "https://ho st"}, "base_url: must not hold"),
        ({"base_url": "http://secrets.example.com"}, "base_url: http:// would show the token"),
        ({"base_url": "http://10.0.0.1"}, "base_url: http:// would show the token"),
        ({"timeout": 0}, "timeout: must be a number of seconds"),
        ({"timeout": -1}, "timeout: must be a number of seconds"),
        ({"timeout": float("nan")}, "timeout: must be a number of seconds"),
        ({"timeout": float("inf")}, "timeout: must be a number of seconds"),
        ({"timeout": 10_000_000}, "timeout: must be a number of seconds"),
        ({"timeout": "60"}, "timeout: must be a number of seconds"),
        ({"max_retries": -1}, "max_retries: must be a whole number"),
        ({"max_retries": 1.5}, "max_retries: must be a whole number"),
        ({"codec": "xml"}, 'codec: must be "binary" or "json"'),
        ({"default_headers": {"a b": "c"}}, "default_headers: a header's name"),
        ({"default_headers": {"a": "hunter2\r\nx: y"}}, "default_headers: the value of 'a'"),
    ],
)
def test_a_bad_option_is_named(options: dict[str, Any], message: str) -> None:
    """In the constructor, and without what was given."""
    with pytest.raises(GitpodError) as caught:
        Gitpod(**cast("Any", {"bearer_token": TOKEN, **options}))
    assert str(caught.value).startswith(message)
    assert "hunter2" not in str(caught.value)


@BOTH
@pytest.mark.parametrize("setting", ["bearer_token", "GITPOD_API_KEY"])
@pytest.mark.parametrize(
    "token", ["Bearer hunter2", "BEARER hunter2", "'hunter2'", '"hunter2', "hunter2 x", "hunter2\r"]
)
def test_a_bad_token_is_named_as_it_was_set(
    kind_of: type[Gitpod | AsyncGitpod], setting: str, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the constructor: the argument, or the variable."""
    monkeypatch.setenv("GITPOD_API_KEY", token)
    with pytest.raises(GitpodError) as caught:
        kind_of(bearer_token=token if setting == "bearer_token" else None)
    assert str(caught.value).startswith(f"{setting}: must be ")
    assert "hunter2" not in str(caught.value)


STORES = {
    "sqlite:///hunter2%41.db": "the store's path must not hold a percent sign",
    "sqlite:///hunter2?x.db": "the store's path must not hold a question mark",
    "sqlite://hunter2.db": "the store must be sqlite:///path/to/file.db",
    "postgresql://me:hunter2@x@host/db": "the store's URL has more than one @",
    "postgresql://me:hunter2@host/db?mode=x": "the store's URL: mode: is not a parameter of libpq",
    "http://me:hunter2@host": "must not hold a user name or password",
    "hunter2": "must start with https://",
}


@BOTH
@pytest.mark.parametrize(("url", "rule"), STORES.items())
@pytest.mark.parametrize("setting", ["base_url", "GITPOD_BASE_URL"])
def test_a_bad_url_is_named_as_it_was_set(
    kind_of: type[Gitpod | AsyncGitpod], setting: str, url: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the constructor: the argument, or the variable."""
    monkeypatch.setenv("GITPOD_BASE_URL", url)
    with pytest.raises(GitpodError) as caught:
        kind_of(bearer_token=TOKEN, base_url=url if setting == "base_url" else None)
    assert str(caught.value).startswith(f"{setting}: {rule}")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me@a.example:5432,[::1]:5433/db", "postgresql://…@a.example:5432,[::1]:5433/db"),
        ("postgresql://me:hunter2@host/db?sslmode=require", "postgresql://…@host/db?…"),
        ("postgresql:///db?host=/run/pg&password=hunter2", "postgresql:///db?…"),
        ("postgresql://host", "postgresql://host"),
        ("sqlite:///a@b.db", "sqlite:///a@b.db"),
    ],
)
def test_a_store_is_shown_without_credentials(url: str, shown: str) -> None:
    """Neither those before the host nor those among the parameters."""
    client = Gitpod(base_url=url)
    assert client.base_url == shown
    assert repr(client) == f"Gitpod(base_url={shown!r})"


@pytest.mark.parametrize("url", ["http://localhost:1", "http://127.0.0.1", "http://127.1.2.3", "http://[::1]:8080"])
def test_plain_http_is_for_this_machine(url: str) -> None:
    """Loopback needs no permission; anything else does."""
    assert Gitpod(bearer_token=TOKEN, base_url=url.replace("http", "HTTP")).base_url == url
    assert Gitpod(bearer_token=TOKEN, base_url=url).base_url == url


def test_plain_http_elsewhere_must_be_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the option or by the environment."""
    assert Gitpod(bearer_token=TOKEN, base_url="http://secrets", allow_plaintext=True).base_url == "http://secrets"
    monkeypatch.setenv("GITPOD_ALLOW_PLAINTEXT", "1")
    assert Gitpod(bearer_token=TOKEN, base_url="http://secrets").base_url == "http://secrets"


def test_a_copy_shares_the_connections() -> None:
    """It sees the same service, has its own options, and is closed with the original."""
    with Gitpod(bearer_token=TOKEN, base_url="sqlite://") as client:
        copied = client.with_options(codec="json", timeout=5, max_retries=0)
        secret = copied.secrets.create(
            name="SHARED", value="v", scope={"user_id": "b0e12f6c-4c67-429d-a4a6-d9838b5da047"}, api_only=True
        ).secret
        assert list(client.secrets.list()) == [secret]
    with pytest.raises(GitpodError, match="the client is closed"):
        copied.secrets.list()


def test_a_copy_checks_its_options() -> None:
    """Like the constructor, and it can be moved to no other service."""
    client = Gitpod(bearer_token=TOKEN)
    with pytest.raises(GitpodError, match="timeout: must be"):
        client.with_options(timeout=0)
    with pytest.raises(GitpodError, match="with_options: base_url: is not an option"):
        client.with_options(base_url="https://elsewhere.example.com")  # type: ignore[call-arg]


def test_headers_are_sent(service: Service) -> None:
    """Those of the client and those of the call; the call's win."""
    with Gitpod(bearer_token="wrong", base_url=service.url, default_headers={"X-Team": "a"}) as client:
        with pytest.raises(gitpod.AuthenticationError):
            client.secrets.list()
        client.secrets.list(extra_headers={"Authorization": f"Bearer {TOKEN}"})
        with pytest.raises(GitpodError, match="extra_headers: the value of 'x-a'"):
            client.secrets.list(extra_headers={"x-a": "b\n"})


def test_a_client_shows_no_token(client: Caller) -> None:
    """Neither does a copy, nor what hangs on it."""
    shown = (
        repr(client.client)
        + repr(client.client.secrets)
        + repr(vars(client.client))
        + repr(vars(client.client.secrets))
    )
    assert TOKEN not in shown
    assert client.client.base_url in repr(client.client)
