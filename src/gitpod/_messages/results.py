"""Turns response messages into results. Does no I/O.

Each `*_response` returns what the caller gets, or raises `UntrustedResponseError`.
"""

from collections.abc import Callable
from dataclasses import MISSING, fields, replace
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, TypeAlias

from protobuf import DescEnum, DescField, DescMessage, Message
from protobuf.wkt import Timestamp

from gitpod import types
from gitpod._messages.descriptors import is_list, kind_of, oneof_of
from gitpod._secret_value import SecretValue
from gitpod_proto.gitpod.v1 import secret_pb

Convert: TypeAlias = Callable[[Any], Any]
NO_SCOPE = types.SecretScope()


class UntrustedResponseError(Exception):
    """An answer that decodes, but breaks a promise of the contract."""


class _Shape(NamedTuple):
    """How a message becomes its dataclass.

    `plain` has the attribute and the name of each field outside of a oneof, whether the dataclass requires it, and what
    converts it.
    """

    result: type
    convert: dict[str, Convert]
    plain: list[tuple[str, str, bool, Convert]]
    oneofs: list[str]


@cache
def _shape(desc: DescMessage) -> _Shape:
    """Read the descriptor of a message, and the dataclass of the same name in `gitpod.types`."""
    result: type = getattr(types, desc.name)
    required = {field.name: field.default is MISSING for field in fields(result)}
    known = [field for field in desc.fields if field.name in required]
    convert = {field.name: _convert(field) for field in known}
    plain = [field for field in known if not oneof_of(field)]
    return _Shape(
        result=result,
        convert=convert,
        plain=[(field.local_name, field.name, required[field.name], convert[field.name]) for field in plain],
        oneofs=[oneof.local_name for oneof in desc.oneofs],
    )


def _convert(field: DescField) -> Convert:
    """Return the function that converts a field's value for the result."""
    kind = kind_of(field)
    convert: Convert = _same
    if isinstance(kind, DescEnum):
        # A value that is newer than this package has no name: it is shown as the prefix and its number.
        convert = f"{kind.values[0].name.removesuffix(kind.values[0].local_name)}{{}}".format
    elif isinstance(kind, DescMessage):
        convert = _time if kind.type is Timestamp else _result
    if is_list(field):
        return lambda values: tuple(map(convert, values))
    return convert


def _same(value: Any) -> Any:  # noqa: ANN401 # any field's
    return value


def _result(message: Message) -> Any:  # noqa: ANN401 # any message's dataclass
    result, convert, plain, oneofs = _shape(message.desc())
    values: dict[str, Any] = {}
    for attribute, name, is_required, read in plain:
        value = getattr(message, attribute)
        # A field that is not set keeps the default of the dataclass.
        if value or is_required:
            values[name] = value if read is _same else read(value)
    for attribute in oneofs:
        chosen = getattr(message, attribute)
        if chosen and chosen.field in convert:
            values[chosen.field] = convert[chosen.field](chosen.value)
    return result(**values)


def _time(message: Timestamp) -> datetime:
    try:
        return message.to_datetime()
    except OverflowError:
        raise UntrustedResponseError("the answer holds a time that is out of range") from None


def create_response(message: secret_pb.CreateSecretResponse) -> types.SecretCreateResponse:
    """Return what `secrets.create` returns."""
    if (created := message.secret) is None:
        raise UntrustedResponseError("the answer holds no secret")
    return types.SecretCreateResponse(secret=secret(created))


def get_value_response(message: secret_pb.GetSecretValueResponse) -> SecretValue:
    """Return what `secrets.get_value` returns."""
    return SecretValue(message.value)


def empty_response(message: Message) -> None:  # there is nothing in it
    """Return what `secrets.update_value` and `secrets.delete` return."""


def list_response(message: secret_pb.ListSecretsResponse) -> tuple[list[types.Secret], str | None]:
    """Return the secrets of one page of `secrets.list`, and the token of the next page."""
    token = message.pagination.next_token if message.pagination else ""
    return [secret(item) for item in message.secrets], token or None


def secret(message: secret_pb.Secret) -> types.Secret:
    """Return one secret of an answer."""
    if not message.id:
        raise UntrustedResponseError("the answer holds a secret without an id")
    found: types.Secret = _result(message)
    # An empty scope, or one of a kind that is newer than this package, has no id to show.
    return found if found.scope is None or found.scope != NO_SCOPE else replace(found, scope=None)
