"""SQLAlchemy's engine for migrations and operators' commands. Requests do without it, as it takes long to load."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.pool import NullPool, StaticPool


def sqlite_engine(connect: Callable[[], Any], *, in_memory: bool) -> Engine:
    """Return an engine that opens a connection each time. `in_memory`: there is only one, which stays open."""
    poolclass = StaticPool if in_memory else NullPool
    return create_engine("sqlite://", creator=connect, poolclass=poolclass, hide_parameters=True)


def postgresql_engine(connect: Callable[[], Any]) -> Engine:
    """Return an engine that opens a connection each time."""
    engine = create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool, hide_parameters=True)
    own = engine.dialect._get_server_version_info  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] # there is no setting for it

    def version(connection: Connection) -> tuple[int, ...]:
        try:
            found: tuple[int, ...] = own(connection)
        except AssertionError:
            # CockroachDB has a version text that SQLAlchemy cannot read.
            return (13,)
        return found

    engine.dialect._get_server_version_info = version  # type: ignore[method-assign]  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    return engine
