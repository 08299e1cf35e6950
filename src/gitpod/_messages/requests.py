"""Builds and checks the request messages from the keywords of a call. Does no I/O.

The descriptor of a message says which keywords it takes and of which type; protovalidate checks the rules of
the contract. Each `*_request` raises `InvalidRequestError`, which lists everything that is wrong.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache, partial
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar, cast

import protovalidate
from protobuf import DescEnum, DescField, DescFieldValueList, DescMessage, Message, Oneof, ScalarType

from gitpod import types
from gitpod._messages.descriptors import is_redacted, kind_of, oneof_of
from gitpod.errors import InvalidRequestError, Violation, violation
from gitpod_proto.gitpod.v1 import pagination_pb, secret_pb

M = TypeVar("M", bound=Message)
Problems: TypeAlias = list[Violation]
Reader: TypeAlias = Callable[[object, str, Problems], Any]
"""Turns a keyword's value into that of a field. If it does not fit, notes a problem at the path that is given."""

PARAMS: dict[DescMessage, type] = {
    secret_pb.CreateSecretRequest.desc(): types.SecretCreateParams,
    secret_pb.ListSecretsRequest.desc(): types.SecretListParams,
}
"""The keywords of a call in the order in which errors name them, where that is not the order of the descriptor."""

ProjectId = Oneof[Literal["project_id"], str]

HINTS: dict[str, str] = dict.fromkeys(("extra_body", "extra_query"), "every field has a parameter of its own")
"""What to say of parameters that gitpod-sdk has and this package does not."""


class _Field(NamedTuple):
    """How a keyword becomes a field of a message; `attribute` is that of its oneof if it has one."""

    attribute: str
    oneof: str
    is_redacted: bool
    read: Reader


class _Shape(NamedTuple):
    """What a message takes: every keyword, its fields by name, and the members of each oneof."""

    names: tuple[str, ...]
    fields: dict[str, _Field]
    oneofs: dict[str, list[str]]


@cache
def _shape(desc: DescMessage) -> _Shape:
    """Read the descriptor of a message."""
    found = {field.name: _field(field) for field in sorted(desc.fields, key=lambda field: field.deprecated)}
    names = tuple(PARAMS[desc].__annotations__ if desc in PARAMS else found)
    known = {name: found[name] for name in names if name in found}
    oneofs = {oneof.name: [name for name in known if known[name].oneof == oneof.name] for oneof in desc.oneofs}
    return _Shape(names, known, oneofs)


def _field(field: DescField) -> _Field:
    oneof = oneof_of(field)
    attribute, name = (oneof.local_name, oneof.name) if oneof else (field.local_name, "")
    return _Field(attribute, name, is_redacted(field), _reader(field))


def _reader(field: DescField) -> Reader:
    kind = kind_of(field)
    if isinstance(kind, DescMessage):
        read: Reader = partial(_message, kind.type)
    elif isinstance(kind, DescEnum):
        read = partial(_enum, kind)
    elif kind is ScalarType.STRING:
        read = _text
    elif kind is ScalarType.BOOL:
        read = _flag
    elif kind is not None and "INT" in kind.name:
        read = partial(_number, 64 if "64" in kind.name else 32, kind.name.startswith("UINT"))
    else:
        raise NotImplementedError(f"{field}: no parameter can be of its type yet")
    if isinstance(field.value, DescFieldValueList):
        return partial(_list, read, "a list of strings" if read is _text else "a list")
    return read


def _message(kind: type[M], given: object, path: str, problems: Problems) -> M:
    """Build a message from a mapping or a dataclass."""
    shape = _shape(kind.desc())
    values: dict[str, Any] = {}
    chosen: dict[str, set[str]] = {}
    for name, value in _items(given, path, problems):
        field = shape.fields.get(name)
        if field is None:
            problems.append(_unknown(kind.desc(), shape, name, path))
            continue
        where = f"{path}.{name}" if path else name
        if field.is_redacted:
            value = _revealed(value, where, problems)  # noqa: PLW2901 # so that no name holds the hidden one
        # In a oneof, a flag that is False is not the member that was chosen.
        if value is None or (value is False and field.oneof and field.read is _flag):
            continue
        values[field.attribute] = field.read(value, where, problems)
        if field.oneof:
            values[field.attribute] = Oneof(name, values[field.attribute])
            chosen.setdefault(field.oneof, set()).add(name)
    for oneof, members in chosen.items():
        if len(members) > 1:
            problems.append(_too_many(shape, oneof, members, path))
    return kind(**values)


def _items(given: object, path: str, problems: Problems) -> Iterable[tuple[str, object]]:
    if isinstance(given, Mapping):
        return cast("Mapping[str, object]", given).items()
    if is_dataclass(given) and not isinstance(given, type):
        return [(field.name, getattr(given, field.name)) for field in fields(given)]
    problems.append(Violation(path, "type", "must be a mapping"))
    return ()


def _unknown(desc: DescMessage, shape: _Shape, name: object, path: str) -> Violation:
    # A text that is no name may be a value in the wrong place.
    shown = name if isinstance(name, str) and name.isidentifier() else "?"
    nested = _nested(desc, shown)
    hint = HINTS.get(shown) or (f"write {nested}" if nested else f"there are {', '.join(shape.names)}")
    return Violation(f"{path}.{shown}" if path else shown, "unknown_field", f"is not a parameter; {hint}")


def _nested(desc: DescMessage, name: str, form: str = "{}={}") -> str:
    """Return how to write a parameter that is a field of a nested message, such as `scope={"user_id": ...}`."""
    for field in desc.fields:
        if isinstance(inner := kind_of(field), DescMessage):
            is_there = any(field.name == name for field in inner.fields)
            if value := f'{{"{name}": ...}}' if is_there else _nested(inner, name, '{{"{}": {}}}'):
                return form.format(field.name, value)
    return ""


def _too_many(shape: _Shape, oneof: str, members: set[str], path: str) -> Violation:
    names = shape.oneofs[oneof]
    # A message that is nothing but its oneof is written as a mapping of one name: the oneof itself has none.
    where = [path] if len(names) == len(shape.fields) else filter(None, [path, oneof])
    given = " and ".join(name for name in names if name in members)
    return Violation(".".join(where), "oneof", f"takes only one of {', '.join(names)}; {given} were given")


def _revealed(value: object, path: str, problems: Problems) -> object:
    """Return a secret text that may come hidden, or None after a problem."""
    if value is None:
        # As from a variable that is not set: it must not be taken for an empty secret.
        problems.append(Violation(path, "type", "must be a string, and is None"))
    reveal = None if isinstance(value, str) else getattr(value, "get_secret_value", None)
    try:
        return reveal() if callable(reveal) else value
    except Exception:  # noqa: BLE001 # its text may hold the value
        problems.append(Violation(path, "type", "cannot be read: its get_secret_value() failed"))
        return None


def _text(value: object, path: str, problems: Problems) -> str:
    if not isinstance(value, str):
        problems.append(Violation(path, "type", "must be a string"))
        return ""
    try:
        value.encode()
    except UnicodeEncodeError:
        problems.append(Violation(path, "string.utf8", "must be valid Unicode, without lone surrogates"))
        return ""
    return value


def _flag(value: object, path: str, problems: Problems) -> bool:
    if not isinstance(value, bool):
        problems.append(Violation(path, "type", "must be True or False"))
    return bool(value)


def _number(bits: int, is_unsigned: bool, value: object, path: str, problems: Problems) -> int:  # noqa: FBT001 # bound by position
    lowest = 0 if is_unsigned else -(2 ** (bits - 1))
    if isinstance(value, int) and not isinstance(value, bool) and lowest <= value < lowest + 2**bits:
        return value
    at_least = ", at least 0" if is_unsigned else ""
    problems.append(Violation(path, "type", f"must be a whole number of {bits} bits{at_least}"))
    return 0


def _enum(kind: DescEnum, value: object, path: str, problems: Problems) -> object:
    number = next((known.number for known in kind.values if known.name == value), None)
    if number is None:
        problems.append(Violation(path, "type", f"must be one of {', '.join(known.name for known in kind.values)}"))
    return kind.type(number or 0)


def _list(read: Reader, what: str, value: object, path: str, problems: Problems) -> list[Any]:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        problems.append(Violation(path, "type", f"must be {what}"))
        return []
    items = cast("Sequence[object]", value)
    return [read(item, f"{path}[{index}]", problems) for index, item in enumerate(items)]


def _apply_rules(message: Message, problems: Problems) -> None:
    """Note what breaks the rules of the contract, except at fields that have a problem already."""
    noted = {problem.field for problem in problems}
    for broken in protovalidate.collect_violations(message):
        found = violation(broken.proto)
        if found.rule_id == "required" and (names := _shape(message.desc()).oneofs.get(found.field)):
            found = found._replace(message=f"one of {', '.join(names)} is required")
        if found.field not in noted:
            problems.append(found)


def _checked(message: M, problems: Problems) -> M:
    """Return the message if nothing is wrong with it."""
    _apply_rules(message, problems)
    if problems:
        raise InvalidRequestError.of(problems)
    return message


def request(kind: type[M], given: Mapping[str, Any]) -> M:
    """Build the message of a call whose keywords are just the fields of the message."""
    problems: Problems = []
    return _checked(_message(kind, given, "", problems), problems)


def create_request(given: Mapping[str, Any]) -> secret_pb.CreateSecretRequest:
    """Build the message of `secrets.create`."""
    problems: Problems = []
    message = _create_message(given, problems)
    source = message.source.value if message.source else None
    if "value" not in given and (source is None or source.field == "verbatim"):
        problems.append(Violation("value", "required", "must be given, unless source says where it comes from"))
    return _checked(message, problems)


def put_request(given: Mapping[str, Any]) -> secret_pb.CreateSecretRequest:
    """Build the message with which `secrets.put` creates. Its value must suit an update as well."""
    problems: Problems = []
    message = _create_message(given, problems)
    if not message.value and not any(problem.field == "value" for problem in problems):
        text = "must be at least 1 character, as a value can only be updated to such"
        problems.append(Violation("value", "string.min_len", text))
    if message.scope is None and not given.get("project_id"):
        text = "must be given, or project_id, as names are unique within it"
        problems.append(Violation("scope", "required", text))
    return _checked(message, problems)


def _create_message(given: Mapping[str, Any], problems: Problems) -> secret_pb.CreateSecretRequest:
    message = _message(secret_pb.CreateSecretRequest, given, "", problems)
    if message.source and message.source.value is None:
        # An empty source means verbatim, as no source does.
        message.source = None
    if project_id := message.project_id:  # pyright: ignore[reportDeprecated] # the public reference documents it
        # It is short for `scope.project_id`, where the contract has the rule.
        _apply_rules(secret_pb.SecretScope(scope=ProjectId("project_id", project_id)), problems)
    return message


def list_request(given: Mapping[str, Any]) -> secret_pb.ListSecretsRequest:
    """Build the message of `secrets.list`, where `page_size` and `token` win over those in `pagination`."""
    problems: Problems = []
    names = _shape(pagination_pb.PaginationRequest.desc()).names
    rest = {name: value for name, value in given.items() if name not in names}
    page = {name: given[name] for name in names if given.get(name) is not None}
    message = _message(secret_pb.ListSecretsRequest, rest, "", problems)
    wins = _message(pagination_pb.PaginationRequest, page, "", problems)
    message.pagination = message.pagination or wins
    for name in page:
        setattr(message.pagination, name, getattr(wins, name))
    return _checked(message, problems)


def next_page_request(request: secret_pb.ListSecretsRequest, token: str) -> secret_pb.ListSecretsRequest:
    """Build the message for the page that `token` stands for."""
    size = request.pagination.page_size if request.pagination else 0
    return secret_pb.ListSecretsRequest(
        pagination=pagination_pb.PaginationRequest(page_size=size, token=token), filter=request.filter
    )


MOUNTS = tuple(_shape(secret_pb.CreateSecretRequest.desc()).oneofs["mount"])
"""The parameters of a create that say how environments receive the secret."""
