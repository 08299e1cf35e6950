"""Tokens and audit records on a terminal of 80 columns, by what is on the screen."""

import json
import re
import uuid
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.operators import PROJECT, Place

from gitpod.server import operate
from gitpod.server.caller import Role
from gitpod.server.storage.rows import StoredToken, audit_record, now
from gitpod.server.storage.store import Store
from gitpod_proto.gitpod.v1.identity_pb import Principal, Subject

DAY = 24 * 3600 * 1_000_000


def create(
    place: Place, role: Role, *projects: str, principal: Principal = Principal.USER, days: float = 0, note: str = ""
) -> StoredToken:
    """A new token of the store."""
    who = Subject(id=str(uuid.uuid4()), principal=principal)
    ends = now() + int(days * DAY) if days else None
    with closing(Store(place.url)) as store:
        return operate.create_token(store, None, who, role, frozenset(projects), None, expires_at=ends, note=note)[1]


def revoke(place: Place, token: StoredToken) -> None:
    """Revoke a token."""
    with closing(Store(place.url)) as store:
        operate.revoke_token(store, token.id)


def test_a_store_without_tokens_says_so(kept: Place) -> None:
    """On one line, without a header."""
    assert kept.screen("token", "list") == ["gitpod-secrets: no tokens"]


def test_a_table_has_no_columns_that_say_nothing(kept: Place) -> None:
    """One line for a token, with the beginnings of its ids, and a total."""
    made = create(kept, Role.ADMIN)
    header, row, total = kept.screen("token", "list")
    assert header.split() == ["ID", "ROLE", "OWNER", "CREATED"]
    assert row.split()[:3] == [made.id[:8], "admin", made.subject_id[:8]]
    assert total == "gitpod-secrets: 1 token"


def test_a_table_of_tokens_fits(kept: Place) -> None:
    """Whatever the tokens have; the beginnings of ids are whole, and ends are ages."""
    both = PROJECT, str(uuid.uuid4())
    create(kept, Role.ADMIN)
    one = create(kept, Role.MEMBER, PROJECT, principal=Principal.SERVICE_ACCOUNT, days=90.5, note="the shop, in 東京")
    create(kept, Role.ENVIRONMENT, *both, principal=Principal.ENVIRONMENT, note="n" * 100)
    revoke(kept, create(kept, Role.MEMBER, days=0.5))
    header, *rows, total = kept.screen("token", "list")
    assert header.split() == ["ID", "NOTE", "ROLE", "OWNER", "PROJECTS", "CREATED", "EXPIRES", "REVOKED"]
    assert (len(rows), total) == (4, "gitpod-secrets: 4 tokens")
    assert rows[1].startswith(one.id[:8])
    assert "in 90 d" in rows[1]
    wide = kept.screen("token", "list", columns=200)
    assert "the shop, in 東京" in wide[2]
    assert f"service-account {one.subject_id[:8]}" in wide[2]
    assert f"{min(both)[:8]} +1" in wide[3]


def test_what_is_shown_of_an_id_is_enough_to_revoke(kept: Place) -> None:
    """Also when ids have the same beginning."""
    for number in range(3):
        token = create(kept, Role.ADMIN)
        kept.sql("UPDATE tokens SET id = :new WHERE id = :old", new=f"abcdef01-23{number}{token.id[11:]}", old=token.id)
    shown = [line.split()[0] for line in kept.screen("token", "list")[1:-1]]
    assert sorted(shown) == ["abcdef01-230", "abcdef01-231", "abcdef01-232"]
    kept.run("token", "revoke", shown[1])
    listed = [json.loads(line) for line in kept.run("token", "list", "--json").out.splitlines()]
    assert [each["id"][:12] for each in listed if each["revoked_at"]] == [shown[1]]


@pytest.mark.parametrize("ends", [2**63 - 1, 1 - 2**63, -1])
def test_a_row_that_was_altered_hides_no_other(kept: Place, ends: int) -> None:
    """Whoever can write to the store must not make the lists fail."""
    tokens = [create(kept, Role.ADMIN, note="one"), create(kept, Role.ADMIN, note="two")]
    kept.sql("UPDATE tokens SET expires_at = :ends WHERE id = :id", ends=ends, id=tokens[0].id)
    assert len(kept.screen("token", "list")) == 4
    for command in ("token", "list"), ("audit",):
        assert "two" in kept.run(*command).out


def test_the_audit_is_a_table(kept: Place, template: tuple[Path, str]) -> None:
    """Ages, the beginnings of ids, scopes in the words of the options, notes of tokens, and the counts of refusals."""
    token = create(kept, Role.MEMBER, PROJECT, note="ci web")
    with closing(Store(kept.url)) as store, store.maintenance() as maintenance:
        who = Subject(id=token.subject_id, principal=Principal.USER)
        denied = audit_record(
            token.organization_id, who, "CreateSecret", outcome="permission_denied", token_id=token.id
        )
        maintenance.record(denied)
        kept_id = template[1]
    kept.sql("UPDATE audit SET count = 12 WHERE outcome <> 'ok'")
    header, *rows, total = kept.screen("audit")
    assert header.split() == ["AGE", "WHO", "ACTION", "SECRET", "SCOPE", "REFUSED", "TOKEN"]
    assert total == "gitpod-secrets: 4 records"
    assert re.search(rf"CreateSecret +{kept_id[:8]} +project {PROJECT[:3]}", rows[0])
    assert re.search(r"operator +CreateToken +ci web$", rows[2])
    assert re.search(rf"{token.subject_id[:8]} +CreateSecret +denied x12 +ci web$", rows[3])


def test_the_audit_says_when_there_is_more(kept: Place) -> None:
    """And when there is nothing, without a header."""
    assert kept.screen("audit", "--limit", "1")[-1] == "gitpod-secrets: 1 record; --limit shows more"
    assert kept.screen("audit", "--secret", str(uuid.uuid4())) == ["gitpod-secrets: no records"]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_line_of_a_table_is_a_line_of_the_terminal(kept: Place, columns: int) -> None:
    """As far as columns can be cut: 40 columns are too few for all of a list."""
    create(kept, Role.ADMIN, note="n" * 100)
    shown = kept.screen("token", "list", columns=columns)
    assert (len(shown) == 3) == (columns > 40)
