"""Migrations of the schema from older versions, run by Alembic."""

REVISION = "0002"
"""The newest revision in `versions`, which makes the tables of `schema.py`."""
