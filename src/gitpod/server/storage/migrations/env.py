"""Alembic's entry point. Runs in the exclusive transaction of `maintenance.Maintenance.migrate`."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
