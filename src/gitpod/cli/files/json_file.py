"""Reads and writes secrets as JSON. Nothing here does I/O.

The file is an object of names and values, or a list of objects with `name`, `value`, and one of
`environmentVariable` (the default), `filePath`, `containerRegistryBasicAuthHost` and `apiOnly`.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, cast

from gitpod._secret_value import SecretValue
from gitpod.cli.files.entries import ENV, NAME, Entry, Invalid, Line

FIELDS = {
    "environmentVariable": "environment_variable",
    "filePath": "file_path",
    "containerRegistryBasicAuthHost": "container_registry_basic_auth_host",
    "apiOnly": "api_only",
}


def read(text: str) -> Iterator[Line]:
    """Yield the secrets of a file, and what is invalid in it. They are counted from 1."""
    try:
        # As pairs: a dict would keep only the last of several values with the same name.
        given = json.loads(text, object_pairs_hook=_Pairs)
    except json.JSONDecodeError as error:
        yield Invalid(error.lineno, "is not valid JSON")
        return
    except (ValueError, RecursionError):
        yield Invalid(1, "is not valid JSON")
        return
    if isinstance(given, _Pairs):
        yield from (_object(number, {"name": name, "value": value}) for number, (name, value) in enumerate(given, 1))
        return
    for number, each in enumerate(cast("list[object]", given), 1):
        yield _object(number, dict(each)) if isinstance(each, _Pairs) else Invalid(number, "is not an object")


class _Pairs(list[tuple[str, Any]]):
    """The names and values of an object of JSON."""


def _object(number: int, given: dict[str, Any]) -> Line:
    name, value = given.pop("name", None), given.pop("value", None)
    known = name if isinstance(name, str) and NAME.fullmatch(name) else ""
    if not isinstance(name, str) or not isinstance(value, str):
        return Invalid(number, "name and value must be strings", known)
    if given.keys() - FIELDS.keys():
        return Invalid(number, f"has a field that is none of name, value, {', '.join(FIELDS)}", known)
    # Null and false mean that the field is not set. The contract's rules check the types of all others.
    mount = {FIELDS[each]: set_to for each, set_to in given.items() if set_to is not None and set_to is not False}
    if not mount and given.get("environmentVariable") is False:
        return Invalid(number, "environmentVariable is false, and there is no other mount", known)
    return Entry(number, name, SecretValue(value), mount or ENV)


def dump(entries: Iterable[Entry]) -> str:
    """Format secrets as a list with one object on each line."""
    names = {parameter: name for name, parameter in FIELDS.items()}
    objects = (
        {"name": entry.name, "value": entry.value.reveal(), **{names[key]: each for key, each in entry.mount.items()}}
        for entry in entries
    )
    lines = ",\n".join(json.dumps(each, ensure_ascii=False) for each in objects)
    return f"[\n{lines}\n]\n" if lines else "[]\n"
