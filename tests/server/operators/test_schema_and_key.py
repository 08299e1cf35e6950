"""Which schema and which key a store accepts."""

import uuid
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.operators import KEY_IN_BASE64, OTHERS, PROJECT, Place, client

from gitpod import GitpodError
from gitpod.server.keys.unlock import unlock
from gitpod.server.storage.store import Store


def test_a_schema_is_made_once(place: Place) -> None:
    """Also before there is a key, and a second run changes nothing."""
    place.run("migrate")
    assert place.sql("SELECT count(*) FROM organizations") == [(0,)]
    before = place.snapshot()
    assert place.run("migrate").err == "gitpod-secrets: the schema is current\n"
    assert place.snapshot() == before
    with closing(Store(place.url)) as store:
        assert unlock(store, place.key)[0].id == store.organizations()[0]


def wrong(place: Place, how: str) -> str | None:
    """Make the key of a store a wrong one; what to name it by."""
    path = place.folder / "secrets.db.key"
    match how:
        case "missing":
            path.unlink()
        case "open to others":
            path.chmod(0o640)
        case "another store's":
            other = place.folder.with_name("other.db")
            with client("any", f"sqlite:///{other}") as another:
                another.secrets.list()
            other.with_name("other.db.key").replace(path)
        case _:
            return how
    return None


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "secrets.db.key is missing, and without it the values of this store are lost"),
        ("open to others", "secrets.db.key is open to other users; chmod 600 it"),
        ("another store's", OTHERS),
        ("env:OTHER_KEY", f"the key in OTHER_KEY {OTHERS}"),
        ("env:NO_KEY", "the key's environment variable NO_KEY is not set"),
        ("env:BAD_KEY", "the environment variable BAD_KEY does not hold a key: 32 bytes in base64"),
        ("command:false", "false unwrap ended with status 1"),
        ("command:", "the key's command is missing"),
        ("secrets.db.key", "the key must be file:PATH, env:NAME or command:COMMAND"),
    ],
)
def test_a_wrong_key_is_refused_and_nothing_written(kept: Place, how: str, message: str) -> None:
    """By the service and by what changes keys, each in a line that says why."""
    kept.key = wrong(kept, how)
    kept.environment = {"OTHER_KEY": KEY_IN_BASE64, "BAD_KEY": "short"}
    before = kept.snapshot()
    rare = [["keys", "reencrypt"], ["keys", "rewrap", "--to", "file:new"], ["keys", "rotate"]]
    rare += [["token", "create", "--role", "admin", "--organization", str(uuid.uuid4())]]
    for err in kept.refusals([["serve", "--port", "0"], *(rare if how == "another store's" else [])]):
        assert err.startswith("gitpod-secrets: error: ")
        assert message in err
        assert err.count("\n") == 1
    assert kept.snapshot() == before


def test_postgresql_needs_a_key(database_url: str, tmp_path: Path) -> None:
    """That somebody names, and that is its own; until then there is not even a schema."""
    place = Place(database_url, tmp_path)
    for key, message in (("", "a store on PostgreSQL needs a key"), ("env:NO_KEY", "variable NO_KEY is not set")):
        assert message in place.run("serve", "--port", "0", code=2, GITPOD_SECRETS_KEY=key).err
    assert place.snapshot() == {}
    with closing(Store(database_url)) as store:
        unlock(store, f"file:{tmp_path}/key")
    before = place.snapshot()
    assert before
    assert OTHERS in place.run("serve", "--port", "0", code=2, GITPOD_SECRETS_KEY="env:K", K=KEY_IN_BASE64).err
    assert place.snapshot() == before


NEWER = "the store is from a newer version of gitpod-connect: its schema is 9999"
OPERATIONS = [
    ["serve", "--port", "0"],
    ["migrate"],
    ["token", "create", "--role", "admin"],
    ["token", "list"],
    ["token", "revoke", PROJECT],
    ["keys", "rotate"],
    ["keys", "reencrypt"],
    ["keys", "rewrap", "--to", "file:new"],
    ["audit"],
]


@pytest.mark.parametrize("commands", [OPERATIONS[:3], OPERATIONS[3:]], ids=["making", "using"])
def test_a_newer_schema_is_refused(kept: Place, commands: list[list[str]]) -> None:
    """By whatever opens it, with the reason, and it stays as it is."""
    kept.sql("UPDATE alembic_version SET version_num = '9999'")
    before = kept.snapshot()
    for err in kept.refusals(commands):
        assert err.startswith(f"gitpod-secrets: error: {NEWER}")
    assert kept.snapshot() == before


def test_a_newer_schema_is_refused_in_process(kept: Place) -> None:
    """By the client's first call."""
    kept.sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(GitpodError, match=f"base_url: {NEWER}"), client("any", kept.url) as embedded:
        embedded.secrets.list()
