"""Builds a message from keywords by its descriptor, which says which keywords there are and of which types.

`message` and `apply_rules` collect what is wrong as violations; `checked` raises them all at once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache, partial
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

import protovalidate
from protobuf import DescField, DescMessage, Message, Oneof, ScalarType

from gitpod import types
from gitpod._messages.descriptors import is_list, is_redacted, kind_of, max_items, oneof_of
from gitpod._transport.threads import held
from gitpod.errors import InvalidRequestError, Violation, violation
from gitpod_proto.gitpod.v1 import secret_pb

M = TypeVar("M", bound=Message)

MOST_PROBLEMS = 20
"""The most violations that an error lists: a parameter may hold a million wrong items."""
LONGEST_NAME = 100
"""Characters of an unknown parameter's name that an error may show."""


class Problems:
    """What is wrong with a request: the first violations, and how many more there are."""

    def __init__(self) -> None:
        self.shown: list[Violation] = []
        self.more = 0

    @property
    def is_full(self) -> bool:
        """Whether further violations are only counted."""
        return len(self.shown) >= MOST_PROBLEMS

    def add(self, found: Violation) -> None:
        """Note a violation."""
        if self.is_full:
            self.more += 1
        else:
            self.shown.append(found)

    def note(self, path: str, rule_id: str, text: str) -> None:
        """Note the violation of a rule by the field at a path."""
        self.add(Violation(path, rule_id, text))

    def has(self, path: str) -> bool:
        """Tell whether there is a violation at a path, or below it."""
        return any(each.field == path or each.field.startswith(f"{path}.") for each in self.shown)


Reader: TypeAlias = Callable[[object, str, Problems], Any]
"""Turns a keyword's value into that of a field. If it does not fit, notes a problem at the path that is given."""

PARAMS: dict[DescMessage, type] = {
    secret_pb.CreateSecretRequest.desc(): types.SecretCreateParams,
    secret_pb.ListSecretsRequest.desc(): types.SecretListParams,
}
"""The keywords of a call in the order in which errors name them, where that is not the order of the descriptor."""

HINTS: dict[str, str] = dict.fromkeys(("extra_body", "extra_query"), "every field has a parameter of its own")
"""What to say of parameters that gitpod-sdk has and this package does not."""


class _Field(NamedTuple):
    """How a keyword becomes a field of a message; `attribute` is that of its oneof if it has one.

    None leaves a field out, except where `read` is to refuse it; False leaves out a flag, a bool in a oneof.
    """

    attribute: str
    oneof: str | None
    takes_none: bool
    is_flag: bool
    read: Reader


def names(desc: DescMessage) -> list[str]:
    """Return the keywords that become a message, in the order in which errors name them: deprecated ones last."""
    if desc in PARAMS:
        return [*PARAMS[desc].__annotations__]
    return [field.name for field in sorted(desc.fields, key=lambda field: field.deprecated)]


@cache
def _fields(desc: DescMessage) -> dict[str, _Field]:
    """Read the fields of a message, by name."""
    found = {field.name: _field(field) for field in desc.fields}
    return {name: found[name] for name in names(desc) if name in found}


def members(desc: DescMessage, oneof: str) -> list[str]:
    """Return the keywords of which a oneof takes one."""
    return [name for name, field in _fields(desc).items() if field.oneof == oneof]


def _field(field: DescField) -> _Field:
    oneof, kind = oneof_of(field), kind_of(field)
    read = None if is_list(field) else _READERS.get(kind)
    if is_list(field) and kind is ScalarType.STRING:
        read = partial(_texts, max_items(field))
    elif isinstance(kind, DescMessage) and not is_list(field):
        read = partial(message, kind.type)
    if read is None:
        raise NotImplementedError(f"{field}: no parameter can be of its type yet")
    is_hidden = is_redacted(field)
    return _Field(
        attribute=(oneof or field).local_name,
        oneof=oneof.name if oneof else None,
        takes_none=is_hidden,
        is_flag=oneof is not None and read is _flag,
        read=partial(_secret, read) if is_hidden else read,
    )


def message(kind: type[M], given: object, path: str, problems: Problems) -> M:
    """Build a message from a mapping or a dataclass that stands at this path of the request."""
    desc = kind.desc()
    known = _fields(desc)
    values: dict[str, Any] = {}
    chosen: dict[str, list[str]] = {}
    for name, value in _items(given, path, problems):
        field = known.get(name)
        if field is None:
            _note_unknown(desc, name, path, problems)
            continue
        attribute, oneof, takes_none, is_flag, reader = field
        if (value is None and not takes_none) or (value is False and is_flag):
            continue
        read = reader(value, f"{path}.{name}" if path else name, problems)
        if oneof is None:
            values[attribute] = read
        else:
            values[attribute] = Oneof(name, read)
            chosen.setdefault(oneof, []).append(name)
    for oneof, given_names in chosen.items():
        if len(given_names) > 1:
            problems.add(_too_many(desc, oneof, given_names, path))
    return kind(**values)


def _items(given: object, path: str, problems: Problems) -> Iterable[tuple[str, object]]:
    # A dict needs no walk over the abstract classes.
    if isinstance(given, dict) or isinstance(given, Mapping):  # noqa: SIM101 # the first is 10 times as fast
        return cast("Mapping[str, object]", given).items()
    if is_dataclass(given) and not isinstance(given, type):
        return [(field.name, getattr(given, field.name)) for field in fields(given)]
    problems.note(path, "type", "must be a mapping")
    return ()


def _note_unknown(desc: DescMessage, name: object, path: str, problems: Problems) -> None:
    if problems.is_full:
        # Counts it only: a mapping may have a million such keys, and the hint takes longer than all else.
        problems.more += 1
        return
    # A key that is not an identifier may be a secret value in the wrong place, so it is not shown.
    shown = name if isinstance(name, str) and len(name) <= LONGEST_NAME and name.isidentifier() else "?"
    nested = _nested(desc, shown)
    hint = HINTS.get(shown) or (f"write {nested}" if nested else f"there are {', '.join(names(desc))}")
    problems.note(f"{path}.{shown}" if path else shown, "unknown_field", f"is not a parameter; {hint}")


def _nested(desc: DescMessage, name: str, form: str = "{}={}") -> str:
    """Return how to write a parameter that is a field of a nested message, such as `scope={"user_id": ...}`."""
    for field in desc.fields:
        if isinstance(inner := kind_of(field), DescMessage):
            is_there = any(field.name == name for field in inner.fields)
            if value := f'{{"{name}": ...}}' if is_there else _nested(inner, name, '{{"{}": {}}}'):
                return form.format(field.name, value)
    return ""


def _too_many(desc: DescMessage, oneof: str, given: list[str], path: str) -> Violation:
    every = members(desc, oneof)
    # A message that is nothing but a oneof is given as a mapping with one name: callers never see the oneof's name.
    where = [path] if len(every) == len(desc.fields) else filter(None, [path, oneof])
    both = " and ".join(name for name in every if name in given)
    return Violation(".".join(where), "oneof", f"takes only one of {', '.join(every)}; {both} were given")


def _secret(read: Reader, value: object, path: str, problems: Problems) -> object:
    """Read a value that may come hidden."""
    if isinstance(value, str):
        return read(value, path, problems)
    reveal = getattr(value, "get_secret_value", None)
    try:
        value = reveal() if callable(reveal) else value
    except Exception:  # noqa: BLE001 # its text may hold the value
        problems.note(path, "type", "cannot be read: its get_secret_value() failed")
        return ""
    if value is None:
        # None often comes from a variable that is not set. It must not be stored as an empty secret.
        problems.note(path, "type", "must be a string, and is None")
        return ""
    return read(value, path, problems)


def _text(value: object, path: str, problems: Problems) -> str:
    if not isinstance(value, str):
        problems.note(path, "type", "must be a string")
        return ""
    if not (value.isascii() or _is_unicode(value)):
        problems.note(path, "string.utf8", "must be valid Unicode, without lone surrogates")
        return ""
    return value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _flag(value: object, path: str, problems: Problems) -> bool:
    if isinstance(value, bool):
        return value
    problems.note(path, "type", "must be True or False")
    return False


def _number(value: object, path: str, problems: Problems) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and -(2**31) <= value < 2**31:
        return value
    problems.note(path, "type", "must be a whole number of 32 bits")
    return 0


def _texts(most: int | None, value: object, path: str, problems: Problems) -> list[str]:
    """Read a list of strings. `most` is the number of items that the contract allows, None for any."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        problems.note(path, "type", "must be a list of strings")
        return []
    items = cast("Sequence[object]", value)
    if most is not None and len(items) > most:
        # The items are not read, as there may be a million.
        text = f"must contain no more than {most} item(s), and has {len(items):,}"
        problems.note(path, "repeated.max_items", text)
        return []
    texts: list[str] = []
    for index, item in enumerate(items):
        if problems.is_full:
            problems.more += sum(not (isinstance(each, str) and _is_unicode(each)) for each in items[index:])
            break
        texts.append(_text(item, f"{path}[{index}]", problems))
    return texts


_READERS: dict[object, Reader] = {ScalarType.STRING: _text, ScalarType.BOOL: _flag, ScalarType.INT32: _number}
"""What reads a field that is not repeated, by its type. Fields of other types take no parameter yet."""


def apply_rules(message: Message, problems: Problems) -> None:
    """Note what breaks the rules of the contract, except at fields that have a problem already."""
    with held():
        # It calls back from native code.
        violations = protovalidate.collect_violations(message)
    if not violations:
        return
    found = [violation(broken.proto) for broken in violations]
    for each in [each for each in found if not problems.has(each.field)]:
        if each.rule_id == "required" and (every := members(message.desc(), each.field)):
            problems.add(each._replace(message=f"one of {', '.join(every)} is required"))
        else:
            problems.add(each)


def checked(message: M, problems: Problems) -> M:
    """Return the message if nothing is wrong with it."""
    apply_rules(message, problems)
    if problems.shown:
        raise InvalidRequestError.of(problems.shown, problems.more)
    return message
