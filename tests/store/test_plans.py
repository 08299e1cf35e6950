"""PostgreSQL's plans in a new store that grows, before autovacuum has told it how large its tables are."""

from collections.abc import Callable
from contextlib import closing

import psycopg
import pytest
from postgres import until
from tests.support.realm import unique
from tests.support.storage import ORGANIZATION, OTHER, Writes, adds, finds, secret, tables, together, write

from gitpod.server.storage.rows import StoredSecret
from gitpod.server.storage.store import Store

ROWS = 20_000
ROUNDS = 12
"""Uses of a statement: psycopg prepares it at the sixth, and PostgreSQL may keep its plan from the fifth after that."""
FEW = 2_000
"""The most rows that all rounds may read. A plan that reads the whole organization reads ten times as many at once."""
GROW = f"""
INSERT INTO secrets SELECT '{ORGANIZATION}', gen_random_uuid(), 'project_id', '{OTHER}', 'N' || number, number, number,
    'record', 'k1', 'sealed' FROM generate_series(1, {ROWS}) AS number
"""  # noqa: S608 # the constants above
READ = """
SELECT sum(idx_tup_read) + (SELECT sum(seq_tup_read) FROM pg_stat_user_tables) FROM pg_stat_user_indexes
"""
OTHERS = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
Act = Callable[[Store, Writes, list[StoredSecret]], object]


def nothing(*_: object) -> None:
    """Do no more with what was found."""


ACTS: dict[str, Act] = {
    "a create": lambda _, writes, __: write(writes.run, adds(secret(unique()))),
    "creates together": lambda _, writes, __: together(writes, *(adds(secret(unique())) for _ in range(8))),
    "taken names": lambda _, writes, kept: together(writes, *(adds(secret(each.name)) for each in kept)),
    "a value": lambda _, writes, kept: write(writes.run, finds(kept[0], nothing)),
    "values together": lambda _, writes, kept: together(writes, *(finds(each, nothing) for each in kept)),
    "a token": lambda store, _, __: store.token(ORGANIZATION, b"digest"),
}


def rows_read(watching: psycopg.Connection[tuple[int]]) -> int:
    """The rows that other connections have read, which they tell at their end."""
    until(lambda: not watching.execute(OTHERS).fetchall(), "the other connections end")
    found = watching.execute(READ).fetchone()
    assert found
    return found[0]


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_a_statement_does_not_keep_the_plan_of_an_empty_table(database_url: str, act: Act) -> None:
    """It reads few rows of a table that has grown since it was prepared, and was not analyzed since."""
    with psycopg.connect(database_url, autocommit=True) as watching:
        with tables(database_url) as store:
            writes = Writes(database_url)
            with closing(writes.database):
                watching.execute("ALTER TABLE secrets SET (autovacuum_enabled = off)")
                watching.execute("ANALYZE secrets")
                kept = [write(writes.run, adds(secret(f"KEPT{each}"))) for each in range(8)]
                for _ in range(ROUNDS):
                    act(store, writes, kept)
                watching.execute(GROW.encode())
                for _ in range(ROUNDS):
                    act(store, writes, kept)
        assert rows_read(watching) < FEW
