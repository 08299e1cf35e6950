"""Migrations of the schema from older versions, run by Alembic."""

REVISION = "0003"
"""The newest revision in `versions`, which makes the tables of `schema.py`."""
