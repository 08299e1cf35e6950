"""Audit records in the order of their commits, with the token of the caller, and counted where calls are refused.

Rewrites no rows: the records before have the number 0. The defaults serve services of the version before that still
write to the store.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add three columns to the audit."""
    op.add_column("audit", sa.Column("sequence", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("audit", sa.Column("count", sa.BigInteger, nullable=False, server_default="1"))
    op.add_column("audit", sa.Column("token_id", sa.String(36), nullable=False, server_default=""))
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("audit", "sequence", server_default=None)
        op.alter_column("audit", "sequence", server_default=sa.Identity(), existing_server_default=None)
