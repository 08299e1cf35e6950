"""The tables of version 0.1.0. Never edit this file: a change of the tables is a new revision."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "organizations",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("owner_id", sa.String(36), nullable=False),
        sa.Column("is_own", sa.Boolean, nullable=False),
        sa.Column("key_id", sa.String(36), nullable=False),
        sa.Column("tag", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "data_keys",
        sa.Column("organization_id", sa.String(36), primary_key=True),
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "secrets",
        sa.Column("organization_id", sa.String(36), primary_key=True),
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("scope_kind", sa.String(32), nullable=False),
        sa.Column("scope_id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(127), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("record", sa.LargeBinary, nullable=False),
        sa.Column("key_id", sa.String(36), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary, nullable=False),
    )
    by_name = ["organization_id", "scope_kind", "scope_id", "name"]
    op.create_index("secrets_by_name", "secrets", by_name, unique=True)
    by_scope = ["organization_id", "scope_kind", "scope_id", "created_at", "id"]
    op.create_index("secrets_by_scope", "secrets", by_scope)
    op.create_index("secrets_by_creation", "secrets", ["organization_id", "created_at", "id"])
    op.create_table(
        "tokens",
        sa.Column("organization_id", sa.String(36), primary_key=True),
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("subject_id", sa.String(36), nullable=False),
        sa.Column("principal", sa.Integer, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("projects", sa.String, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("key_id", sa.String(36), nullable=False),
        sa.Column("tag", sa.LargeBinary, nullable=False),
        sa.Column("revoked_at", sa.BigInteger),
    )
    op.create_index("tokens_by_digest", "tokens", ["organization_id", "digest"], unique=True)
    op.create_table(
        "audit",
        sa.Column("organization_id", sa.String(36), primary_key=True),
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("subject_id", sa.String(36), nullable=False),
        sa.Column("principal", sa.Integer, nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("secret_id", sa.String(36), nullable=False),
        sa.Column("scope_kind", sa.String(32), nullable=False),
        sa.Column("scope_id", sa.String(36), nullable=False),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.Column("request_id", sa.String(36), nullable=False),
    )
