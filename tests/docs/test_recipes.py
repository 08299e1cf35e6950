"""The recipes of docs/cli/recipes.md, each run as a reader would run it."""

import base64
import json
import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from tests.support.desk import BLOCK, Desk
from tests.support.service import ROOT, Service

RECIPES = (ROOT / "docs/cli/recipes.md").read_text()
OLD = "old-passw0rd-of-the-database"


@pytest.fixture
def desk(service: Service, tmp_path: Path) -> Desk:
    """A desk with empty projects."""
    return Desk(service.url, tmp_path)


def recipe(heading: str) -> list[str]:
    """The `sh` blocks under a heading of the recipes."""
    [section] = [part for part in RECIPES.split("\n## ") if part.startswith(heading)]
    return [code for language, code in BLOCK.findall(section) if language == "sh"]


@pytest.fixture
def rotating(desk: Desk) -> Desk:
    """Three projects with the password of a database, which is a file."""
    desk.sign_in()
    desk.program("set-password", "cat > database")
    desk.program("check-login", '[ "$DATABASE_PASSWORD" = "$(cat database)" ]')
    (desk.folder / "database").write_text(OLD)
    for number in range(3):
        desk.put(number, "DATABASE_PASSWORD", OLD)
    return desk


def test_a_password_is_rotated(rotating: Desk) -> None:
    """In the database and all three projects, by a password that no traced command has; the old one is gone."""
    [script] = recipe("Rotate")
    trace = rotating.script(script, "-x")
    new = (rotating.folder / "database").read_text()
    assert len(new) == 43
    assert [rotating.stored(number) for number in range(3)] == [{"DATABASE_PASSWORD": (new, "env")}] * 3
    assert "gitpod-secrets update DATABASE_PASSWORD --project" in trace
    assert new not in trace
    assert OLD not in trace


def test_a_password_that_does_not_work_is_taken_back(rotating: Desk) -> None:
    """Where the last project cannot log in, all have the old one, which they kept until then."""
    login = '[ "$DATABASE_PASSWORD" = "$(cat database)" ] && echo >> tries && [ "$(wc -l < tries)" -lt 3 ]'
    rotating.program("check-login", login)
    [script] = recipe("Rotate")
    assert "back to the old password" in rotating.script(script, status=1)
    assert (rotating.folder / "database").read_text() == OLD
    assert [rotating.stored(number) for number in range(3)] == [{"DATABASE_PASSWORD": (OLD, "env")}] * 3


def test_two_rotations_do_not_meet(rotating: Desk) -> None:
    """The second changes nothing, and says why."""
    rotating.put(0, "DATABASE_PASSWORD_NEW", "of the first")
    [script] = recipe("Rotate")
    assert "already_exists" in rotating.script(script, status=5)
    assert (rotating.folder / "database").read_text() == OLD
    assert rotating.stored(1) == {"DATABASE_PASSWORD": (OLD, "env")}
    assert rotating.stored(0)["DATABASE_PASSWORD_NEW"] == ("of the first", "env")


def test_docker_logins_are_brought_in(desk: Desk) -> None:
    """Those that the file has; what a helper keeps is named, and nothing of a login is printed."""
    desk.sign_in()
    logins = {"registry.example.com": "deploy:s3cret:with-colon", "https://hub.example.com/v1/": "me:pässword"}
    auths = {host: {"auth": base64.b64encode(login.encode()).decode()} for host, login in logins.items()}
    (desk.folder / ".docker").mkdir()
    (desk.folder / ".docker/config.json").write_text(json.dumps({"auths": {**auths, "helped.example.com": {}}}))
    [script] = recipe("Import")
    printed = desk.script(script)
    assert "helped.example.com: no password in this file\n" in printed
    assert not any(part in printed for part in ("s3cret", "pässword"))
    assert desk.stored() == {
        "DOCKER_REGISTRY_EXAMPLE_COM": ("deploy:s3cret:with-colon", "https://registry.example.com"),
        "DOCKER_HUB_EXAMPLE_COM_V1": ("me:pässword", "https://hub.example.com/v1/"),
    }


def test_a_ci_job_deploys(desk: Desk, service: Service) -> None:
    """With a token that only reads, masks for what is not short, and the deployment's own exit status."""
    desk.sign_in()
    desk.environment["GITPOD_SECRETS_STORE"] = f"sqlite:///{service.path}"
    desk.put(0, "MULTILINE", "line-1\n50%\n1")
    with desk.client() as client:
        client.secrets.create(name="SSH_KEY", value="of-ssh", project_id=desk.ids[0], file_path="/home/gitpod/key")
    token, job = recipe("Use it in a CI job")
    assert "it is shown this once" in desk.script(token)
    desk.environment |= {"GITPOD_API_KEY": (desk.folder / "ci.token").read_text().strip(), "GITHUB_ACTIONS": "true"}
    desk.program("deploy", 'test "$MULTILINE" && stat -c %a "$SSH_KEY" && exit 9')
    assert desk.script(job, status=9) == "::add-mask::line-1\n::add-mask::of-ssh\n600\n"
    refused = "gitpod-secrets delete MULTILINE --yes"
    assert "permission_denied" in desk.script(refused, status=3)


@pytest.mark.parametrize("store", ["", "sqlite:///missing/secrets.db"])
def test_a_token_that_is_not_made_leaves_no_file(desk: Desk, store: str) -> None:
    """The script ends with what is missing."""
    desk.sign_in()
    desk.environment["GITPOD_SECRETS_STORE"] = store
    shown = desk.script(recipe("Use it in a CI job")[0], status=2 if store else 1)
    assert ("gitpod-secrets: error: " if store else "GITPOD_SECRETS_STORE: is not set") in shown
    assert not (desk.folder / "ci.token").exists()


def test_every_recipe_is_run() -> None:
    """There are no others than those above and below."""
    ours = [recipe(heading) for heading in ("Rotate", "Import", "Use it in a CI job", "Move")]
    assert [len(blocks) for blocks in ours] == [1, 1, 2, 1]
    assert RECIPES.count("\n```sh\n") == 5
    assert RECIPES.count("\n## ") == 4


def test_a_ci_job_without_a_token_deploys_nothing(desk: Desk) -> None:
    """It ends with what is missing."""
    desk.program("deploy", "echo deployed")
    assert desk.script(recipe("Use it in a CI job")[1], status=1).endswith("GITPOD_API_KEY: is not set for this job\n")


def test_the_workflow_is_one(desk: Desk) -> None:
    """Indented by mappings of two blanks, with the steps that it needs, of which shells read those that are theirs."""
    [workflow] = [code for language, code in BLOCK.findall(RECIPES) if language == "yaml"]
    line = re.compile(r"((  )*)(- )?([\w-]+):( \S.*)?")
    read = [found for each in workflow.splitlines() if (found := line.fullmatch(each))]
    assert len(read) == len(workflow.splitlines())
    depths = [len(found[1]) // 2 for found in read]
    assert all(after <= before + 2 for before, after in pairwise(depths))
    for found in read:
        if found[4] == "run":
            subprocess.run(["bash", "-n"], input=found[5], text=True, check=True, cwd=desk.folder)
    assert {"name", "on", "jobs", "runs-on", "steps"} <= {found[4] for found in read}


def test_secrets_move(desk: Desk) -> None:
    """All of them, with their mounts, beside what the new project has; the old one is empty then."""
    desk.sign_in()
    desk.put(0, "DATABASE_URL", "it's\n")
    desk.put(1, "OF_THE_NEW", "one")
    with desk.client() as client:
        client.secrets.create(name="2FA_SEED", value="\0", project_id=desk.ids[0], api_only=True)
    [script] = recipe("Move")
    desk.script(script)
    assert desk.stored(0) == {}
    assert desk.stored(1) == {
        "DATABASE_URL": ("it's\n", "env"),
        "2FA_SEED": ("\0", "api-only"),
        "OF_THE_NEW": ("one", "env"),
    }


def test_secrets_stay_where_one_cannot_move(desk: Desk) -> None:
    """A name that is there with another mount stops the move before anything is deleted."""
    desk.sign_in()
    desk.put(0, "DATABASE_URL", "of the old")
    with desk.client() as client:
        client.secrets.create(name="DATABASE_URL", value="of the new", project_id=desk.ids[1], api_only=True)
    [script] = recipe("Move")
    assert "exists with the mount api-only" in desk.script(script, status=5)
    assert desk.stored(0) == {"DATABASE_URL": ("of the old", "env")}
    assert desk.stored(1) == {"DATABASE_URL": ("of the new", "api-only")}
