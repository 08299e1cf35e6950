"""Tokens and audit records: the commands, each as a process."""

import json
import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from postgres import until
from tests.support.operators import PROJECT, VALUE, Place, client

import gitpod
from gitpod import Gitpod
from gitpod.server import operate
from gitpod.server.caller import Role
from gitpod.server.storage.store import Store
from gitpod_proto.gitpod.v1.identity_pb import Principal, Subject

ADDED = ["expires_at", "note"]


def test_a_token_lives_from_its_making_to_its_end(place: Place) -> None:
    """Made before the store is ever served, it is used, listed without its secret, and revoked."""
    made = place.run("token", "create", "--role", "member", "--project", PROJECT)
    token = made.out.strip()
    match = re.search(r"token (\S+) for user (\S+); it is shown this once", made.err)
    assert match
    token_id, subject = match.groups()
    url = place.serve()
    with client(token, url) as member:
        secret = member.secrets.create(name="NAME", value="v", project_id=PROJECT, api_only=True).secret
        assert secret.creator
        assert secret.creator.id == subject
        listed = place.run("token", "list")
        assert [row[:5] for row in listed.lines[1:]] == [[token_id, "member", "user", subject, PROJECT]]
        [(digest,)] = place.sql("SELECT digest FROM tokens")
        for shown in (token.split("_", 2)[2], bytes(digest).hex(), "digest"):
            assert shown not in listed.out
        assert place.run("token", "revoke", str(uuid.uuid4()), code=1).err.startswith("gitpod-secrets: error: there is")
        place.run("token", "revoke", token_id)
        until(lambda: is_refused(member), "the token is refused", 5)
    actions = [action for (action,) in place.sql("SELECT action FROM audit ORDER BY id")]
    assert actions == ["CreateToken", "CreateSecret", "RevokeToken"]


def is_refused(member: Gitpod) -> bool:
    """Whether a token is not known."""
    try:
        member.secrets.list()
    except gitpod.AuthenticationError:
        return True
    return False


def test_tokens_are_listed_as_json_too(kept: Place) -> None:
    """The same, and when they were revoked."""
    with closing(Store(kept.url)) as store:
        subject = Subject(id=str(uuid.uuid4()), principal=Principal.RUNNER)
        token, stored = operate.create_token(store, None, subject, Role.ADMIN, frozenset(), None)
        operate.revoke_token(store, stored.id)
    done = kept.run("token", "list", "--json")
    [row] = [json.loads(line) for line in done.out.splitlines()]
    assert (row["id"], row["role"], row["principal"], row["projects"]) == (stored.id, "admin", "runner", "")
    assert row["revoked_at"] >= row["created_at"]
    assert token not in done.out
    assert not {"digest", "token"} & set(row)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--role", "owner"], "'--role': is not one of 'admin', 'member', 'environment'"),
        (["--role", "admin", "--project", PROJECT], "an admin reaches every project"),
        (["--role", "environment"], "so it needs one"),
        (["--role", "member", "--project", "mine"], "'--project': is not a valid UUID"),
        (["--role", "admin", "--expires", "0d"], "'--expires': must be later than now"),
        (["--role", "admin", "--expires", "2020-01-31"], "'--expires': must be later than now"),
        (["--role", "admin", "--expires", "530w"], "'--expires': must be within 10 years"),
        (["--role", "admin", "--expires", "9999-12-31T23:59:59+14:00"], "'--expires': must be within 10 years"),
        (["--role", "admin", "--expires", "-1d"], "'--expires': must be as 30m"),
        (["--role", "admin", "--expires", "1.5h"], "'--expires': must be as 30m"),
        (["--role", "admin", "--expires", "9" * 5000 + "m"], "'--expires': must be as 30m"),
        (["--role", "admin", "--note", " "], "'--note': must not be empty"),
        (["--role", "admin", "--note", "n" * 101], "'--note': must have at most 100 characters"),
        (["--role", "admin", "--note", "two\nlines"], "'--note': must not hold line breaks"),
        (["--role", "admin", "--note", "\x1b[31mred"], "'--note': must not hold line breaks"),
        (["--role", "admin", "--note", "\u202egnp.exe"], "'--note': must not hold line breaks"),
    ],
)
def test_a_token_that_makes_no_sense_is_refused(kept: Place, arguments: list[str], message: str) -> None:
    """Before the store is touched."""
    before = kept.snapshot()
    assert message in kept.run("token", "create", *arguments, code=2).err
    assert kept.snapshot() == before


LIVES = {"30m": 1800, "12h": 43200, "90d": 7776000, "1w": 604800}


@pytest.mark.parametrize("given", LIVES)
def test_the_end_of_a_token_counts_from_its_making(kept: Place, given: str) -> None:
    """In minutes, hours, days or weeks; the list and the audit show it."""
    made = kept.run("token", "create", "--role", "admin", "--expires", given, "--note", "ci web")
    [row] = [json.loads(line) for line in kept.run("token", "list", "--json").out.splitlines()]
    ends, began = (datetime.fromisoformat(row[name]) for name in ("expires_at", "created_at"))
    # Some time passes between the reading of the option and the making.
    assert timedelta() <= began - (ends - timedelta(seconds=LIVES[given])) < timedelta(seconds=60)
    assert f"expires at {row['expires_at'][:19]}" in made.err
    assert row["note"] == "ci web"
    record = json.loads(kept.run("audit", "--json").out.splitlines()[-1])
    assert [record[name] for name in ("action", "scope_id", "token_note", "token_expires_at")] == [
        "CreateToken",
        row["id"],
        "ci web",
        row["expires_at"],
    ]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("2030-01-31", "2030-01-31T00:00:00+00:00"),
        ("2030-01-31T12:00:00", "2030-01-31T12:00:00+00:00"),
        ("2030-01-31T12:00:00+02:00", "2030-01-31T10:00:00+00:00"),
    ],
)
def test_a_token_may_end_at_a_time(kept: Place, given: str, meant: str) -> None:
    """In UTC, unless the time has an offset."""
    assert f"expires at {meant}" in kept.run("token", "create", "--role", "admin", "--expires", given).err


def test_a_script_finds_the_columns_where_they_were(kept: Place) -> None:
    """What came later is behind them, in a list and in the audit."""
    kept.run("token", "create", "--role", "member", "--project", PROJECT, "--note", "ci web", "--expires", "1h")
    header, row = kept.run("token", "list").lines
    before = "id role principal subject_id projects created_at revoked_at organization_id"
    assert header == [*before.split(), *ADDED]
    assert (row[1], row[4], row[6], row[9]) == ("member", PROJECT, "-", "ci web")
    before = "at principal subject_id action secret_id scope_kind scope_id outcome count request_id token_id"
    header, *rows = kept.run("audit").lines
    assert header == [*before.split(), "organization_id", "token_note", "token_expires_at"]
    assert rows[-1][12] == "ci web"
    assert {row[12] for row in rows[:-1]} == {"-"}


@pytest.mark.parametrize(
    ("options", "reach"),
    [
        ([], "reaches only the secrets of the user"),
        (["--principal", "service-account"], "reaches only the secrets of the service-account"),
        (["--principal", "runner"], "reaches no secret at all"),
        (["--project", PROJECT], ""),
    ],
)
def test_a_member_without_a_project_is_warned_about(kept: Place, options: list[str], reach: str) -> None:
    """The warning says what its token reaches."""
    said = kept.run("token", "create", "--role", "member", *options).err
    assert (f"warning: without --project, this token {reach}" in said) == bool(reach)
    assert ("warning" in said) == bool(reach)


def test_a_token_is_revoked_by_the_beginning_of_its_id(kept: Place) -> None:
    """As a table shows it. A beginning of two ids revokes neither, and no message repeats what was given."""
    token = kept.run("token", "create", "--role", "admin").out.strip()
    kept.run("token", "create", "--role", "admin")
    [(one,), (two,)] = kept.sql("SELECT id FROM tokens")
    kept.sql("UPDATE tokens SET id = :new WHERE id = :old", new=f"{one[:8]}{two[8:]}", old=two)
    for given, code in (one[:8], 2), (one[:7], 2), (f"{one[:9]}zzzz", 2), (token, 2), ("0" * 8, 1):
        said = kept.run("token", "revoke", given, code=code).err
        assert given not in said
    assert kept.sql("SELECT 1 FROM tokens WHERE revoked_at IS NOT NULL") == []
    assert f"{one} is revoked" in kept.run("token", "revoke", one[:20].upper()).err


def test_records_are_shown(kept: Place, template: tuple[Path, str]) -> None:
    """Oldest first, of one secret or from a time on, the newest of them, and as JSON; values are in none."""
    kept.sql("UPDATE audit SET at = 1000000 WHERE action = 'CreateSecret'")
    secret_id = template[1]
    shown = kept.run("audit")
    assert shown.lines[0][:4] == ["at", "principal", "subject_id", "action"]
    assert [row[3] for row in shown.lines[1:]] == ["CreateSecret", "GetSecretValue"]
    assert all(row[4:7] == [secret_id, "project_id", PROJECT] and row[7] == "ok" for row in shown.lines[1:])
    assert shown.lines[1][0] == "1970-01-01T00:00:01.000+00:00"
    assert VALUE not in shown.out
    narrowed = {
        ("--secret", secret_id): ["CreateSecret", "GetSecretValue"],
        ("--secret", str(uuid.uuid4())): [],
        ("--since", "1970-01-01T00:00:02"): ["GetSecretValue"],
        ("--limit", "1"): ["GetSecretValue"],
    }
    with ThreadPoolExecutor() as pool:
        running = [pool.submit(kept.run, "audit", "--json", *options) for options in narrowed]
    answers = [[json.loads(line)["action"] for line in each.result().out.splitlines()] for each in running]
    assert answers == list(narrowed.values())
