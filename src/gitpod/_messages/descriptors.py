"""Questions to a message's descriptor that requests, results and masks have in common."""

from typing import TypeAlias, cast

from protobuf import (
    DescEnum,
    DescField,
    DescFieldValueEnum,
    DescFieldValueList,
    DescFieldValueMap,
    DescFieldValueMessage,
    DescFieldValueScalar,
    DescMessage,
    DescOneof,
    Message,
    ScalarType,
)

Kind: TypeAlias = ScalarType | DescMessage | DescEnum


def kind_of(field: DescField) -> Kind | None:
    """Return the type of a field or, of a repeated field, of its elements; None for a map."""
    match field.value:
        case (
            DescFieldValueScalar(scalar=kind)
            | DescFieldValueMessage(message=kind)
            | DescFieldValueEnum(enum=kind)
            | DescFieldValueList(element=kind)
        ):
            return kind
        case DescFieldValueMap():
            return None


def oneof_of(field: DescField) -> DescOneof | None:
    """Return the oneof that a field is a member of."""
    return None if isinstance(field.value, DescFieldValueList | DescFieldValueMap) else field.value.oneof


def is_redacted(field: DescField) -> bool:
    """Whether the contract marks a field `debug_redact`: its value is secret."""
    return bool(field.proto.options and field.proto.options.debug_redact)


def redacted_texts(message: Message) -> list[str]:
    """Return every secret text in a message, for whoever must not show it."""
    found: list[str] = []
    for field in message.desc().fields:
        value: object = message[field]
        for item in cast("list[object]", value) if isinstance(value, list) else [value]:
            if isinstance(item, Message):
                found += redacted_texts(item)  # pyright: ignore[reportUnknownArgumentType] # of any message
            elif isinstance(item, str) and is_redacted(field):
                found.append(item)
    return found
