"""Migrations of the schema from older versions, run by Alembic."""
