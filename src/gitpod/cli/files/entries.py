"""The secrets of a file, before anything is known of the service. `_dotenv.py` and `_json_file.py` make them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gitpod._secret_value import SecretValue

Mount = Mapping[str, Any]
"""The parameter of a create that says how environments get the secret, and its value."""

ENV: Mount = {"environment_variable": True}
API_ONLY: Mount = {"api_only": True}
NAME = re.compile(r"[0-9A-Za-z_]{3,127}")
"""The contract's rule. What breaks it is not shown, as it may be a piece of a value."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A secret that a file names: where, what, and how environments get it. No repr shows the value."""

    number: int
    name: str
    value: SecretValue = field(repr=False)
    mount: Mount = field(default_factory=lambda: ENV)


@dataclass(frozen=True, slots=True)
class Invalid:
    """What is no secret: where, and which rule it breaks. Never its text, and of a name only what can be one."""

    number: int
    rule: str
    name: str = ""


Line = Entry | Invalid


def load(text: str) -> list[Line]:
    """The secrets of a file, in its order. The numbers are those of lines in dotenv, and count the secrets in JSON."""
    from gitpod.cli.files import dotenv, json_file  # which need the above

    text = text.removeprefix("\ufeff")
    is_json = text.lstrip()[:1] in ("{", "[")
    seen: set[str] = set()
    return [_once(line, seen) for line in (json_file.read(text) if is_json else dotenv.read(text))]


def _once(line: Line, seen: set[str]) -> Line:
    if isinstance(line, Invalid):
        return line
    if not NAME.fullmatch(line.name):
        return Invalid(line.number, "the name must be 3 to 127 letters (A to Z), digits and underscores")
    if line.name in seen:
        return Invalid(line.number, "the name is taken by a line above", line.name)
    seen.add(line.name)
    return line
