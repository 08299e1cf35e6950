"""Tokens that expire, with a note for people.

Rewrites no rows: the tokens before have neither. A service of the version before refuses a token that has one of them,
because it cannot check the signature, and goes on accepting the others.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add two columns to the tokens."""
    op.add_column("tokens", sa.Column("expires_at", sa.BigInteger))
    op.add_column("tokens", sa.Column("note", sa.String(100), nullable=False, server_default=""))
