"""A project's file: what it chooses, where it is found, and what a stranger's file cannot do."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.support.service import TOKEN
from tests.support.settings_files import API, NONE, WEB, inside, only, write_config, write_project
from tests.support.shell import VALUE, Shell

NAMES = f'[projects]\nweb = "{WEB}"\napi = "{API}"\n'


def scope(shell: Shell, folder: Path, *arguments: str, **changes: Any) -> list[str]:
    """The scope that `config` shows in a folder: its kind, its id, and where it is from."""
    rows = shell.run(*arguments, "config", command=inside(folder), **only(**changes)).rows
    found = [row for row in rows if row[0].endswith("_id")]
    return found[0] if found else []


def test_it_chooses_profile_and_scope_for_the_folders_below(shell: Shell) -> None:
    """`config` shows from which file each setting came."""
    config = write_config(shell, f'[profiles.mine]\nbase_url = "{shell.url}"\napi_key = "{TOKEN}"\nuser_id = "{API}"')
    file = write_project(shell.home / "work", f'profile = "mine"\nproject = "web"\n{NAMES}')
    here = inside(shell.home / "work/src/deep")
    done = shell.run("config", command=here, **NONE)
    assert done.rows == [
        ["profile", "mine", str(file)],
        ["base_url", shell.url, f"{config}: profiles.mine"],
        ["api_key", "…", f"{config}: profiles.mine"],
        ["project_id", WEB, str(file)],
    ]
    assert f"the project's file is {file}\n" in done.err
    shell.run("put", "OF_WEB", stdin=VALUE, command=here, **NONE)
    assert [row[0] for row in shell.run("list", "--project", WEB).rows] == ["OF_WEB"]


def test_projects_have_names(shell: Shell) -> None:
    """An option takes them, in every folder below the file."""
    work = shell.home / "work"
    write_project(work, f'[projects]\nweb = "{shell.project}"\n')
    shell.run("put", "NAMED", "--project", "web", stdin=VALUE, command=inside(work / "src"), GITPOD_PROJECT_ID="")
    assert shell.stored() == {"NAMED": VALUE}
    done = shell.run("list", "--project", "wob", code=2, command=inside(work))
    assert "'--project': is not a valid UUID, nor a project of .gitpod-secrets.toml; those are web" in done.err
    assert "wob" not in done.err
    assert "is not a valid UUID\n" in shell.run("list", "--project", "web", code=2).err


def test_a_question_has_the_name_and_the_id(shell: Shell) -> None:
    """The name alone would be a stranger's word for it."""
    shell.put("NAMED")
    file = write_project(shell.home / "work", f'project = "web"\n[projects]\nweb = "{shell.project}"\n')
    terminal = shell.on_terminal("delete", "NAMED", GITPOD_PROJECT_ID="", GITPOD_PROJECT_FILE=str(file))
    terminal.expect(f"Delete NAMED from project web ({shell.project[:8]}…) at {shell.url}?")
    terminal.type("n\n")
    terminal.end(1)


def test_a_command_that_asks_nothing_says_where_it_was(shell: Shell) -> None:
    """A stranger's file may have chosen the scope. An id is of whatever scope it is in, so nothing is said of it."""
    work = shell.home / "work"
    write_project(work, f'project = "web"\n[projects]\nweb = "{shell.project}"\n')
    here: Any = {"command": inside(work), "GITPOD_PROJECT_ID": ""}
    where = f" in project web ({shell.project[:8]}…)\n"
    made = shell.run("put", "OF_WEB", stdin=VALUE, **here)
    assert made.err == f"gitpod-secrets: created OF_WEB{where}"
    assert shell.run("update", "OF_WEB", stdin=VALUE, **here).err == f"gitpod-secrets: updated OF_WEB{where}"
    by_id = shell.run("update", made.rows[0][3], stdin=VALUE, **here)
    assert by_id.err == f"gitpod-secrets: updated {made.rows[0][3]}\n"
    assert shell.run("delete", "OF_WEB", "--yes", **here).err == f"gitpod-secrets: deleted OF_WEB{where}"


@pytest.mark.parametrize("key", ["project", "user", "organization", "service_account"])
def test_a_scope_may_be_an_id(shell: Shell, key: str) -> None:
    """Of every kind. Options and variables count more, and the configuration file less."""
    write_config(shell, f'organization_id = "{WEB}"')
    work = shell.home / "work"
    file = write_project(work, f'{key} = "{API}"')
    assert scope(shell, work) == [f"{key}_id", API, str(file)]
    assert scope(shell, work, GITPOD_PROJECT_ID=WEB) == ["project_id", WEB, "GITPOD_PROJECT_ID"]
    listed = shell.run("list", "--user", WEB, "--json", command=inside(work))
    assert listed.items == []


def test_its_profile_gives_way_to_variables(shell: Shell) -> None:
    """They name a service, or a token that may be for another one; `config` says so."""
    write_config(shell, '[profiles.mine]\nbase_url = "http://127.0.0.1:1"\n[profiles.next]\n')
    work = shell.home / "work"
    write_project(work, f'profile = "mine"\nproject = "{WEB}"')
    variables: Any = ({"GITPOD_BASE_URL": shell.url}, {"GITPOD_API_KEY": TOKEN})
    for changes in variables:
        done = shell.run("config", command=inside(work), **only(**changes))
        assert "http://127.0.0.1:1" not in done.text
        assert "its profile mine is not used: an option or a variable names the service" in done.err
    for name, source in (("next", "GITPOD_PROFILE"), ("", str(work / ".gitpod-secrets.toml"))):
        assert shell.run("config", command=inside(work), **only(GITPOD_PROFILE=name)).rows[0][2] == source


@pytest.mark.parametrize("key", ["base_url", "api_key", "ca_cert", "profiles", "command", "key", "GITPOD_API_KEY"])
def test_it_names_no_service_token_file_or_command(shell: Shell, key: str) -> None:
    """A stranger could receive the token by them. The error names the key, and the folder's commands all fail."""
    file = write_project(shell.home / "work", f'{key} = "{VALUE}"')
    done = shell.run("list", code=2, command=inside(file.parent))
    assert f"error: {file}: {key}: must not be in a project's file, which others may have written; it takes" in done.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("profile = 3", "profile: must be a name or an id"),
        (f'profile = "$({VALUE})"', "profile: must be a name or an id"),
        (r'profile = "a\u001b[2J"', "profile: must be a name or an id"),
        ('project = "web"', "project: is neither a UUID nor a name in [projects]"),
        ('user = "web"\n' + NAMES, "user: is not a valid UUID"),
        (f'user = "{WEB}"\nproject = "{API}"', "must have one of project, user, organization"),
        ('projects = ["x"]', "projects: must be a table of names"),
        ('[projects]\nweb = "x"', "projects: must be a table of names"),
        (f'[projects]\n"a;b" = "{WEB}"', "projects: must be a table of names"),
        (f'[projects]\n{WEB} = "{API}"', "projects: must be a table of names"),
        (f'[projects]\n{WEB.replace("-", "")} = "{API}"', "projects: must be a table of names"),
        (f"profile = {VALUE}", "is not valid TOML"),
        ("profile = " + "[" * 50_000, "is not valid TOML"),
        ("profile = " + "9" * 5_000, "is not valid TOML"),
        ("a" + ".a" * 30_000 + " = 1", "has a line with more than 64 dots"),
        ("#" * 70_000, "is larger than 65536 bytes"),
        (f'"{"k" * 50_000}" = 1', f"{'k' * 40}…: must not be in a project's file"),
        ('"a\\nb" = 1', "a?b: must not be in a project's file"),
    ],
)
def test_a_file_that_is_wrong_is_refused_at_once(shell: Shell, text: str, message: str) -> None:
    """Without what it holds, but for the names of keys."""
    file = write_project(shell.home / "work", text)
    assert f"error: {file}: {message}" in shell.run("config", code=2, command=inside(file.parent)).err


def test_bytes_that_are_no_text_are_refused(shell: Shell) -> None:
    """TOML is UTF-8."""
    file = write_project(shell.home / "work", "")
    file.write_bytes(b"\xff")
    assert "is not valid TOML" in shell.run("config", code=2, command=inside(file.parent)).err


def test_only_a_regular_file_is_read(shell: Shell) -> None:
    """No link, which may lead to a file of the user's; no pipe, which would be waited for; no folder."""
    config = write_config(shell, f'api_key = "{VALUE}"')
    work = shell.home / "work"
    work.mkdir()
    file = work / ".gitpod-secrets.toml"
    file.symlink_to(config)
    assert f"error: {file}: must not be a symbolic link" in shell.run("config", code=2, command=inside(work)).err
    file.unlink()
    os.mkfifo(file)
    assert f"error: {file}: must be a regular file" in shell.run("config", code=2, command=inside(work)).err
    file.unlink()
    file.mkdir()
    assert f"error: {file}: must be a regular file" in shell.run("config", code=2, command=inside(work)).err


@pytest.mark.parametrize("which", ["the file", "its folder"])
def test_what_others_can_write_is_refused(shell: Shell, which: str) -> None:
    """The user may name the file, and so trust it. A group may write it, as git's files often are."""
    file = write_project(shell.home / "work", f'project = "{WEB}"')
    path = file if which == "the file" else file.parent
    path.chmod(path.stat().st_mode | 0o020)
    assert scope(shell, file.parent)[1] == WEB
    path.chmod(path.stat().st_mode | 0o002)
    below = inside(file.parent / "src")
    done = shell.run("config", code=2, command=below)
    assert f"error: {file}: another user owns or can write it, or its folder" in done.err
    assert scope(shell, file.parent, GITPOD_PROJECT_FILE=str(file))[1] == WEB
    assert scope(shell, file.parent, GITPOD_PROJECT_FILE="/dev/null") == []


@pytest.mark.parametrize("which", ["the file", "its folder"])
def test_what_another_user_owns_is_refused(shell: Shell, which: str) -> None:
    """Git refuses a repository so, too."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    file = write_project(shell.home / "work", f'project = "{WEB}"')
    os.chown(file if which == "the file" else file.parent, 1, -1)
    done = shell.run("config", code=2, command=inside(file.parent))
    assert f"error: {file}: another user owns or can write it, or its folder" in done.err


def test_the_search_ends_at_the_home_folder(shell: Shell) -> None:
    """A file in the home folder or above it is not found from below."""
    write_project(shell.home, "unknown = 1")
    assert scope(shell, shell.home / "work") == scope(shell, shell.home) == []
    home: dict[str, Any] = {"HOME": str(shell.home / "elsewhere")}
    assert "unknown: must not be" in shell.run("config", code=2, command=inside(shell.home / "work"), **home).err


def test_the_search_ends_at_another_file_system(shell: Shell) -> None:
    """As git's does."""
    write_project(shell.home / "work", f'project = "{WEB}"')
    below = shell.home / "work/mounted"
    assert scope(shell, below)[1] == WEB
    mount = f'mount -t tmpfs none "{below}" && cd "{below}" && exec "$@"'
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount, "sh", "true"], check=False, capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    command = ("unshare", "-rm", "sh", "-c", mount, "sh", *inside(below)[4:])
    assert [row[0] for row in shell.run("config", command=command, **NONE).rows] == ["base_url"]


def test_a_folder_that_was_removed_has_no_file(shell: Shell) -> None:
    """The command runs there as it does elsewhere."""
    gone = shell.home / "gone"
    command = ("sh", "-c", 'mkdir "$0" && cd "$0" && rmdir "$0" && exec "$@"', str(gone), *inside(shell.home)[4:])
    assert shell.run("config", command=command).rows[0] == ["base_url", shell.url, "GITPOD_BASE_URL"]


def test_a_file_that_is_named_must_exist(shell: Shell) -> None:
    """And be a file: a pipe is not waited for."""
    done = shell.run("config", code=2, GITPOD_PROJECT_FILE="/nowhere")
    assert "error: GITPOD_PROJECT_FILE: there is no file /nowhere" in done.err
    pipe = shell.home / "pipe"
    os.mkfifo(pipe)
    assert "must be a regular file" in shell.run("config", code=2, GITPOD_PROJECT_FILE=str(pipe)).err


def test_projects_and_profiles_are_completed(shell: Shell) -> None:
    """In a folder with a wrong file, nothing is, and nothing is said."""
    write_config(shell, '[profiles.prod]\n[profiles."pre.prod"]\n[profiles.dev]')
    file = write_project(shell.home / "work", NAMES)

    def ask(*words: str) -> list[str]:
        line = {"COMP_WORDS": " ".join(["gitpod-secrets", *words]), "COMP_CWORD": str(len(words))}
        asking: dict[str, Any] = {"_GITPOD_SECRETS_COMPLETE": "bash_complete", **line}
        done = shell.run(command=inside(file.parent), **asking)
        assert done.err == ""
        return [text.partition(",")[2] for text in done.text.split()]

    assert ask("--profile", "p") == ask("list", "--profile", "p") == ["pre.prod", "prod"]
    assert ask("list", "--project", "w") == ["web"]
    file.write_text("unknown = 1")
    assert ask("list", "--project", "w") == []


def test_the_name_of_its_folder_moves_no_cursor(shell: Shell) -> None:
    """A stranger may have chosen the name."""
    folder = shell.home / "a\x1b[2Jb\x9b2Jc"
    write_project(folder, f'project = "{WEB}"')
    done = shell.run("config", command=inside(folder))
    assert "the project's file is" in done.err
    assert all(character.isprintable() or character in "\t\n" for character in done.text + done.err)
