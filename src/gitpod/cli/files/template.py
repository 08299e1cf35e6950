"""Reads templates with references to secrets, and fills them. Nothing here does I/O.

`{{ secret "NAME" }}` is a reference. `{{ "{{" }}` is a literal `{{`. Any other `{{` is an error. The text around them
may be in any encoding that has ASCII in it, and stays byte for byte.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gitpod.cli.files.entries import NAME

TAG = re.compile(rb'\{\{[ \t]*(?:secret[ \t]+"(?P<name>[^"\r\n]*)"|"(?P<literal>[{}]+)")[ \t]*\}\}')
RULE = 'must be {{ secret "NAME" }}, or {{ "{{" }} for a literal {{'
NAME_RULE = "the name must be 3 to 127 letters, digits and underscores"


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference to a secret: the number of its line, and the secret's name."""

    line: int
    name: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A part of a template that is wrong: the number of its line, and the rule that it breaks, without its text."""

    line: int
    rule: str


@dataclass(frozen=True, slots=True)
class Template:
    """A template: its parts in their order, and what is wrong in it."""

    parts: list[bytes | Reference]
    problems: list[Problem]

    @property
    def references(self) -> list[Reference]:
        """The references in their order."""
        return [part for part in self.parts if isinstance(part, Reference)]


def parse(text: bytes) -> Template:
    """Find the references of a template, and everything that is wrong in it."""
    found = Template([], [])
    end = 0
    while (start := text.find(b"{{", end)) >= 0:
        found.parts.append(text[end:start])
        line = text.count(b"\n", 0, start) + 1
        tag = TAG.match(text, start)
        end = tag.end() if tag else start + 2
        if tag is None:
            found.problems.append(Problem(line, RULE))
        elif (literal := tag["literal"]) is not None:
            found.parts.append(literal)
        elif NAME.fullmatch(name := tag["name"].decode("latin-1")):
            found.parts.append(Reference(line, name))
        else:
            found.problems.append(Problem(line, NAME_RULE))
    found.parts.append(text[end:])
    return found


def fill(template: Template, values: Mapping[str, str]) -> bytes:
    """Return the text with each value, as it stands, in the place of its references."""
    return b"".join(values[part.name].encode() if isinstance(part, Reference) else part for part in template.parts)
