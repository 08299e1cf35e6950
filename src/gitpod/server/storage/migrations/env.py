"""Alembic's entry: runs in the transaction, and under the lock, of `maintenance.Maintenance.migrate`."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
