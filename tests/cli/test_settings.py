"""Settings from the environment and the configuration file, and what `config` shows of them."""

import uuid
from pathlib import Path
from typing import Any

import pytest
from tests.support.service import TOKEN
from tests.support.shell import VALUE, Shell


def write_config(shell: Shell, text: str, mode: int = 0o600) -> Path:
    """Write the configuration file."""
    file = shell.home / ".config" / "gitpod-secrets" / "config.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return file


def test_settings_come_from_the_environment_then_from_the_file(shell: Shell) -> None:
    """`config` shows where each came from, and masks the token."""
    user = str(uuid.uuid4())
    file = write_config(shell, f'base_url = "{shell.url}"\napi_key = "{TOKEN}"\nuser_id = "{user}"\n')
    none: dict[str, Any] = {"GITPOD_BASE_URL": "", "GITPOD_API_KEY": "", "GITPOD_PROJECT_ID": ""}
    shell.run("put", "OF_FILE", stdin=VALUE, **none)
    assert shell.run("list", "--json", **none).items[0]["scope"] == {"userId": user}
    done = shell.run("config", **none)
    assert done.rows == [
        ["base_url", shell.url, str(file)],
        ["api_key", "…", str(file)],
        ["user_id", user, str(file)],
    ]
    assert done.err == f"gitpod-secrets: the configuration file is {file}\n"
    rows = {row[0]: row[1:] for row in shell.run("config", GITPOD_API_KEY="another-token-of-tests").rows}
    assert rows == {
        "base_url": [shell.url, "GITPOD_BASE_URL"],
        "api_key": ["…ests", "GITPOD_API_KEY"],
        "project_id": [shell.project, "GITPOD_PROJECT_ID"],
    }


@pytest.mark.parametrize("scope", ["project", "user", "organization", "service-account"])
def test_an_option_overrides_the_environment_and_that_the_file(shell: Shell, scope: str) -> None:
    """A scope overrides the scopes of every kind below it."""
    option, file = str(uuid.uuid4()), str(uuid.uuid4())
    shell.put("OF_OPTION", scope={f"{scope.replace('-', '_')}_id": option})
    shell.put("OF_FILE", scope={"organization_id": file})
    shell.put("OF_ENVIRONMENT")
    write_config(shell, f'organization_id = "{file}"\nbase_url = "http://127.0.0.1:1"\n')
    assert [row[0] for row in shell.run("list", f"--{scope}", option).rows] == ["OF_OPTION"]
    assert [row[0] for row in shell.run("list").rows] == ["OF_ENVIRONMENT"]
    assert [row[0] for row in shell.run("list", GITPOD_PROJECT_ID="").rows] == ["OF_FILE"]


def test_without_settings_the_service_is_the_hosted_one(shell: Shell) -> None:
    """`config` shows that, says that there is no configuration file, and masks a password in a URL."""
    done = shell.run("config", GITPOD_BASE_URL="", GITPOD_API_KEY="", GITPOD_PROJECT_ID="")
    file = shell.home / ".config/gitpod-secrets/config.toml"
    assert done.err == f"gitpod-secrets: there is no configuration file {file}\n"
    assert done.rows == [["base_url", "https://app.ona.com/api", "default"]]


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (f"postgresql://me:{VALUE}@host/db", "postgresql://…@host/db"),
        (f"postgresql://host/db?password={VALUE}", "postgresql://host/db?…"),
        (f"postgresql://host/db?password={VALUE}@x", "postgresql://…"),
        (f"postgresql://me:x@{VALUE}@host/db", "postgresql://…"),
        (f"postgresql://me:{VALUE}/x@host/db", "postgresql://…"),
        (f"postgresql://me:{VALUE}?x@host/db", "postgresql://…"),
        (f"postgresql://me:{VALUE}/db", "postgresql://…"),
        (f"https://me:{VALUE}@host/api", "https://…@host/api"),
        (f"https://host/api?token={VALUE}", "https://host/api?…"),
        (f"me:{VALUE}@host", "…"),
        ("http://[::1]:8080/api", "http://[::1]:8080/api"),
    ],
)
def test_a_password_in_a_url_is_masked(shell: Shell, url: str, text: str) -> None:
    """Also in a URL that no command takes."""
    shown = shell.run("config", GITPOD_BASE_URL=url)
    assert shown.rows[0][1] == text
    assert VALUE.encode() not in shown.out


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        (f"sqlite:///{VALUE}%41.db", "the store's path must not hold a percent sign"),
        (f"postgresql://me:{VALUE}@host/db?mode=x", "the store's URL: mode: is not a parameter of libpq"),
        (f"https://me:{VALUE}@host", "must not hold a user name or password"),
    ],
)
def test_a_url_is_named_as_it_was_set(shell: Shell, url: str, rule: str) -> None:
    """A variable, or the name in the configuration file."""
    done = shell.run("list", code=2, GITPOD_BASE_URL=url)
    assert f"gitpod-secrets: error: GITPOD_BASE_URL: {rule}" in done.err
    assert VALUE not in done.err
    file = write_config(shell, f'base_url = "{url}"')
    done = shell.run("list", code=2, GITPOD_BASE_URL="")
    assert f"gitpod-secrets: error: {file}: base_url: {rule}" in done.err
    assert VALUE not in done.err


def test_a_token_and_a_certificate_are_named_as_they_were_set(shell: Shell) -> None:
    """The SDK has other names for them."""
    assert "error: GITPOD_API_KEY: must be printable ASCII" in shell.run("list", code=2, GITPOD_API_KEY="tökén").err
    file = write_config(shell, 'base_url = "https://127.0.0.1:1"\nca_cert = "/nowhere.pem"')
    done = shell.run("list", code=2, GITPOD_BASE_URL="")
    assert f"error: {file}: ca_cert: there is no file /nowhere.pem" in done.err


BAD_FILES = {
    "open to others": (f'api_key = "{VALUE}"', "holds a token, and is open to other users; chmod 600 it"),
    "unknown": ('token = "x"', "token: is not a setting; those are base_url, api_key"),
    "not TOML": (f"api_key = {VALUE}", "is not valid TOML"),
    "no string": ("base_url = 3", "base_url: must be a string"),
    "two scopes": ('project_id = "x"\nuser_id = "x"', "must have one of project_id, user_id"),
}


@pytest.mark.parametrize("which", BAD_FILES)
def test_a_file_that_is_wrong_is_refused(shell: Shell, which: str) -> None:
    """Every command that reads it reports what is wrong."""
    text, message = BAD_FILES[which]
    file = write_config(shell, text, 0o640 if which == "open to others" else 0o600)
    for done in shell.each(["config"], ["list"], code=2):
        assert f"gitpod-secrets: error: {file}: {message}" in done.err


def test_a_file_that_is_named_must_exist(shell: Shell) -> None:
    """The default file need not exist."""
    assert "GITPOD_CONFIG: there is no file /nowhere" in shell.run("config", code=2, GITPOD_CONFIG="/nowhere").err
    shell.run("config", GITPOD_CONFIG="")
