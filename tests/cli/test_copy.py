"""`gitpod-secrets copy` and `move`: what they ask, refuse and say."""

import sys
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from tests.support.service import Service
from tests.support.shell import VALUE, Shell

from gitpod.types import CredentialProxy, OidcJFrog, Secret, Source

CHANGED = """
import os, sys
from gitpod import Gitpod
from gitpod.cli import main, transfer
delete, secret_id = transfer.delete, sys.argv.pop(1)
def late(*given):
    with Gitpod() as other:
        other.secrets.update_value(secret_id=secret_id, value="newer")
    return delete(*given)
transfer.delete = late
main()
"""
"""The command. Somebody else changes the secret whose id is the first argument before anything is deleted."""

KNOWS_NO_SCOPE = """
from gitpod._secrets.sync import Secrets
from gitpod.cli import main
listed = Secrets.list
Secrets.list = lambda self, **given: listed(self, page_size=100)
main()
"""
"""The command, for a service that lists all secrets whatever scope is asked for."""


@pytest.fixture
def target(shell: Shell) -> Shell:
    """The project that secrets go to."""
    return Shell(shell.url, shell.token, str(uuid.uuid4()), shell.home)


def listed(shell: Shell) -> dict[str, Secret]:
    """The secrets of a project."""
    with shell.client() as client:
        found = client.secrets.list(filter={"scope": {"project_id": shell.project}})
        return {secret.name: secret for secret in found}


def words(shell: Shell) -> str:
    """A project as messages name it."""
    return f"project {shell.project[:8]}…"


def fill(shell: Shell) -> None:
    """Store a secret of each mount, and values of each kind."""
    shell.put("ENV_ONE", f"{VALUE}\r\n é\0 ")
    shell.put("FILE_ONE", file_path="/home/me/.ssh/id")
    shell.put("REG_ONE", f"user:{VALUE}", container_registry_basic_auth_host="https://r.example.com")
    shell.put("API_ONE", api_only=True)
    with shell.client() as client:
        proxy = CredentialProxy(target_hosts=("api.example.com",), header="Authorization")
        own: Any = {"project_id": shell.project, "api_only": True}
        client.secrets.create(name="EMPTY_ONE", value="", **own)
        client.secrets.create(name="PROXY_ONE", value=VALUE, credential_proxy=proxy, **own)


@pytest.mark.parametrize("command", ["copy", "move"])
def test_everything_arrives_as_it_was(shell: Shell, target: Shell, command: str) -> None:
    """Value, mount and credential proxy."""
    fill(shell)
    before, values = listed(shell), shell.stored()
    arguments = [command, "--all", "--to-project", target.project]
    done = shell.run(*arguments, *(["--yes"] if command == "move" else []))
    assert f"{'copied' if command == 'copy' else 'moved'} 6 secrets to {words(target)}" in done.err
    assert (done.out, target.stored()) == (b"", values)
    for name, secret in listed(target).items():
        for field in ("environment_variable", "file_path", "container_registry_basic_auth_host", "api_only"):
            assert getattr(secret, field) == getattr(before[name], field)
        assert secret.credential_proxy == before[name].credential_proxy
    assert shell.stored() == (values if command == "copy" else {})


def test_only_what_is_named_is_copied(shell: Shell, target: Shell, service: Service) -> None:
    """Once each. A second copy changes nothing."""
    for name in ("MY_ONE", "MY_TWO", "OTHER"):
        shell.put(name)
    done = shell.run("copy", "MY_TWO", "MY_ONE", "MY_TWO", "--to-project", target.project)
    assert done.err == f"gitpod-secrets: copied 2 secrets to {words(target)} (2 created)\n"
    before = service.log.read_text().count("CreateSecret")
    done = shell.run("copy", "MY_ONE", "--to-project", target.project)
    assert done.err == f"gitpod-secrets: copied MY_ONE to {words(target)} (unchanged)\n"
    assert service.log.read_text().count("CreateSecret") == before
    assert target.stored() == {"MY_ONE": VALUE, "MY_TWO": VALUE}


@pytest.mark.parametrize("kind", ["user", "organization", "service-account"])
def test_a_target_may_be_of_every_kind(shell: Shell, kind: str) -> None:
    """And so may the source."""
    shell.put("MY_NAME")
    scope = str(uuid.uuid4())
    shell.run("copy", "MY_NAME", f"--to-{kind}", scope)
    assert shell.run("get", "MY_NAME", f"--{kind}", scope).text == VALUE
    shell.run("move", "MY_NAME", "--yes", f"--{kind}", scope, "--to-project", str(uuid.uuid4()))
    assert shell.run("list", f"--{kind}", scope).out == b""


ONE, OTHER = (str(uuid.uuid4()) for _ in range(2))
USAGE = {
    "no names": (["copy", "--to-project", ONE], "name the secrets, or add --all"),
    "names and all": (["copy", "NAME", "--all", "--to-project", ONE], "NAME, --all: one of them, not both"),
    "a value": (["copy", f"-{VALUE}", "--to-project", ONE], "no such option"),
    "a value as a name": (["copy", VALUE, "--to-project", ONE], "NAME: must be 3 to 127 letters"),
    "no target": (["copy", "NAME"], "no target given: use --to-project"),
    "two targets": (
        ["copy", "NAME", "--to-project", ONE, "--to-user", ONE],
        "--to-service-account: one of them, not several",
    ),
    "two sources": (["copy", "NAME", "--project", ONE, "--user", ONE, "--to-project", OTHER], "not several"),
    "the same scope": (["move", "--all", "--yes", "--project", ONE, "--to-project", ONE.upper()], "the same scope"),
    "nobody to ask": (["move", "NAME", "--to-project", ONE], "there is no terminal to ask for confirmation"),
}


def test_wrong_usage_is_refused(shell: Shell) -> None:
    """Before anything is sent."""
    for done, (_, message) in zip(
        shell.each(*(arguments for arguments, _ in USAGE.values()), code=2), USAGE.values(), strict=True
    ):
        assert message in done.err
        assert done.out == b""


def test_all_unknown_names_are_named(shell: Shell, target: Shell) -> None:
    """Nothing is copied then."""
    shell.put("MY_NAME")
    for command in (["copy"], ["move", "--yes"]):
        err = shell.run(*command, "NO_ONE", "MY_NAME", "NO_TWO", "--to-project", target.project, code=4).err
        assert err.splitlines() == [
            f"gitpod-secrets: error: there is no secret NO_ONE in {words(shell)}",
            f"gitpod-secrets: error: there is no secret NO_TWO in {words(shell)}",
            "gitpod-secrets: hint: gitpod-secrets list shows the secrets",
        ]
    assert target.stored() == {}


@pytest.mark.parametrize("command", [["copy"], ["move", "--yes"]])
def test_nothing_is_overwritten_without_replace(shell: Shell, target: Shell, command: Sequence[str]) -> None:
    """Another value and another mount are conflicts, and what is no conflict is not copied either."""
    for name in ("NEW_ONE", "VALUE_ONE", "MOUNT_ONE"):
        shell.put(name)
    target.put("VALUE_ONE", "other")
    target.put("MOUNT_ONE", api_only=True)
    arguments = [*command, "--all", "--to-project", target.project]
    assert shell.run(*arguments, code=5).err.splitlines() == [
        "gitpod-secrets: error: VALUE_ONE: exists with another value; --replace overwrites it",
        "gitpod-secrets: error: MOUNT_ONE: exists with the mount api-only; --replace deletes it and creates it again",
        "gitpod-secrets: hint: nothing is copied, as it would not be complete",
    ]
    assert target.stored() == {"VALUE_ONE": "other", "MOUNT_ONE": VALUE}
    shell.run(*arguments, "--replace")
    assert target.stored() == dict.fromkeys(["NEW_ONE", "VALUE_ONE", "MOUNT_ONE"], VALUE)
    assert listed(target)["MOUNT_ONE"].environment_variable


def test_another_credential_proxy_is_a_conflict(shell: Shell, target: Shell) -> None:
    """Neither of the two gets lost."""
    fill(shell)
    target.put("PROXY_ONE", api_only=True)
    target.run("copy", "PROXY_ONE", "--to-project", shell.project, "--replace", code=5)
    err = shell.run("copy", "PROXY_ONE", "--to-project", target.project, "--replace", code=5).err
    assert "PROXY_ONE: exists with another credential proxy; delete it first" in err


def test_a_value_from_elsewhere_is_not_copied(shell: Shell, target: Shell) -> None:
    """The copy would no longer get new values."""
    with shell.client() as client:
        source = Source(oidc_jfrog=OidcJFrog(host="jfrog.example.com", provider_name="p"))
        client.secrets.create(name="MY_NAME", value=VALUE, project_id=shell.project, api_only=True, source=source)
    err = shell.run("copy", "MY_NAME", "--to-project", target.project, code=1).err
    assert "error: MY_NAME: its value comes from elsewhere, and cannot be copied" in err
    assert target.stored() == {}


def test_a_copy_asks_before_it_overwrites(shell: Shell, target: Shell) -> None:
    """The question names the service and both scopes. Otherwise nothing is asked."""
    shell.put("MY_NAME")
    target.put("MY_NAME", "other")
    for answered, code, value in (("n\n", 1, "other"), ("\x03", 130, "other"), ("y\n", 0, VALUE)):
        terminal = shell.on_terminal("copy", "MY_NAME", "--to-project", target.project)
        where = f"{words(target)} at {shell.url} with the values of {words(shell)}"
        terminal.expect(f"Overwrite MY_NAME in {where}? [y/N]: ")
        terminal.type(answered)
        terminal.end(code)
        assert target.stored() == {"MY_NAME": value}
    assert "?" not in shell.on_terminal("copy", "MY_NAME", "--to-project", target.project).end()


def test_a_move_asks(shell: Shell, target: Shell) -> None:
    """It names what it overwrites, the service and both scopes."""
    names = [f"NAME_{number}" for number in range(7)]
    for name in names:
        shell.put(name)
    target.put("NAME_6", "other")
    for answered, code in (("n\n", 1), ("y\n", 0)):
        assert set(shell.stored()) == set(names)
        terminal = shell.on_terminal("move", "--all", "--to-project", target.project)
        some = "Move NAME_0, NAME_1, NAME_2, NAME_3, NAME_4 and 2 more"
        where = f"from {words(shell)} to {words(target)} at {shell.url} and overwrite NAME_6 there"
        terminal.expect(f"{some} {where}? [y/N]: ")
        terminal.type(answered)
        terminal.end(code)
    assert (shell.stored(), target.stored()) == ({}, dict.fromkeys(names, VALUE))


def test_a_move_can_be_repeated(shell: Shell, target: Shell) -> None:
    """A secret that is in the target alone was moved before."""
    shell.put("MY_ONE")
    target.put("MY_TWO")
    command = ["move", "MY_ONE", "MY_TWO", "--yes", "--to-project", target.project]
    already = f"not in {words(shell)}, but in {words(target)} already\n"
    assert shell.run(*command).err == (
        f"gitpod-secrets: MY_TWO: {already}gitpod-secrets: moved MY_ONE to {words(target)}\n"
    )
    assert shell.run(*command).err == f"gitpod-secrets: MY_ONE and MY_TWO: {already}"
    assert target.stored() == {"MY_ONE": VALUE, "MY_TWO": VALUE}


def test_a_secret_that_changed_meanwhile_is_not_deleted(shell: Shell, target: Shell) -> None:
    """Here it changes after the copy. The other one is moved."""
    shell.put("OTHER")
    command = [sys.executable, "-c", CHANGED, shell.put("MY_NAME")]
    done = shell.run("move", "--all", "--yes", "--to-project", target.project, command=command, code=5)
    assert done.err.splitlines() == [
        "gitpod-secrets: error: MY_NAME: changed while it was copied, so it is not deleted",
        "gitpod-secrets: hint: everything is copied; run it again to delete what is left",
    ]
    assert shell.stored() == {"MY_NAME": "newer"}
    assert target.stored() == {"MY_NAME": VALUE, "OTHER": VALUE}


def test_a_secret_is_not_moved_onto_itself(shell: Shell, target: Shell) -> None:
    """A faulty service may take two scopes for one. What looks like the copy would be deleted as the original."""
    name = f"NAME_{uuid.uuid4().hex}"
    shell.put(name)
    command = (sys.executable, "-c", KNOWS_NO_SCOPE)
    done = shell.run("move", name, "--to-project", target.project, "--yes", "--replace", code=5, command=command)
    assert f"error: {name}: is the same secret in the source and in the target" in done.err
    assert shell.stored() == {name: VALUE}
