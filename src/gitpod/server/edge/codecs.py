"""Codecs that refuse or drop what different readers of a request's body read differently.

protobuf-py takes the last of two members of a oneof, and of two equal keys, where the proto3 JSON mapping
says that a parser should fail. A proxy that reads the first one would see another secret than is stored.
"""

import json
from functools import cache
from typing import Any, NamedTuple, TypeVar, cast

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
        value = DECODER.decode(data.decode())
        if b"\\u" in data:
            # Raises UnicodeEncodeError, which is a ValueError, for a lone surrogate, which only an escape can be.
            json.dumps(value, ensure_ascii=False).encode()
        _check(_shape(message_class.desc()), value)
        return message_from_json_value(message_class, value, registry=self._registry)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _invalid("a key that occurs twice in one object")
    return found


DECODER = json.JSONDecoder(object_pairs_hook=_unique)


def _invalid(what: str) -> ConnectError:
    return ConnectError(Code.INVALID_ARGUMENT, f"the request's body has {what}")


class _Shape(NamedTuple):
    """What the JSON of a message may have."""

    name: str
    keys: dict[str, tuple[str, str, DescMessage | None]]
    """Each key: the JSON name of its field, the name of its oneof or its own, and the message that it holds."""
    is_well_known: bool


@cache
def _shape(desc: DescMessage) -> _Shape:
    oneofs = {field.name: oneof.name for oneof in desc.oneofs for field in oneof.fields}
    keys = {
        key: (
            field.json_name,
            oneofs.get(field.name, field.name),
            field.value.message if isinstance(field.value, DescFieldValueMessage) else None,
        )
        for field in desc.fields
        for key in (field.name, field.json_name)
    }
    return _Shape(desc.name, keys, desc.type_name.startswith("google.protobuf."))


def _check(shape: _Shape, value: object) -> None:
    # The JSON of a well-known type is not that of its fields.
    if not isinstance(value, dict) or shape.is_well_known:
        return
    members = cast("dict[str, object]", value)
    if not members.keys() <= shape.keys.keys():
        names = ", ".join(dict.fromkeys(json_name for json_name, _, _ in shape.keys.values()))
        raise _invalid(f"a field that {shape.name} does not have; it has {names}")
    given = [(*shape.keys[key], member) for key, member in members.items() if member is not None]
    if len({oneof for _, oneof, _, _ in given}) < len(given):
        raise _invalid("a field, or a oneof, that is set twice")
    for _, _, message, member in given:
        if message is not None:
            _check(_shape(message), member)
