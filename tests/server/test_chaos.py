"""What was acknowledged survives kill -9, of the service and of its database: the short form of `make chaos`."""

import pytest
from chaos import Run, on_postgres, on_sqlite
from postgres import MISSING, binaries
from unwell import stopped_postgres, unwell_sqlite


def test_sqlite_keeps_what_was_acknowledged() -> None:
    """Creates, updates and deletes, with the service killed among them."""
    assert [str(run) for run in on_sqlite(2, seed=1) if not run.holds] == []


@pytest.mark.skipif(binaries() is None, reason=MISSING)
def test_postgresql_keeps_what_was_acknowledged() -> None:
    """The same, with the service and PostgreSQL killed together."""
    assert [str(run) for run in on_postgres(1, seed=1) if not run.holds] == []


def test_a_sqlite_store_that_is_not_well_keeps_what_was_acknowledged() -> None:
    """The disk is full for a while, or a file of the store is removed."""
    runs = [Run(*fields) for fields in unwell_sqlite(3, seed=1)]
    assert [str(run) for run in runs if not run.holds] == []


@pytest.mark.skipif(binaries() is None, reason=MISSING)
def test_a_postgresql_that_stops_keeps_what_was_acknowledged() -> None:
    """The backends of the service, and then the whole server."""
    runs = [Run(*fields) for fields in stopped_postgres(2, seed=1)]
    assert [str(run) for run in runs if not run.holds] == []
