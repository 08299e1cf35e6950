"""Reads the head of an ordinary answer of HTTP/1.1 in two steps of a regular expression.

`http.client` reads any other answer. It takes some 50 µs for a head, which is more than the rest of a call.
"""

import re
from typing import NamedTuple

from gitpod._transport.body import MAX_RESPONSE_BYTES

HEAD = re.compile(rb"HTTP/1\.1 ([2-5]\d\d)(?: [\t -~]*)?\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*\r\n)*)\r\n")
"""Matches a head that every reader of HTTP understands alike: no folded lines, no lone CR or LF, ASCII alone."""

FIELD = re.compile(r"([^:\r\n]+):[ \t]*([^\r\n]*)\r\n")
BODILESS = {"204", "304"}
OTHER_BODY = {"transfer-encoding", "trailer"}
"""Headers of a body whose end its length does not say."""


class PlainHead(NamedTuple):
    """The head of an answer whose body has a known length, and whose connection stays open.

    Attributes:
        status: the HTTP status.
        fields: the headers.
        end: where the body begins.
        length: that of the body, in bytes.
    """

    status: int
    fields: list[tuple[str, str]]
    end: int
    length: int


def plain_head(data: bytes) -> PlainHead | None:
    """Read the head that these bytes begin with; None if it is not plain, or not all of it is there."""
    found = HEAD.match(data)
    if found is None:
        return None
    status, lines = found[1].decode(), found[2].decode()
    fields = [(name.lower(), text.rstrip(" \t")) for name, text in FIELD.findall(lines)]
    named = dict(fields)
    length = named.get("content-length", "")
    is_plain = (
        length.isdecimal()
        and len(length) <= len(str(MAX_RESPONSE_BYTES))
        and int(length) <= MAX_RESPONSE_BYTES
        # Two of a kind may contradict each other.
        and len(named) == len(fields)
        and OTHER_BODY.isdisjoint(named)
        and status not in BODILESS
        and named.get("content-encoding", "identity") == "identity"
        and named.get("connection", "keep-alive").lower() == "keep-alive"
    )
    return PlainHead(int(status), fields, found.end(), int(length)) if is_plain else None
