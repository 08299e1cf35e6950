"""The rows of a store, and its schema."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import inspect
from sqlalchemy.exc import IntegrityError
from tests.support.storage import ORGANIZATION, OTHER, PROJECT, Writes, add, listed, named, names, secret, write

from gitpod.server.app import Embedded
from gitpod.server.storage import migrations
from gitpod.server.storage.migrations import REVISION
from gitpod.server.storage.queries import MOST_MERGED, page_query
from gitpod.server.storage.rows import ListedSecret, Position, Sealed, StoredSecret, StoredToken, audit_record
from gitpod.server.storage.schema import metadata
from gitpod.server.storage.sql import SQL, sql
from gitpod.server.storage.store import Store
from gitpod.server.storage.transaction import Transaction

FILL = f"""
INSERT INTO secrets SELECT '{ORGANIZATION}', n::text, 'project_id', (n % 50)::text, n::text, n, n, '', '', ''
FROM generate_series(1, 20000) AS n
"""  # noqa: S608 # the constant above
RESEALED = Sealed(key_id="k2", ciphertext=b"resealed")


def token(**changed: Any) -> StoredToken:
    """A token that was not kept yet."""
    bare = StoredToken(
        organization_id=ORGANIZATION,
        id=str(uuid4()),
        digest=b"d" * 32,
        subject_id=OTHER,
        principal=1,
        role="admin",
        projects="",
        created_at=1,
        key_id="",
        tag=b"",
    )
    return replace(bare, **changed)


def find(store: Store, wanted: StoredSecret) -> StoredSecret | None:
    """The row of a secret."""
    found: StoredSecret | None = write(store.write, lambda each: each.find(wanted.organization_id, wanted.id))
    return found


def test_a_secret_is_found_as_it_was_kept(store: Store) -> None:
    """With the times of its creation, and in its organization alone."""
    kept = add(store, secret())
    assert kept is not None
    assert kept.created_at == kept.updated_at > 0
    assert find(store, kept) == kept
    assert find(store, replace(kept, organization_id=OTHER)) is None


def test_a_name_is_unique_in_its_scope(store: Store) -> None:
    """And free in any other scope, and in any other organization."""
    assert add(store, secret())
    assert add(store, secret()) is None
    assert add(store, secret(scope_id=OTHER))
    assert add(store, secret(scope_kind="user_id"))
    assert add(store, secret(organization_id=OTHER))
    assert add(store, secret("name"))
    assert names(store) == ["NAME", "NAME", "NAME", "name"]


def test_a_value_is_replaced_in_its_row_alone(store: Store) -> None:
    """The rest of the row stays, except for the time; without the row there is nothing to replace."""
    first, second = add(store, secret("FIRST")), add(store, secret("SECOND"))
    assert first
    assert second
    assert write(store.write, lambda each: each.replace_value(first, RESEALED)) is True
    now = find(store, first)
    assert now
    assert now.updated_at > first.updated_at
    assert now == replace(first, updated_at=now.updated_at, **asdict(RESEALED))
    assert find(store, second) == second
    gone, foreign = secret(), replace(first, organization_id=OTHER)
    assert write(store.write, lambda each: each.replace_value(gone, RESEALED)) is False
    assert write(store.write, lambda each: each.replace_value(foreign, RESEALED)) is False


def test_a_removed_secret_is_gone_once(store: Store) -> None:
    """Its name is free again, and others stay."""
    kept = add(store, secret())
    assert kept
    assert add(store, secret("OTHER"))
    assert write(store.write, lambda each: each.remove(replace(kept, organization_id=OTHER))) is False
    assert write(store.write, lambda each: each.remove(kept)) is True
    assert write(store.write, lambda each: each.remove(kept)) is False
    assert find(store, kept) is None
    assert add(store, secret())
    assert names(store) == ["OTHER", "NAME"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_pages_hold_every_row_once(store: Store, data: st.DataObject) -> None:
    """In the order of their creation, whatever their size and the scopes that they keep."""
    scopes = [("project_id", PROJECT), ("project_id", OTHER), ("user_id", PROJECT)]
    if not names(store):
        for number in range(23):
            kind, scope_id = scopes[number % 7 % 3]
            add(store, secret(f"NUM{number}", scope_kind=kind, scope_id=scope_id))
        add(store, secret("FOREIGN", organization_id=OTHER))
    chosen = data.draw(st.none() | st.lists(st.sampled_from([*scopes, ("user_id", OTHER)])))
    sizes = data.draw(st.lists(st.integers(1, 30), min_size=1))
    found: list[ListedSecret] = []
    while page := store.page(
        ORGANIZATION, chosen, Position(found[-1].created_at, found[-1].id) if found else None, sizes[0]
    ):
        assert len(page) <= sizes[0]
        found += page
        assert len(found) <= 23
        sizes = [*sizes[1:], sizes[0]]
    expected = [number for number in range(23) if chosen is None or scopes[number % 7 % 3] in chosen]
    assert [named(each) for each in found] == [f"NUM{number}" for number in expected]


@pytest.mark.parametrize("count", [1, 2, MOST_MERGED])
@pytest.mark.parametrize("after", [None, Position(5, "x")], ids=["first", "later"])
def test_a_page_reads_no_further_than_it_needs(writes: Writes, count: int, after: Position | None) -> None:
    """Each of its scopes by the index, in order; so nothing is sorted that the page does not have."""
    scopes = [("project_id", str(uuid4())) for _ in range(count)]
    statement, values = page_query(ORGANIZATION, scopes, after, 26)
    plans = SQL(f"EXPLAIN QUERY PLAN {statement.sqlite}", b"EXPLAIN (COSTS OFF) " + statement.postgresql)
    with writes.database.writer() as session:
        if not session.is_sqlite:
            # PostgreSQL chooses by what the table has.
            session.change(sql(FILL))
            session.change(sql("ANALYZE secrets"))
        plan = [str(row[-1]) for row in session.rows(plans, values)]
    assert sum("secrets_by_scope" in line for line in plan) == count
    assert not [line for line in plan if re.search("SCAN|B-TREE|Sort$", line)]


@pytest.mark.parametrize("count", [MOST_MERGED, MOST_MERGED + 1, 600])
def test_a_page_has_any_number_of_scopes(store: Store, count: int) -> None:
    """As a token may name as many projects as it likes."""
    scopes = [("project_id", str(uuid4())) for _ in range(count)]
    kept = [add(store, secret(f"NUM{number}", scope_id=scopes[number * 30][1])) for number in range(3)]
    add(store, secret("FOREIGN"))
    first, second, last = (listed(each) for each in kept if each)
    assert store.page(ORGANIZATION, scopes, None, 2) == [first, second]
    assert store.page(ORGANIZATION, scopes, Position(second.created_at, second.id), 2) == [last]
    assert store.page(ORGANIZATION, [], None, 2) == []


def test_tokens_are_found_by_their_digest_and_organization(store: Store) -> None:
    """Oldest first; one that is revoked says since when, and stays so."""
    first, second = token(created_at=2), token(created_at=1, digest=b"e" * 32)
    with store.maintenance() as maintenance:
        maintenance.add_token(first)
        maintenance.add_token(second)
    assert store.tokens() == [second, first]
    assert store.token(ORGANIZATION, first.digest) == first
    assert store.token(OTHER, first.digest) is None
    with store.maintenance() as maintenance:
        assert maintenance.revoke_token(OTHER) is None
        assert maintenance.revoke_token(first.id) == first
    revoked = store.token(ORGANIZATION, first.digest)
    assert revoked
    assert revoked.revoked_at
    with store.maintenance() as maintenance:
        assert maintenance.revoke_token(first.id) == revoked
    assert store.tokens() == [second, replace(first, revoked_at=revoked.revoked_at)]


def test_two_tokens_cannot_have_one_digest(store: Store) -> None:
    """In an organization; nothing of such a transaction is kept."""

    def add_two() -> None:
        with store.maintenance() as maintenance:
            maintenance.add_token(token())
            maintenance.add_token(token())

    with pytest.raises(IntegrityError):
        add_two()
    assert store.tokens() == []


def test_audit_records_are_the_newest_in_order(store: Store) -> None:
    """Of one secret, or since a time, when that is asked for."""
    made = [audit_record(ORGANIZATION, None, f"A{number}", secret_id=str(number % 2)) for number in range(6)]
    for record in made:
        store.write(record, partial(Transaction.record, record=record))
    every = store.audit(secret_id=None, since=0, limit=100)
    assert every == made
    assert store.audit(secret_id=None, since=0, limit=2) == every[-2:]
    assert store.audit(secret_id="1", since=0, limit=2) == [every[3], every[5]]
    assert store.audit(secret_id=None, since=every[4].at, limit=100) == every[4:]


def test_every_key_leads_with_the_organization(store: Store, writes: Writes) -> None:
    """In the declared tables and in those of the database; so rows can be spread by it."""
    assert store.is_current
    keys: dict[str, list[str | None]] = {}
    declared: dict[str, list[str | None]] = {}
    found = inspect(writes.database.engine)
    for name, table in metadata.tables.items():
        declared[name] = [next(iter(table.primary_key)).name]
        declared[name] += [next(iter(index.columns)).name for index in table.indexes]
        keys[name] = [found.get_pk_constraint(name)["constrained_columns"][0]]
        keys[name] += [index["column_names"][0] for index in found.get_indexes(name)]
        keys[name] += [unique["column_names"][0] for unique in found.get_unique_constraints(name)]
    assert keys == declared
    assert declared.pop("organizations") == ["id"]
    assert {column for columns in declared.values() for column in columns} == {"organization_id"}


def test_the_migrated_schema_is_the_declared_one(writes: Writes) -> None:
    """Alembic has nothing to add, and its newest revision is the one that the schema names."""
    with writes.database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert MigrationContext.configure(connection).get_current_revision() == REVISION
    config = Config()
    config.set_main_option("script_location", str(migrations.__path__[0]))
    assert ScriptDirectory.from_config(config).get_heads() == [REVISION]


def test_four_starts_on_a_new_database(url: str, tmp_path: Path) -> None:
    """All of them succeed, and have the same organization and data key."""
    program = "import sys\nfrom gitpod.server.app import Embedded\nEmbedded(sys.argv[1], key=sys.argv[2]).close()"
    key = f"file:{tmp_path / 'key'}"
    starting = [subprocess.Popen([sys.executable, "-c", program, url, key]) for _ in range(4)]
    assert [process.wait(60) for process in starting] == [0, 0, 0, 0]
    with closing(Store(url)) as store:
        assert len(store.organizations()) == 1
        assert len(store.data_keys(store.organizations()[0])) == 1


def test_racing_starts_of_one_process_all_succeed(url: str, tmp_path: Path) -> None:
    """Threads race closer than processes do."""
    with ThreadPoolExecutor(4) as pool:
        starting = [pool.submit(Embedded, url, key=f"file:{tmp_path / 'key'}") for _ in range(4)]
    for each in starting:
        each.result().close()
