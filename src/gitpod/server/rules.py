"""Checks the contract's rules, with errors that name each field and rule. Also encodes the tokens of pages."""

import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TypeAlias, cast

import protovalidate
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from protobuf import DescField, Message
from protovalidate import FieldPathElementPb, FieldPathPb, ViolationPb, ViolationsPb
from protovalidate._gen.buf.validate import validate_pb  # the private path that the generated code imports too

from gitpod.server.storage.rows import ListedSecret, Position

MOST_VIOLATIONS = 20
"""The most violations that an error lists. A message of 128 KiB can have 65,000."""

Names: TypeAlias = tuple[str, ...]
"""The names of the fields that lead to a field."""


def check(message: Message) -> None:
    """Raise INVALID_ARGUMENT with the violations of the contract's rules as a detail, at most `MOST_VIOLATIONS`.

    A repeated field with too many items is cut, and its items are not checked: each of them costs as much to check
    as a whole message.
    """
    if not protovalidate.collect_violations(message, fail_fast=True):
        return
    counts = _cut(message)
    found = [violation.proto for violation in protovalidate.collect_violations(message)]
    for each in found:
        if each.rule_id == "repeated.max_items":
            each.message += f", and has {counts[_names(each)]:,}"
    raise _invalid([each for each in found if _names(each) not in counts or each.rule_id == "repeated.max_items"])


def _cut(message: Message, parents: Names = ()) -> dict[Names, int]:
    """Cut repeated fields to one item more than their rule allows. Returns how many items each of these had."""
    counts: dict[Names, int] = {}
    for field in message.desc().fields:
        value: object = message[field]
        names = *parents, field.name
        items = cast("list[object]", value) if isinstance(value, list) else [value]
        most = max_items(field)
        if most is not None and len(items) > most:
            counts[names] = len(items)
            del items[most + 1 :]
        for item in items:
            if isinstance(item, Message):
                counts |= _cut(item, names)  # pyright: ignore[reportUnknownArgumentType] # of any message
    return counts


def max_items(field: DescField) -> int | None:
    """Return the most items that the contract allows in a repeated field, None without such a rule."""
    options = field.proto.options
    kind = options[validate_pb.ext_field].type if options and validate_pb.ext_field in options else None
    rules = kind.value if kind else None
    return rules.max_items if isinstance(rules, validate_pb.RepeatedRules) and rules.has_field("max_items") else None


def _invalid(violations: list[ViolationPb]) -> ConnectError:
    shown, more = violations[:MOST_VIOLATIONS], len(violations) - MOST_VIOLATIONS
    text = "; ".join(f"{'.'.join(_names(found)) or 'request'}: {found.message}" for found in shown)
    if more > 0:
        text += f"; and {more:,} more"
    return ConnectError(Code.INVALID_ARGUMENT, text, [ViolationsPb(violations=shown)])


def _names(violation: ViolationPb) -> Names:
    return tuple(element.field_name for element in violation.field.elements) if violation.field else ()


def violation(rule_id: str, message: str, *path: str) -> ConnectError:
    """Return the error for a rule that the contract has only in words. `path` names the field."""
    elements = [FieldPathElementPb(field_name=name) for name in path]
    return _invalid([ViolationPb(field=FieldPathPb(elements=elements), rule_id=rule_id, message=message)])


def page_token(last: ListedSecret) -> str:
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
