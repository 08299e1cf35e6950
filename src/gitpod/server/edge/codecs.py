"""What is read of a request's body, and nothing that only some would read.

JSON that means one thing: the proto3 JSON mapping, refusing what parsers understand differently.

protobuf-py takes the last of two members of a oneof and of two equal keys, where the mapping's
specification says that a parser should fail. A proxy that looks at the first would see another secret
than the one that is stored.
"""

import json
from typing import Any, TypeVar, cast

from connectrpc.code import Code
from connectrpc.codec import Codec
from connectrpc.errors import ConnectError
from protobuf import DescFieldValueMessage, DescMessage, Message, message_from_json_value

M = TypeVar("M", bound=Message)


class KnownBinaryCodec(Codec[Message, Any]):
    """`connectrpc.codec.proto_binary_codec`, without fields that the contract does not have.

    They would be stored in clear, and listed, though a later contract may call them sensitive.
    """

    def name(self) -> str:
        """The codec's part of the content type."""
        return "proto"

    def encode(self, message: Message) -> bytes:
        """The message as protobuf."""
        return message.to_binary()

    def decode(self, data: bytes | bytearray, message_class: type[M]) -> M:
        """The message, of known fields alone."""
        return message_class.from_binary(data, ignore_unknown_fields=True)


class StrictJSONCodec(Codec[Message, Any]):
    """`connectrpc.codec.proto_json_codec`, without ambiguity. No message of the contract holds an `Any`."""

    def name(self) -> str:
        """The codec's part of the content type."""
        return "json"

    def encode(self, message: Message) -> bytes:
        """The message as JSON."""
        return message.to_json().encode()

    def decode(self, data: bytes | bytearray, message_class: type[M]) -> M:
        """The message. INVALID_ARGUMENT for JSON that is unknown or ambiguous, ValueError for what is no JSON."""
        # UTF-8 alone (RFC 8259 section 8.1), where json.loads would guess; then no lone surrogates either.
        value = json.loads(data.decode(), object_pairs_hook=_unique)
        json.dumps(value, ensure_ascii=False).encode()
        _check(message_class.desc(), value)
        return message_from_json_value(message_class, value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _invalid("a key that occurs twice in one object")
    return found


def _invalid(what: str) -> ConnectError:
    return ConnectError(Code.INVALID_ARGUMENT, f"the request's body has {what}")


def _check(desc: DescMessage, value: object) -> None:
    if not isinstance(value, dict):
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
