"""Runs the migrations that a database lacks."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, inspect

from gitpod.server.errors import ServiceError
from gitpod.server.storage.migrations import REVISION


def upgrade(connection: Connection) -> None:
    """Bring the schema to the newest revision, in the transaction of the connection.

    Raises:
        ServiceError: the schema is from a newer version, or from before there were migrations.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    current = MigrationContext.configure(connection).get_current_revision()
    if current is None and inspect(connection).has_table("secrets"):
        raise ServiceError("the store is from a development version before 0.1.0, whose values this one cannot open")
    check_known(current)
    command.upgrade(config, "head")


def check_known(revision: str | None) -> None:
    """Raise `ServiceError` for a revision of a newer version."""
    try:
        ScriptDirectory(str(Path(__file__).parent)).get_revision(revision or "base")
    except CommandError:
        raise ServiceError(
            f"the store is from a newer version of gitpod-connect: its schema is {revision}, and this version "
            f"knows {REVISION} and older ones"
        ) from None
