"""The rows of the store, as the service knows them. Times are microseconds since 1970, in UTC."""

import os
import time
from dataclasses import dataclass
from typing import Any

from gitpod_proto.gitpod.v1.identity_pb import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """Whose secrets are kept apart from those of others. `tag` proves that whoever had the keys wrote it.

    One of them is the store's own: that of embedded clients, and of the owner's token.
    """

    id: str
    owner_id: str
    is_own: bool
    key_id: str
    tag: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedKey:
    """A data key as the store keeps it."""

    organization_id: str
    id: str
    wrapped: bytes
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A sealed value, and the id of the data key that opens it."""

    key_id: str
    ciphertext: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSecret:
    """What a secret is found by, the message that describes it, and its sealed value.

    `record` is a `gitpod.v1.Secret` without its times.
    """

    organization_id: str
    id: str
    scope_kind: str
    scope_id: str
    name: str
    created_at: int = 0
    updated_at: int = 0
    record: bytes
    key_id: str
    ciphertext: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredToken:
    """A bearer token, known by its SHA-256 alone. `projects` are ids, separated by spaces.

    `tag` proves that all but `revoked_at` was written by whoever had the keys.
    """

    organization_id: str
    id: str
    digest: bytes
    subject_id: str
    principal: int
    role: str
    projects: str
    created_at: int
    key_id: str
    tag: bytes
    revoked_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """Who did what, or tried to. Its id is unique to the attempt, and ids are in the order of their times.

    `outcome` is `ok` or the Connect code of the refusal. What is not known is empty.
    """

    organization_id: str
    id: str
    at: int
    subject_id: str
    principal: int
    action: str
    secret_id: str = ""
    scope_kind: str = ""
    scope_id: str = ""
    outcome: str = "ok"
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a list: the last secret before it."""

    created_at: int
    id: str


Row = Organization | WrappedKey | Sealed | StoredSecret | StoredToken | AuditRecord


def columns(row: Row) -> dict[str, Any]:
    """The fields of a row, for a statement; `dataclasses.asdict` copies them deeply, and takes ten times as long."""
    return {name: getattr(row, name) for name in row.__slots__}


def now() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000


def audit_record(organization_id: str, subject: Subject | None, action: str, **known: str) -> AuditRecord:
    """A record of this moment. Without a subject it is whoever operates the store."""
    at = now()
    return AuditRecord(
        organization_id=organization_id,
        id=f"{at:016x}{os.urandom(8).hex()}",
        at=at,
        subject_id=subject.id if subject else "",
        principal=int(subject.principal) if subject else 0,
        action=action,
        **known,
    )
