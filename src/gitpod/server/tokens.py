"""The bearer tokens of a store: how they are made, and what they name."""

import secrets
import uuid
from hashlib import sha256

from gitpod.server.caller import Role
from gitpod.server.storage.rows import StoredToken, now
from gitpod_proto.gitpod.v1.identity_pb import Subject


def new_token(
    organization_id: str,
    subject: Subject,
    role: Role,
    projects: frozenset[str],
    *,
    expires_at: int | None = None,
    note: str = "",
) -> tuple[str, StoredToken]:
    """Return a new bearer token, and its row for the store, which has only the SHA-256 of the token.

    The token names its organization, so that the store looks in one organization only, and has 256 random bits.
    """
    token = f"gps_{uuid.UUID(organization_id).hex}_{secrets.token_urlsafe(32)}"
    return token, StoredToken(
        organization_id=organization_id,
        id=str(uuid.uuid4()),
        digest=digest_of(token),
        subject_id=subject.id,
        principal=int(subject.principal),
        role=role.value,
        projects=" ".join(sorted(projects)),
        created_at=now(),
        key_id="",
        tag=b"",
        expires_at=expires_at,
        note=note,
    )


def organization_of(token: str) -> str | None:
    """Return the organization that a token names, None if it is not a token of a store."""
    prefix, _, rest = token.partition("_")
    try:
        return str(uuid.UUID(rest.partition("_")[0])) if prefix == "gps" else None
    except ValueError:
        return None


def digest_of(token: str) -> bytes:
    """Return the SHA-256 by which a store knows a token."""
    return sha256(token.encode(errors="surrogateescape")).digest()
