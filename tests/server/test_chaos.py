"""What was acknowledged survives kill -9, of the service and of its database: the short form of `make chaos`."""

import pytest
from chaos import on_postgres, on_sqlite
from postgres import MISSING, binaries


def test_sqlite_keeps_what_was_acknowledged() -> None:
    """Creates, updates and deletes, with the service killed among them."""
    assert [str(run) for run in on_sqlite(2, seed=1) if not run.holds] == []


@pytest.mark.skipif(binaries() is None, reason=MISSING)
def test_postgresql_keeps_what_was_acknowledged() -> None:
    """The same, with the service and PostgreSQL killed together."""
    assert [str(run) for run in on_postgres(1, seed=1) if not run.holds] == []
