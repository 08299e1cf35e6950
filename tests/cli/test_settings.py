"""Settings from the environment and the configuration file, and what `config` shows of them."""

import json
import uuid

import pytest
from tests.support.service import TOKEN
from tests.support.settings_files import NONE, only, write_config
from tests.support.shell import VALUE, Shell


def test_settings_come_from_the_environment_then_from_the_file(shell: Shell) -> None:
    """`config` shows where each came from, and masks the token."""
    user = str(uuid.uuid4())
    file = write_config(shell, f'base_url = "{shell.url}"\napi_key = "{TOKEN}"\nuser_id = "{user}"\n')
    shell.run("put", "OF_FILE", stdin=VALUE, **NONE)
    assert shell.run("list", "--json", **NONE).items[0]["scope"] == {"userId": user}
    done = shell.run("config", **NONE)
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
    done = shell.run("config", **NONE)
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


@pytest.mark.parametrize(
    ("token", "rule"),
    [
        (f"Bearer {VALUE}", "must be the token alone, without the word Bearer"),
        (f"bearer  {VALUE}", "must be the token alone, without the word Bearer"),
        (f'"{VALUE}"', "must be the token alone, without quotes"),
        (f"'{VALUE}", "must be the token alone, without quotes"),
        (f"{VALUE}\n", "must be printable ASCII without spaces or line breaks"),
        (f" {VALUE}", "must be printable ASCII without spaces or line breaks"),
        (f"Basic {VALUE}", "must be printable ASCII without spaces or line breaks"),
    ],
)
def test_a_token_that_is_more_than_the_token_is_named_as_it_was_set(shell: Shell, token: str, rule: str) -> None:
    """A variable, or the name in the configuration file or in a profile."""
    assert f"error: GITPOD_API_KEY: {rule}\n" in shell.run("list", code=2, GITPOD_API_KEY=token).err
    settings = f"base_url = {json.dumps(shell.url)}\napi_key = {json.dumps(token)}\n"
    file = write_config(shell, f"{settings}[profiles.a]\n{settings}")
    assert f"error: {file}: api_key: {rule}\n" in shell.run("list", code=2, **NONE).err
    assert f"error: {file}: profiles.a: api_key: {rule}\n" in shell.run("--profile", "a", "list", code=2).err


@pytest.mark.parametrize("scope", ["project_id", "user_id", "organization_id", "service_account_id"])
def test_a_scope_that_is_no_id_is_named_as_it_was_set(shell: Shell, scope: str) -> None:
    """Not by the service, which knows no variables and no files."""
    assert "error: GITPOD_PROJECT_ID: is not a valid UUID" in shell.run("list", code=2, GITPOD_PROJECT_ID=VALUE).err
    file = write_config(shell, f'{scope} = "{VALUE}"\n[profiles.a]\n{scope} = "{VALUE}"\n')
    assert f"error: {file}: {scope}: is not a valid UUID" in shell.run("list", code=2, GITPOD_PROJECT_ID="").err
    done = shell.run("--profile", "a", "list", code=2)
    assert f"error: {file}: profiles.a: {scope}: is not a valid UUID" in done.err


@pytest.mark.parametrize("form", ["{}", "{{{}}}", "urn:uuid:{}", "hexadecimal digits", "capitals"])
def test_a_scope_takes_every_form_of_a_uuid_as_its_option_does(shell: Shell, form: str) -> None:
    """The contract has one form, and an error of the service would not name the variable or the file."""
    given = {"hexadecimal digits": uuid.UUID(shell.project).hex, "capitals": shell.project.upper()}
    written = given.get(form, form.format(shell.project))
    shell.put("OF_PROJECT")
    assert shell.run("list", GITPOD_PROJECT_ID=written).rows[0][0] == "OF_PROJECT"
    write_config(shell, f'project_id = "{written}"\n')
    assert shell.run("list", GITPOD_PROJECT_ID="").rows[0][0] == "OF_PROJECT"
    # Else the originals would be taken for their copies, and deleted.
    move = "move", "OF_PROJECT", "--yes", "--to-project", shell.project
    assert "the same scope" in shell.run(*move, code=2, GITPOD_PROJECT_ID=written).err


@pytest.mark.parametrize("url", ["secrets.example.com", "localhost:8080/api", "ftp://x", "https:/x", "'https://x'"])
def test_a_url_without_its_scheme_is_named_before_a_token_is_missed(shell: Shell, url: str) -> None:
    """The URL is what is wrong."""
    done = shell.run("list", code=2, **only(GITPOD_BASE_URL=url))
    assert "error: GITPOD_BASE_URL: must start with https://, http://, sqlite: or postgresql:" in done.err
    assert url not in done.err


def test_a_user_name_in_a_url_leads_to_the_variable_of_the_token(shell: Shell) -> None:
    """The SDK has another name for it."""
    done = shell.run("list", code=2, GITPOD_BASE_URL="https://me:x@host")
    assert "GITPOD_BASE_URL: must not hold a user name or password; the token goes into GITPOD_API_KEY" in done.err


@pytest.mark.parametrize(
    "command", [["list"], ["put", "NAME"], ["get", "NAME"], ["export"], ["run", "true"], ["whoami"]]
)
def test_an_empty_configuration_says_what_to_set_first(shell: Shell, command: list[str]) -> None:
    """The service, then the token, then the project."""
    done = shell.run(*command, stdin=VALUE, code=2, **NONE)
    assert "error: nothing is set yet: no service, no token, no project\n" in done.err
    places = [done.err.index(name) for name in ("GITPOD_BASE_URL", "gitpod-secrets login", "GITPOD_PROJECT_ID")]
    assert places == sorted(places)


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
