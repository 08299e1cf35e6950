"""Codecs that refuse or drop what different readers of a request's body read differently.

protobuf-py takes the last of two members of a oneof, and of two equal keys, where the proto3 JSON mapping
says that a parser should fail. A proxy that reads the first one would see another secret than is stored.
"""

import json
from typing import Any, TypeVar, cast

from connectrpc.code import Code
from connectrpc.codec import Codec
from connectrpc.errors import ConnectError
from protobuf import DescFieldValueMessage, DescMessage, Message, Registry, message_from_json_value

M = TypeVar("M", bound=Message)


class KnownBinaryCodec(Codec[Message, Any]):
    """`connectrpc.codec.proto_binary_codec` that drops unknown fields.

    They would be stored in clear and listed, although a later version of the contract may mark them sensitive.
    """

    def name(self) -> str:
        """Return the codec's part of the content type (connectrpc.codec.Codec)."""
        return "proto"

    def encode(self, message: Message) -> bytes:
        """Return the message as protobuf."""
        return message.to_binary()

    def decode(self, data: bytes | bytearray, message_class: type[M]) -> M:
        """Return the message with its known fields."""
        return message_class.from_binary(data, ignore_unknown_fields=True)


class StrictJSONCodec(Codec[Message, Any]):
    """`connectrpc.codec.proto_json_codec` that refuses ambiguous JSON.

    Args:
        registry: the messages that a `google.protobuf.Any` may hold. None: no message has such a field.
    """

    def __init__(self, registry: Registry | None = None) -> None:
        self._registry = registry

    def name(self) -> str:
        """Return the codec's part of the content type (connectrpc.codec.Codec)."""
        return "json"

    def encode(self, message: Message) -> bytes:
        """Return the message as JSON."""
        return message.to_json(registry=self._registry).encode()

    def decode(self, data: bytes | bytearray, message_class: type[M]) -> M:
        """Return the message. INVALID_ARGUMENT for unknown or ambiguous fields, ValueError for what is no JSON."""
        # UTF-8 only (RFC 8259 section 8.1): json.loads would guess the encoding of bytes.
        value = json.loads(data.decode(), object_pairs_hook=_unique)
        # Raises UnicodeEncodeError, which is a ValueError, for a lone surrogate.
        json.dumps(value, ensure_ascii=False).encode()
        _check(message_class.desc(), value)
        return message_from_json_value(message_class, value, registry=self._registry)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _invalid("a key that occurs twice in one object")
    return found


def _invalid(what: str) -> ConnectError:
    return ConnectError(Code.INVALID_ARGUMENT, f"the request's body has {what}")


def _check(desc: DescMessage, value: object) -> None:
    # The JSON of a well-known type is not that of its fields.
    if not isinstance(value, dict) or desc.type_name.startswith("google.protobuf."):
        return
    members = cast("dict[str, object]", value)
    known = {key for field in desc.fields for key in (field.json_name, field.name)}
    if not members.keys() <= known:
        names = ", ".join(field.json_name for field in desc.fields)
        raise _invalid(f"a field that {desc.name} does not have; it has {names}")
    given = [field for field in desc.fields for key in {field.json_name, field.name} if members.get(key) is not None]
    oneofs = {field.name: oneof.name for oneof in desc.oneofs for field in oneof.fields}
    if len({oneofs.get(field.name, field.name) for field in given}) < len(given):
        raise _invalid("a field, or a oneof, that is set twice")
    for field in given:
        if isinstance(field.value, DescFieldValueMessage):
            by_json_name = members.get(field.json_name)
            _check(field.value.message, members.get(field.name) if by_json_name is None else by_json_name)
