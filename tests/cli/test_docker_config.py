"""`import --docker-config`: the logins of Docker's config.json."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.shell import VALUE, Shell

from gitpod.cli.files.docker_config import KEPT_ELSEWHERE, NO_LOGIN
from gitpod.cli.files.entries import Entry, Invalid, Line
from gitpod.cli.files.load import load

GOOD = {"username": "u", "password": "p"}
NOT_BASE64 = "auth must be username:password in base64"
MOUNT = "container_registry_basic_auth_host"


def auth(login: str | bytes) -> dict[str, str]:
    return {"auth": base64.b64encode(login if isinstance(login, bytes) else login.encode()).decode()}


def logins(auths: object, **others: Any) -> list[Line]:
    return load(json.dumps({"auths": auths, **others}), is_docker_config=True)


@pytest.mark.parametrize(
    ("host", "name", "url"),
    [
        ("registry.example.com", "DOCKER_REGISTRY_EXAMPLE_COM", "https://registry.example.com"),
        ("https://index.docker.io/v1/", "DOCKER_INDEX_DOCKER_IO_V1", "https://index.docker.io/v1/"),
        ("localhost:5000", "DOCKER_LOCALHOST_5000", "https://localhost:5000"),
        ("http://10.0.0.1:5000", "DOCKER_10_0_0_1_5000", "http://10.0.0.1:5000"),
        ("[::1]:5000", "DOCKER_1_5000", "https://[::1]:5000"),
        ("quay.io/team", "DOCKER_QUAY_IO_TEAM", "https://quay.io/team"),
    ],
)
def test_a_secret_is_named_after_its_host(host: str, name: str, url: str) -> None:
    """Its mount is the registry, with https:// unless the file says otherwise."""
    [line] = logins({host: GOOD})
    assert isinstance(line, Entry)
    assert (line.name, line.mount, line.value.reveal()) == (name, {MOUNT: url}, "u:p")


@pytest.mark.parametrize(
    ("entry", "login"),
    [
        (auth("user:pass:with:colons"), "user:pass:with:colons"),
        (auth("user:pässword"), "user:pässword"),
        (auth("user:pass\0\0\0"), "user:pass"),
        (auth("user:\0pass"), "user:pass"),
        ({"auth": base64.encodebytes(b"user:" + b"p" * 80).decode()}, "user:" + "p" * 80),
        ({"username": "user", "password": "pass"}, "user:pass"),
        ({"username": "user", "password": "pass", "auth": ""}, "user:pass"),
        ({"username": "user", "password": "pass", "auth": None, "email": "a@b"}, "user:pass"),
        ({"username": "other", "password": "other", **auth("user:pass")}, "user:pass"),
        ({**auth("user:pass"), "identitytoken": "x"}, "user:pass"),
    ],
)
def test_a_login_is_read_as_docker_reads_it(entry: dict[str, Any], login: str) -> None:
    """From `auth`, without the NULs that pad it, else from the two fields."""
    [line] = logins({"a.example.com": entry})
    assert isinstance(line, Entry)
    assert line.value.reveal() == login


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        ({}, KEPT_ELSEWHERE),
        (auth("user:"), KEPT_ELSEWHERE),
        (auth("user:\0\0"), KEPT_ELSEWHERE),
        ({"username": "user"}, KEPT_ELSEWHERE),
        (None, "its entry must be an object"),
        ([VALUE], "its entry must be an object"),
        ({"auth": 5}, "auth must be a string"),
        ({"username": "user", "password": [VALUE]}, "password must be a string"),
        ({"auth": f"{VALUE}!"}, NOT_BASE64),
        ({"auth": "YTpi" + "Y"}, NOT_BASE64),
        (auth(VALUE), NOT_BASE64),
        (auth(b"a:\xff"), NOT_BASE64),
        (auth(f":{VALUE}"), "it has no user name"),
        ({"username": f"a:{VALUE}", "password": "p"}, "username must not hold a colon"),
        ({**auth("0000:"), "identitytoken": VALUE}, "it has a token in place of a password"),
        ({"registrytoken": VALUE}, "it has a token in place of a password"),
    ],
)
def test_a_bad_entry_is_named_by_its_host(entry: object, rule: str) -> None:
    """It costs none beside it, and no text of it is shown."""
    found = logins({"a.example.com": GOOD, "bad.example.com": entry, "b.example.com:80": GOOD})
    assert [line.name for line in found] == ["DOCKER_A_EXAMPLE_COM", "", "DOCKER_B_EXAMPLE_COM_80"]
    assert found[1] == Invalid(2, f"bad.example.com: {rule}")


@pytest.mark.parametrize(
    "host",
    [
        *("", "https://", "a[", "https://#a", "a" * 1_000_000 + "?"),
        *(f"me:{VALUE}@a.example.com", f"https://me:{VALUE}/b@a.example.com", f"a.example.com?{VALUE}"),
    ],
    ids=lambda host: host[:40],
)
def test_an_address_that_is_no_host_is_refused(host: str) -> None:
    """A user's name and password in it are not shown."""
    [line] = logins({host: GOOD})
    assert isinstance(line, Invalid)
    assert line.rule.endswith(": its address must be a host with an optional port and path")
    assert VALUE not in line.rule


def test_what_a_helper_keeps_is_named() -> None:
    """Hosts that have a helper of their own, unless the file has their login."""
    found = logins(
        {"a.example.com": GOOD}, credHelpers={"a.example.com": "x", "gcr.io": "gcloud"}, credsStore="desktop"
    )
    assert found[1:] == [Invalid(2, f"gcr.io: {KEPT_ELSEWHERE}")]


def test_two_hosts_of_one_name_are_not_mixed_up() -> None:
    """The second is refused. The same login under both forms of an address is one."""
    found = logins({"a-b.example.com": GOOD, "a.b.example.com": GOOD, "https://a-b.example.com": GOOD})
    assert len(found) == 2
    name = "DOCKER_A_B_EXAMPLE_COM"
    assert found[1] == Invalid(
        2, f"a.b.example.com: its secret would have the name of the one of a-b.example.com: {name}"
    )


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        *(("{", "is not valid JSON"), ("[" * 100_000, "is not valid JSON"), ("[]", NO_LOGIN), ("null", NO_LOGIN)),
        *(("{}", NO_LOGIN), ('{"auths": []}', NO_LOGIN), ('{"auths": {}, "credHelpers": 5}', NO_LOGIN)),
        ('{"auths": null, "credsStore": "desktop"}', f"{NO_LOGIN}; a credential helper may have the logins"),
    ],
)
def test_a_file_without_logins_is_refused(text: str, rule: str) -> None:
    """The rule says what is missing."""
    assert load(text, is_docker_config=True) == [Invalid(1, rule)]


CONFIG = json.dumps({"auths": {"a.example.com": auth(f"u:{VALUE}"), "b.example.com": {}}})


def test_good_logins_are_stored_and_bad_ones_named(shell: Shell) -> None:
    """With the plan, the report and the exit status of every import."""
    done = shell.run("import", "-", "--docker-config", "--yes", stdin=CONFIG, code=1)
    assert [row[1:4] for row in done.rows] == [
        ["DOCKER_A_EXAMPLE_COM", "create", "created"],
        ["-", "invalid", "failed"],
    ]
    assert done.rows[1][4] == f"b.example.com: {KEPT_ELSEWHERE}"
    assert shell.stored() == {"DOCKER_A_EXAMPLE_COM": f"u:{VALUE}"}
    assert (
        "1 unchanged, 1 invalid" in shell.run("import", "-", "--docker-config", "--dry-run", stdin=CONFIG, code=1).err
    )


@pytest.mark.parametrize("variable", [True, False])
def test_the_users_own_file_is_the_default(shell: Shell, tmp_path: Path, *, variable: bool) -> None:
    """Where `DOCKER_CONFIG` says, else in the home folder."""
    folder = tmp_path / ("elsewhere" if variable else ".docker")
    folder.mkdir()
    (folder / "config.json").write_text(CONFIG)
    settings: Any = {"DOCKER_CONFIG": str(folder) if variable else ""}
    done = shell.run("import", "--docker-config", "--dry-run", code=1, **settings)
    assert done.rows[0][:3] == ["1", "DOCKER_A_EXAMPLE_COM", "create"]


def test_a_file_that_is_missing_is_named(shell: Shell) -> None:
    """Docker's, by its path; and any other one must be given."""
    done = shell.run("import", "--docker-config", "--dry-run", code=2, DOCKER_CONFIG="/nowhere")
    assert "error: /nowhere/config.json: No such file or directory" in done.err
    assert "error: no FILE given; - is standard input" in shell.run("import", "--yes", code=2).err
