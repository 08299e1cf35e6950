"""The commands for single secrets, each as a process against a service on a socket."""

import uuid

import pytest
from tests.support.shell import VALUE, Shell

MOUNTS: dict[str, tuple[list[str], dict[str, object]]] = {
    "DEFAULT": ([], {"environmentVariable": True}),
    "ENV": (["--env"], {"environmentVariable": True}),
    "FILE": (["--file", "/home/me/.ssh/id"], {"filePath": "/home/me/.ssh/id"}),
    "REGISTRY": (
        ["--registry", "https://r.example.com", "--username", "bob"],
        {"containerRegistryBasicAuthHost": "https://r.example.com"},
    ),
    "API_ONLY": (["--api-only"], {"apiOnly": True}),
}


@pytest.mark.parametrize("command", ["create", "put"])
def test_every_mount(shell: Shell, command: str) -> None:
    """The mount is the one of the option, and the JSON is the documented one."""
    shell.each(*([command, name, *options, "--json"] for name, (options, _) in MOUNTS.items()))
    found = {item["name"]: item for item in shell.run("list", "--json").items}
    assert found.keys() == MOUNTS.keys()
    for name, (_, mount) in MOUNTS.items():
        assert mount.items() <= found[name].items()
        assert uuid.UUID(found[name]["id"])
        assert found[name]["scope"] == {"projectId": shell.project}
    assert shell.stored() == dict.fromkeys(MOUNTS, VALUE) | {"REGISTRY": f"bob:{VALUE}"}
    kinds = {row[0]: row[1] for row in shell.run("list").rows}
    assert (kinds["ENV"], kinds["FILE"], kinds["API_ONLY"]) == ("env", "/home/me/.ssh/id", "api-only")


def test_every_scope(shell: Shell) -> None:
    """Each scope has its own secrets, and an option overrides the setting."""
    scopes = {kind: str(uuid.uuid4()) for kind in ("project", "user", "organization", "service-account")}
    shell.each(*(["create", "SAME_NAME", f"--{kind}", each] for kind, each in scopes.items()))
    listed = shell.each(*(["list", "--json", f"--{kind}", each] for kind, each in scopes.items()))
    names = {"project": "projectId", "user": "userId", "organization": "organizationId"}
    wanted = [{names.get(kind, "serviceAccountId"): each} for kind, each in scopes.items()]
    assert [done.items[0]["scope"] for done in listed] == wanted
    assert shell.run("list").out == b""
    assert {row[0] for row in shell.run("list", "--all").rows} >= {"SAME_NAME"}


USAGE = {
    "several scopes": (["put", "NAME", "--project", str(uuid.uuid4()), "--user", str(uuid.uuid4())], "not several"),
    "several mounts": (["put", "NAME", "--env", "--api-only"], "one of them, not several"),
    "an empty path": (["put", "NAME", "--file", ""], "--file: must not be empty"),
    "a relative path": (["put", "NAME", "--file", "id"], "file_path: value must be an absolute path"),
    "no user": (["put", "NAME", "--registry", "https://r.example.com"], "--registry and --username belong together"),
    "an empty user": (["put", "NAME", "--registry", "https://r.example.com", "--username", ""], "belong together"),
    "a colon": (["put", "NAME", "--registry", "https://r.example.com", "--username", "a:b"], "must not hold a colon"),
    "no such scope": (["list", "--project", VALUE], "'--project': is not a valid UUID"),
    "a short name": (["put", "N"], "name: must"),
    "an option for the value": (["put", "NAME", f"--value={VALUE}"], "no such option"),
    "two sources": (["put", "NAME", "--value-file", "x", "--from-env", "X"], "one of them, not both"),
    "no file": (["put", "NAME", "--value-file", "/nowhere"], "--value-file: /nowhere: No such file"),
    "a folder": (["put", "NAME", "--value-file", ""], "--value-file: .: Is a directory"),
    "an endless file": (["put", "NAME", "--value-file", "/dev/zero"], "--value-file: is larger than 1048576 bytes"),
    "no variable": (["put", "NAME", "--from-env", "NO_SUCH"], "--from-env: there is no such environment variable"),
    "nobody to ask": (["delete", "NAME"], "there is no terminal to ask for confirmation; add --yes"),
}


def test_wrong_usage_is_reported(shell: Shell) -> None:
    """The error is one line, the status is 2, and nothing is sent."""
    errors = shell.each(*(arguments for arguments, _ in USAGE.values()), code=2)
    for (_, message), done in zip(USAGE.values(), errors, strict=True):
        assert message in done.err
        assert done.err.startswith("gitpod-secrets: error: ")
        assert done.out == b""
    assert shell.stored() == {}


@pytest.mark.parametrize("before", [["put", "NAME"], ["create", "NAME"], ["update", "NAME"], ["get", "NAME"], ["list"]])
def test_a_value_is_never_an_argument(shell: Shell, before: list[str]) -> None:
    """Extra arguments are refused, and the error does not repeat them."""
    for given in ([VALUE], [VALUE, "--trim", VALUE] if before[0] in ("put", "create", "update") else [VALUE, VALUE]):
        error = shell.run(*before, *given, code=2).err.splitlines()[0]
        assert error == "gitpod-secrets: error: too many arguments: a secret's value is never given as an argument"


NO_SCOPE = "no scope given: use --project, --user, --organization or --service-account"


def test_a_command_needs_a_scope(shell: Shell) -> None:
    """`list` does not need one."""
    assert NO_SCOPE in shell.run("put", "NAME", code=2, GITPOD_PROJECT_ID="").err
    assert NO_SCOPE in shell.run("run", "true", code=2, GITPOD_PROJECT_ID="").err
    shell.run("list", GITPOD_PROJECT_ID="")


def test_a_secret_is_found_by_name_or_id(shell: Shell) -> None:
    """A name may look like an id without its hyphens."""
    name = uuid.uuid4().hex
    secret_id = shell.put(name)
    got = shell.each(*(["get", named] for named in (name, secret_id, secret_id.upper())))
    assert [done.out for done in got] == [VALUE.encode()] * 3
    assert shell.run("update", name, stdin="by name").err == f"gitpod-secrets: updated {name}\n"
    shell.run("update", secret_id, stdin="by id", GITPOD_PROJECT_ID="")
    assert shell.stored() == {name: "by id"}
    assert shell.run("delete", "--yes", secret_id, GITPOD_PROJECT_ID="").out == b""
    assert "there is no secret" in shell.run("delete", "--yes", name, code=4).err


def test_put_reports_what_it_did(shell: Shell) -> None:
    """Another mount is a conflict, except with `--replace`."""
    errors = [shell.run("put", "NAME", *options, stdin="v").err for options in ([], [], ["--api-only", "--replace"])]
    assert errors == [f"gitpod-secrets: {action} NAME\n" for action in ("created", "updated", "replaced")]
    error, hint = shell.run("put", "NAME", "--file", "/f", stdin="v", code=5).err.splitlines()
    assert error.endswith("exists with another mount (it has api_only), which put does not change")
    assert hint == "gitpod-secrets: hint: put --replace deletes the secret and creates it again"
    assert shell.run("list").rows[0][1] == "api-only"


def test_a_terminal_shows_a_value_only_with_reveal(shell: Shell) -> None:
    """`get` needs `--reveal` on a terminal."""
    shell.put("NAME", value=f"{VALUE} of it")
    refused = shell.on_terminal("get", "NAME").end(2)
    assert "error: the value would be shown on the terminal" in refused
    assert "hint: add --reveal, or use a pipe" in refused
    assert VALUE not in refused
    assert shell.on_terminal("get", "NAME", "--reveal").end() == f"{VALUE} of it\n"
