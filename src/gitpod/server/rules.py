"""Checks the contract's rules, with errors that name each field and rule. Also encodes the tokens of pages."""

import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode

import protovalidate
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from protobuf import Message
from protovalidate import FieldPathElementPb, FieldPathPb, ViolationPb, ViolationsPb

from gitpod.server.storage.rows import Position, StoredSecret


def check(message: Message) -> None:
    """Raise INVALID_ARGUMENT with every violation of the contract's rules as a detail."""
    found = [violation.proto for violation in protovalidate.collect_violations(message)]
    if found:
        raise _invalid(found)


def _invalid(violations: list[ViolationPb]) -> ConnectError:
    text = "; ".join(f"{_path(found)}: {found.message}" for found in violations)
    return ConnectError(Code.INVALID_ARGUMENT, text, [ViolationsPb(violations=violations)])


def _path(violation: ViolationPb) -> str:
    return ".".join(element.field_name for element in violation.field.elements) if violation.field else "request"


def violation(rule_id: str, message: str, *path: str) -> ConnectError:
    """Return the error for a rule that the contract has only in words. `path` names the field."""
    elements = [FieldPathElementPb(field_name=name) for name in path]
    return _invalid([ViolationPb(field=FieldPathPb(elements=elements), rule_id=rule_id, message=message)])


def page_token(last: StoredSecret) -> str:
    """Return the token of the page that begins after a secret."""
    return urlsafe_b64encode(f"{last.created_at}.{last.id}".encode()).decode()


def position(token: str) -> Position | None:
    """Return the position after which the page of a token begins, None for the first page."""
    if not token:
        return None
    try:
        created_at, _, secret_id = urlsafe_b64decode(token).decode().partition(".")
        found = Position(int(created_at), str(uuid.UUID(secret_id)))
    except ValueError:
        found = None
    if found is None or not 0 <= found.created_at < 2**63:
        raise violation("token", "is not one that this service gave", "pagination", "token")
    return found
