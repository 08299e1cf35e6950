"""The rows of the store as dataclasses. Times are microseconds since 1970, in UTC."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from gitpod_proto.gitpod.v1.identity_pb import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """An organization. Secrets, tokens and data keys belong to exactly one.

    `tag` proves that someone with the key-encryption key wrote this row. One organization is the store's own,
    which embedded clients and the owner's token use.
    """

    id: str
    owner_id: str
    is_own: bool
    key_id: str
    tag: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedKey:
    """A data key, wrapped by the key-encryption key."""

    organization_id: str
    id: str
    wrapped: bytes
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A sealed value, and the id of its data key."""

    key_id: str
    ciphertext: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSecret:
    """A secret: the columns that it is looked up by, its metadata, and its sealed value.

    `record` is a `gitpod.v1.Secret` in binary, without its times.
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
class ListedSecret:
    """What a list needs of a secret: its position, its metadata, and its times."""

    id: str
    created_at: int
    updated_at: int
    record: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredToken:
    """A bearer token. `digest` is its SHA-256, and `projects` are ids, separated by spaces.

    `tag` proves that someone with the keys wrote this row, except for `revoked_at`. A token without `expires_at` does
    not expire. `note` is a text for people.
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
    expires_at: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """Who did what, or tried to. The id is unique.

    `outcome` is `ok` or the Connect code of the refusal. `count` is the number of calls: refusals of the same token,
    RPC, code and minute are one record, and the other fields are those of the first. A field that is not known is
    empty, and so is `token_id` for the owner's token and for a client in the same process.
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
    token_id: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True)
class Position:
    """A position in a list: the last secret before it."""

    created_at: int
    id: str


Row = Organization | WrappedKey | Sealed | StoredSecret | ListedSecret | StoredToken | AuditRecord
R = TypeVar("R", bound=Row)


def columns(row: Row) -> dict[str, Any]:
    """Return the fields of a row for a statement. `dataclasses.asdict` copies deeply, which takes ten times as long."""
    return {name: getattr(row, name) for name in row.__slots__}


def from_row(kind: type[R], row: Sequence[Any]) -> R:
    """Return the row of a query for the fields of a class, in their order."""
    return kind(**dict(zip(kind.__slots__, row, strict=True)))


LATEST = 253_402_214_400_000_000
"""The latest time that a clock can say: the last day of the year 9999, which is the last one of the protobuf Timestamp.

The day leaves room for times that are set later than the ones before them, a microsecond each.
"""


def now() -> int:
    """Return the present time in microseconds since 1970. Times before 1970 and after `LATEST` become these."""
    return min(max(time.time_ns() // 1000, 0), LATEST)


def audit_record(organization_id: str, subject: Subject | None, action: str, **known: str) -> AuditRecord:
    """Return an audit record with the present time. Without a subject it is of an operator."""
    at = now()
    return AuditRecord(
        organization_id=organization_id,
        id=f"{at:016x}{os.urandom(8).hex()}",
        at=at,
        subject_id=subject.id if subject else "",
        principal=int(subject.principal) if subject else 0,
        action=action,
        **cast("dict[str, Any]", known),
    )
