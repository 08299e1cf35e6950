"""Profiles: which one counts, and that a token never goes to another service than it was given for."""

import re
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.peer import Peer, answer
from tests.support.service import TOKEN
from tests.support.settings_files import API, NONE, WEB, inside, only, write_config, write_project
from tests.support.shell import COMMAND, Shell

# A busy machine may need longer than anybody waits for names.
PATIENT = (sys.executable, "-c", "from gitpod.cli.commands import completion; completion.TIMEOUT = 60.0; " + COMMAND[2])
OTHER = "token-of-another-service"


@pytest.fixture
def other() -> Iterator[Peer]:
    """Another service, which lists no secrets."""
    peer = Peer(answer(200, b"", content_type="application/proto"))
    yield peer
    peer.close()


def write_two(shell: Shell, other: Peer) -> None:
    """Write a configuration file with settings for the service, and a profile for the other one."""
    top = f'base_url = "{shell.url}"\napi_key = "{TOKEN}"\nproject_id = "{WEB}"\n'
    write_config(shell, f'{top}[profiles.other]\nbase_url = "{other.url}"\napi_key = "{OTHER}"\nuser_id = "{API}"\n')


def shown(shell: Shell, *arguments: str, **changes: Any) -> dict[str, list[str]]:
    """What `config` shows: by name, the value and where it is from."""
    return {row[0]: row[1:] for row in shell.run(*arguments, "config", **changes).rows}


def test_a_profile_stands_in_place_of_the_settings_outside_of_profiles(shell: Shell, other: Peer) -> None:
    """Nothing of those is left: neither the service nor the token nor the scope."""
    write_two(shell, other)
    file = shell.home / ".config/gitpod-secrets/config.toml"
    assert shown(shell, "--profile", "other", **NONE) == {
        "profile": ["other", "option"],
        "base_url": [other.url, f"{file}: profiles.other"],
        "api_key": ["…vice", f"{file}: profiles.other"],
        "user_id": [API, f"{file}: profiles.other"],
    }
    assert "profile" not in shown(shell, **NONE)


@pytest.mark.parametrize("place", ["before the command", "after the command", "variable"])
def test_a_call_goes_to_the_profile_with_its_token(shell: Shell, other: Peer, place: str) -> None:
    """Wherever the profile is named."""
    write_two(shell, other)
    before = ["--profile", "other"] if place == "before the command" else []
    after = ["--profile", "other"] if place == "after the command" else []
    variable: dict[str, Any] = {"GITPOD_PROFILE": "other" if place == "variable" else ""}
    shell.run(*before, "list", *after, **only(**variable))
    [request] = other.requests
    assert f"authorization: Bearer {OTHER}".encode() in request
    assert TOKEN.encode() not in request


def test_variables_do_not_reach_a_profile_that_an_option_names(shell: Shell, other: Peer) -> None:
    """GITPOD_API_KEY may be for another service. It does not help out where the profile has no token."""
    write_config(shell, f'[profiles.other]\nbase_url = "{other.url}"\n')
    done = shell.run("--profile", "other", "list", code=3)
    assert f"error: no token given for {other.url}" in done.err
    assert "gitpod-secrets --profile other login keeps one; GITPOD_API_KEY is not used with --profile" in done.err
    assert other.requests == []


@pytest.mark.parametrize("name", ["GITPOD_BASE_URL", "GITPOD_API_KEY"])
def test_variables_that_may_mean_two_services_are_refused(shell: Shell, other: Peer, name: str) -> None:
    """Neither is guessed to be the one that is meant."""
    write_two(shell, other)
    both: dict[str, Any] = {**NONE, "GITPOD_PROFILE": "other", name: shell.url if name == "GITPOD_BASE_URL" else TOKEN}
    assert f"error: GITPOD_PROFILE, {name}: set one of them, not both" in shell.run("list", code=2, **both).err
    assert shown(shell, "--profile", "other", **both)["profile"] == ["other", "option"]
    assert other.requests == []


@pytest.mark.parametrize("top", ["", 'base_url = "https://secrets.example.com"\n'])
def test_the_files_token_does_not_follow_a_variable_to_another_service(shell: Shell, other: Peer, top: str) -> None:
    """It is for the service of the file, or for the hosted one if the file names none."""
    file = write_config(shell, f'{top}api_key = "{OTHER}"\n')
    done = shell.run("list", code=3, **only(GITPOD_BASE_URL=other.url))
    assert f"error: no token given for {other.url}" in done.err
    assert f"api_key in {file} is for another service" in done.err
    assert other.requests == []


def test_the_files_authorities_do_not_follow_a_variable_to_another_service(shell: Shell) -> None:
    """Those of a file without a service are for every service, as behind the proxy of a company."""
    of_a_service = 'base_url = "https://secrets.example.com"\n'
    elsewhere: dict[str, Any] = {"GITPOD_BASE_URL": "https://other.example.com"}
    write_config(shell, f'{of_a_service}ca_cert = "/x.pem"\n')
    assert "ca_cert" not in shown(shell, **elsewhere)
    write_config(shell, 'ca_cert = "/x.pem"\n')
    assert shown(shell, **elsewhere)["ca_cert"][0] == "/x.pem"


def test_the_files_token_is_sent_to_the_service_that_a_variable_names_too(shell: Shell) -> None:
    """The same service, written in another way."""
    write_config(shell, f'base_url = "{shell.url}"\napi_key = "{TOKEN}"\n')
    shell.run("list", **only(GITPOD_BASE_URL=f"{shell.url}/".replace("http:", "HTTP:")))


def test_names_of_secrets_are_completed_from_the_profile(shell: Shell) -> None:
    """The one that the line names, where no variable names a service."""
    shell.put("OF_PROFILE")
    write_config(
        shell,
        f'[profiles.mine]\nbase_url = "{shell.url}"\napi_key = "{TOKEN}"\nproject_id = "{shell.project}"\n',
    )
    for line in ("--profile mine get OF", "get --profile mine OF"):
        words: dict[str, Any] = {"COMP_WORDS": f"gitpod-secrets {line}", "COMP_CWORD": "4"}
        done = shell.run(command=PATIENT, _GITPOD_SECRETS_COMPLETE="bash_complete", **only(**words))
        assert done.out == b"plain,OF_PROFILE\n"


def test_the_scope_of_a_profile_counts_where_the_profile_is_named(shell: Shell, other: Peer) -> None:
    """By the option more than the variable, and by its own variable less than that of the scope."""
    write_two(shell, other)
    project = str(uuid.uuid4())
    of_project = only(GITPOD_PROJECT_ID=project)
    assert shown(shell, "--profile", "other", **of_project)["user_id"][0] == API
    assert shown(shell, **{**of_project, "GITPOD_PROFILE": "other"})["project_id"] == [project, "GITPOD_PROJECT_ID"]
    write_config(shell, f'[profiles.other]\nbase_url = "{other.url}"\n')
    assert shown(shell, "--profile", "other", **of_project)["project_id"] == [project, "GITPOD_PROJECT_ID"]


def test_an_unknown_profile_lists_the_known_ones(shell: Shell, other: Peer) -> None:
    """By the name of what named it, and without what it named."""
    write_config(shell, f'[profiles.one]\nbase_url = "{other.url}"\n[profiles.two]\n')
    folder = shell.home / "work"
    file = write_project(folder, 'profile = "thr33"')
    for_option = shell.run("list", "--profile", "thr33", code=2, **NONE)
    for_variable = shell.run("list", code=2, **only(GITPOD_PROFILE="thr33"))
    for_file = shell.run("list", code=2, command=inside(folder), **NONE)
    named = {"--profile": for_option, "GITPOD_PROFILE": for_variable, f"{file}: profile": for_file}
    for name, done in named.items():
        assert f"error: {name}: there is no such profile in " in done.err
        assert "those are one, two" in done.err
        assert "thr33" not in done.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("profiles = 3", "profiles: each must be a table, [profiles.NAME]"),
        ("[profiles]\nprod = 3", "profiles: each must be a table, [profiles.NAME]"),
        ('[profiles."a b"]', "profiles: a name has 1 to 64 letters"),
        ('[profiles."$(x)"]', "profiles: a name has 1 to 64 letters"),
        ("[profiles.a]\ntoken = 'x'", "profiles.a: token: is not a setting"),
        ("[profiles.a]\napi_key = ''", "profiles.a: api_key: must be a string that is not empty"),
        ("[profiles.a]\nuser_id = 'x'\nproject_id = 'x'", "profiles.a: must have one of project_id, user_id"),
        ("[profiles.a.profiles.b]", "profiles.a: profiles: is not a setting"),
    ],
)
def test_a_profile_that_is_wrong_is_refused(shell: Shell, text: str, message: str) -> None:
    """Also while another profile is used, or none."""
    file = write_config(shell, text)
    assert f"error: {file}: {message}" in shell.run("config", code=2).err


def test_a_token_in_a_profile_is_for_its_owner_alone(shell: Shell) -> None:
    """As one outside of profiles is."""
    file = write_config(shell, '[profiles.a]\napi_key = "x"', 0o640)
    assert f"error: {file}: holds a token, and is open to other users" in shell.run("config", code=2).err
    for text in ("[profiles.a]", "[profiles]", ""):
        write_config(shell, text, 0o644)
        shell.run("config")


def test_config_fits_a_terminal(shell: Shell, other: Peer) -> None:
    """Each source is in few words there, and nothing is cut."""
    write_two(shell, other)
    file = write_project(shell.home / "work", f'profile = "other"\nproject = "{WEB}"')
    terminal = shell.on_terminal("config", columns=80, **only(GITPOD_PROJECT_FILE=str(file)))
    rows = [re.split(r" {2,}", line) for line in terminal.end().splitlines()]
    assert ["profile", "other", "project's file"] in rows
    assert ["base_url", other.url, "profile other"] in rows
    assert ["project_id", WEB, "project's file"] in rows
