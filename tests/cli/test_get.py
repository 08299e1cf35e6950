"""`gitpod-secrets get --json`."""

import json
import uuid

from tests.support.shell import VALUE, Shell


def test_the_json_has_the_secret_and_its_value(shell: Shell) -> None:
    """In one object on one line, found by name or by id."""
    value = f'{VALUE}\n"é"\0 '
    secret_id = shell.put("MY_NAME", value, file_path="/home/me/.ssh/id")
    [listed] = shell.run("list", "--json").items
    for named in ("MY_NAME", secret_id, secret_id.upper()):
        assert shell.run("get", named, "--json").items == [listed | {"value": value}]
    assert shell.run("get", secret_id, "--json", GITPOD_PROJECT_ID="").items[0]["value"] == value


def test_a_secret_that_does_not_exist_is_said(shell: Shell) -> None:
    """By name and by id. Nothing is printed."""
    for named, message in (
        ("NO_SUCH", "there is no secret NO_SUCH in project"),
        (str(uuid.uuid4()), "there is no secret"),
    ):
        done = shell.run("get", named, "--json", code=4)
        assert (done.out, message in done.err) == (b"", True)


def test_a_terminal_shows_the_json_only_with_reveal(shell: Shell) -> None:
    """As without `--json`."""
    shell.put("MY_NAME")
    assert VALUE not in shell.on_terminal("get", "MY_NAME", "--json").end(2)
    shown = shell.on_terminal("get", "MY_NAME", "--json", "--reveal").end()
    assert json.loads(shown)["value"] == VALUE
