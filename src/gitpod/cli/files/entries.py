"""What a file of secrets is read into, whatever its format, and how a mount is shown."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gitpod._secret_value import SecretValue

Mount = Mapping[str, Any]
"""The parameter of a create that says how environments get the secret, and its value."""

ENV: Mount = {"environment_variable": True}
API_ONLY: Mount = {"api_only": True}
PLACES = {"file": "file_path", "registry": "container_registry_basic_auth_host"}
"""The mounts that name a place: what files and tables call them, and their parameters."""
NAME = re.compile(r"[0-9A-Za-z_]{3,127}")
"""The contract's rule for a secret's name. A text that breaks it is not shown: it may be a piece of a value."""

NUL = "holds a NUL character, which no environment can carry"
"""Why a value cannot be a variable."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A valid secret of a file. The repr does not show the value.

    Attributes:
        number: its line; in JSON, its position from 1.
        name: its name.
        value: its value.
        mount: how environments get it.
        is_expanded: whether other programs would put something else in the place of a part of the value, as of
            `${NAME}`. Here it is stored as it stands.
    """

    number: int
    name: str
    value: SecretValue = field(repr=False)
    mount: Mount = field(default_factory=lambda: ENV)
    is_expanded: bool = False


@dataclass(frozen=True, slots=True)
class Invalid:
    """A line that is not a valid secret.

    Attributes:
        number: its number.
        rule: the rule that it breaks, without the line's text.
        name: its name, empty if that breaks the contract's rule.
    """

    number: int
    rule: str
    name: str = ""


Line = Entry | Invalid


def shown(mount: Mount) -> str:
    """Format a mount as dotenv comments and tables have it, on one line."""
    for kind, name in PLACES.items():
        if name in mount:
            where = mount[name]
            is_plain = isinstance(where, str) and where.isprintable() and where == where.strip() and where[:1] != '"'
            is_plain = is_plain and " #" not in where
            return f"{kind} {where if is_plain else json.dumps(where)}"
    if "environment_variable" in mount:
        return "env"
    return "api-only" if "api_only" in mount else "unknown"
