"""Tokens and audit records: the commands, each as a process."""

import json
import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
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
        (["--role", "owner"], "'owner' is not one of"),
        (["--role", "admin", "--project", PROJECT], "an admin reaches every project"),
        (["--role", "environment"], "so it needs one"),
        (["--role", "member", "--project", "mine"], "'--project': is not a valid UUID"),
    ],
)
def test_a_token_that_makes_no_sense_is_refused(kept: Place, arguments: list[str], message: str) -> None:
    """Before the store is touched."""
    before = kept.snapshot()
    assert message in kept.run("token", "create", *arguments, code=2).err
    assert kept.snapshot() == before


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
