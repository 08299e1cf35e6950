"""The tables. Every key leads with the organization, so that a distributed SQL engine can shard by it."""

from sqlalchemy import BigInteger, Boolean, Column, Identity, Index, Integer, LargeBinary, MetaData, String, Table

BY_NAME = ["organization_id", "scope_kind", "scope_id", "name"]
"""The columns of the unique index: a name is unique within its scope."""

metadata = MetaData()
organizations = Table(
    "organizations",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("owner_id", String(36), nullable=False),
    Column("is_own", Boolean, nullable=False),
    Column("key_id", String(36), nullable=False),
    Column("tag", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
data_keys = Table(
    "data_keys",
    metadata,
    Column("organization_id", String(36), primary_key=True),
    Column("id", String(36), primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
secrets = Table(
    "secrets",
    metadata,
    Column("organization_id", String(36), primary_key=True),
    Column("id", String(36), primary_key=True),
    Column("scope_kind", String(32), nullable=False),
    Column("scope_id", String(36), nullable=False),
    Column("name", String(127), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("record", LargeBinary, nullable=False),
    Column("key_id", String(36), nullable=False),
    Column("ciphertext", LargeBinary, nullable=False),
    Index("secrets_by_name", *BY_NAME, unique=True),
    Index("secrets_by_scope", "organization_id", "scope_kind", "scope_id", "created_at", "id"),
    Index("secrets_by_creation", "organization_id", "created_at", "id"),
)
tokens = Table(
    "tokens",
    metadata,
    Column("organization_id", String(36), primary_key=True),
    Column("id", String(36), primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("subject_id", String(36), nullable=False),
    Column("principal", Integer, nullable=False),
    Column("role", String(16), nullable=False),
    Column("projects", String, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("key_id", String(36), nullable=False),
    Column("tag", LargeBinary, nullable=False),
    Column("revoked_at", BigInteger),
    Column("expires_at", BigInteger),
    Column("note", String(100), nullable=False, server_default=""),
    Index("tokens_by_digest", "organization_id", "digest", unique=True),
)
audit = Table(
    "audit",
    metadata,
    Column("organization_id", String(36), primary_key=True),
    Column("id", String(36), primary_key=True),
    # The order of commits on PostgreSQL, which gives the numbers. SQLite has it in `rowid`, and 0 here.
    Column("sequence", BigInteger, Identity(), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("subject_id", String(36), nullable=False),
    Column("principal", Integer, nullable=False),
    Column("action", String(32), nullable=False),
    Column("secret_id", String(36), nullable=False),
    Column("scope_kind", String(32), nullable=False),
    Column("scope_id", String(36), nullable=False),
    Column("outcome", String(32), nullable=False),
    Column("request_id", String(36), nullable=False),
    Column("token_id", String(36), nullable=False, server_default=""),
    Column("count", BigInteger, nullable=False, server_default="1"),
)
