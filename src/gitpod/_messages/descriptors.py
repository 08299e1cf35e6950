"""Questions to a message's descriptor that requests, results and masks have in common."""

from typing import TypeAlias, cast

from protobuf import DescEnum, DescField, DescMessage, DescOneof, Message, ScalarType
from protobuf import DescFieldValueEnum as EnumValue
from protobuf import DescFieldValueList as ListValue
from protobuf import DescFieldValueMap as MapValue
from protobuf import DescFieldValueMessage as MessageValue
from protobuf import DescFieldValueScalar as ScalarValue
from protovalidate._gen.buf.validate import validate_pb  # the private path that the generated code imports too

Kind: TypeAlias = ScalarType | DescMessage | DescEnum


def kind_of(field: DescField) -> Kind | None:
    """Return the type of a field or, of a repeated field, of its elements; None for a map."""
    match field.value:
        case ListValue(element=kind) | MessageValue(message=kind) | EnumValue(enum=kind) | ScalarValue(scalar=kind):
            return kind
        case _:
            return None


def is_list(field: DescField) -> bool:
    """Whether a field is repeated."""
    return isinstance(field.value, ListValue)


def oneof_of(field: DescField) -> DescOneof | None:
    """Return the oneof that a field is a member of."""
    return None if isinstance(field.value, ListValue | MapValue) else field.value.oneof


def max_items(field: DescField) -> int | None:
    """Return the most items that the contract allows in a repeated field, None without such a rule."""
    options = field.proto.options
    kind = options[validate_pb.ext_field].type if options and validate_pb.ext_field in options else None
    rules = kind.value if kind else None
    return rules.max_items if isinstance(rules, validate_pb.RepeatedRules) and rules.has_field("max_items") else None


def is_redacted(field: DescField) -> bool:
    """Whether the contract marks a field `debug_redact`: its value is secret."""
    return bool(field.proto.options and field.proto.options.debug_redact)


def redacted_texts(message: Message) -> list[str]:
    """Return every secret text in a message, which errors and logs must not show."""
    found: list[str] = []
    for field in message.desc().fields:
        value: object = message[field]
        for item in cast("list[object]", value) if isinstance(value, list) else [value]:
            if isinstance(item, Message):
                found += redacted_texts(item)  # pyright: ignore[reportUnknownArgumentType] # of any message
            elif isinstance(item, str) and is_redacted(field):
                found.append(item)
    return found
