"""What the command asks on a terminal: where it would act, and only what can be done."""

import uuid
from typing import Literal

import pytest
from protobuf import Oneof
from tests.support.peer import Peer, answer
from tests.support.shell import VALUE, Shell

from gitpod_proto.gitpod.v1.secret_pb import ListSecretsResponse, Secret, SecretScope

ProjectId, FilePath = Oneof[Literal["project_id"], str], Oneof[Literal["file_path"], str]


def where(shell: Shell) -> str:
    """The scope and the service."""
    return f"project {shell.project[:8]}… at {shell.url}"


def test_a_delete_names_the_secret_and_the_place(shell: Shell) -> None:
    """It deletes nothing unless the answer is yes."""
    secret_id = shell.put("NAME")
    for named, answered, code in (("NAME", "n\n", 1), (secret_id[:8], "\x03", 130), (secret_id, "y\n", 0)):
        terminal = shell.on_terminal("delete", named)
        terminal.expect(f"Delete NAME from {where(shell)}? [y/N]: ")
        assert shell.stored() == {"NAME": VALUE}
        terminal.type(answered)
        terminal.end(code)
    assert shell.stored() == {}


def test_the_place_of_an_id_is_its_own_scope(shell: Shell) -> None:
    """A whole id is found in any scope, and the question names that scope."""
    user = str(uuid.uuid4())
    secret_id = shell.put("NAME", scope={"user_id": user})
    terminal = shell.on_terminal("delete", secret_id)
    terminal.expect(f"Delete NAME from user {user[:8]}… at {shell.url}? [y/N]: ")
    terminal.type("n\n")
    terminal.end(1)


@pytest.mark.parametrize(("command", "question"), [("create", "Value"), ("put", "New value"), ("update", "New value")])
def test_a_value_is_asked_for_a_place(shell: Shell, command: str, question: str) -> None:
    """The question says whether there is a value already. Afterwards, a line has the name alone."""
    if command != "create":
        shell.put("NAME", "before")
    terminal = shell.on_terminal(command, "NAME", columns=80)
    terminal.expect(f"{question} of NAME in {where(shell)}: ")
    terminal.type(f"{VALUE}\n")
    terminal.expect("Repeat for confirmation: ")
    terminal.type(f"{VALUE}\n")
    terminal.end()
    assert terminal.lines[-1] == f"gitpod-secrets: {'created' if command == 'create' else 'updated'} NAME"
    assert len(terminal.lines) <= 4
    assert shell.stored() == {"NAME": VALUE}


UNDOABLE = {
    "a name that is too short": (["create", "N"], 2, "name: must be at least 3 characters"),
    "a name with a hyphen": (["put", "MY-NAME"], 2, "name: does not match"),
    "a path that is not absolute": (["put", "NAME", "--file", "x"], 2, "file_path: value must be an absolute path"),
    "a registry that is no URI": (["create", "NAME", "--registry", "a b", "--username", "u"], 2, "must be a valid URI"),
    "a taken name": (["create", "TAKEN"], 5, "hint: put updates the value of a secret that exists"),
    "another mount": (["put", "TAKEN", "--api-only"], 5, "error: TAKEN exists with the mount env in project "),
    "no such secret": (["update", "MISSING"], 4, "error: there is no secret MISSING in project "),
    "no such id": (["delete", str(uuid.uuid4())], 4, "error: there is no secret "),
    "no secret to delete": (["delete", "MISSING"], 4, "error: there is no secret MISSING in project "),
}


@pytest.mark.parametrize("case", UNDOABLE)
def test_what_cannot_be_done_is_not_asked(shell: Shell, case: str) -> None:
    """The error comes in place of the question."""
    shell.put("TAKEN")
    arguments, code, message = UNDOABLE[case]
    shown = shell.on_terminal(*arguments).end(code)
    assert message in shown
    assert "Value" not in shown
    assert "[y/N]" not in shown


def test_a_replacement_may_be_asked(shell: Shell) -> None:
    """With `--replace`, another mount is no reason to refuse."""
    shell.put("TAKEN")
    terminal = shell.on_terminal("put", "TAKEN", "--api-only", "--replace")
    terminal.expect("New value of TAKEN in ")
    terminal.type("\x03")
    terminal.end(130)


@pytest.mark.parametrize(
    ("changes", "code"), [({"GITPOD_API_KEY": "wrong"}, 3), ({"GITPOD_API_KEY": ""}, 3), ({"GITPOD_PROJECT_ID": ""}, 2)]
)
def test_wrong_settings_are_said_before_a_question(shell: Shell, changes: dict[str, str], code: int) -> None:
    """Nobody types a value that could not be sent."""
    for arguments in (["create", "NAME"], ["put", "NAME"], ["update", "NAME"], ["delete", "NAME"]):
        shown = shell.on_terminal(*arguments, **changes).end(code)
        assert "error: " in shown
        assert "alue of" not in shown


@pytest.mark.parametrize("command", [["delete", "NAME"], ["update", "NAME"], ["list", "--all"], ["list", "--json"]])
def test_a_faulty_service_moves_no_cursor(shell: Shell, command: list[str]) -> None:
    """The scope and the path of a secret may hold anything."""
    odd = "\x1b[2J\x9b2J\u202e"
    scope = SecretScope(scope=ProjectId("project_id", odd))
    listed = ListSecretsResponse(secrets=[Secret(id="1", name="NAME", scope=scope, mount=FilePath("file_path", odd))])
    peer = Peer(answer(200, listed.to_binary(), content_type="application/proto"))
    terminal = shell.on_terminal(*command, GITPOD_BASE_URL=peer.url)
    terminal.expect("2J")
    if command[0] != "list":
        terminal.type("\x03")
    shown = terminal.past + terminal.end(0 if command[0] == "list" else 130)
    assert all(character.isprintable() or character in "\r\n" for character in shown)
    peer.close()
