"""The recipes of docs/cli/recipes.md, each run as a reader would run it."""

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


def test_every_recipe_is_run() -> None:
    """There are no others than those above and below."""
    ours = [recipe(heading) for heading in ("Rotate", "Move")]
    assert [len(blocks) for blocks in ours] == [1, 1]
    assert RECIPES.count("\n```sh\n") == 2
    assert RECIPES.count("\n## ") == 2


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
