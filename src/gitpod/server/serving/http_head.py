"""Checks of a request's head that httptools leaves out (RFC 9112 sections 3 and 6.3)."""

import re

MAX_HEAD_BYTES = 16 * 1024
"""The most bytes of a request's head, as of the metadata of gRPC."""
END_OF_HEAD = re.compile(rb"\n\r?\n")
REQUEST_LINE = re.compile(rb"(?!CONNECT )[A-Z-]+ [\x21-\x7e]+ HTTP/1\.[01]\r\n")
UPGRADE = re.compile(rb"\nupgrade:[^\n]*", re.IGNORECASE)
FRAMING = frozenset({b"host", b"content-length", b"transfer-encoding"})
LENGTH = re.compile(rb"[0-9]{1,20}")


class MalformedError(Exception):
    """What a client sent is no request of HTTP/1.1. The message says why, and quotes nothing of it."""


def checked_head(head: bytes) -> bytes:
    """Return a head whose request line is well-formed, without a wish for another protocol.

    httptools takes HTTP/0.9 and spaces in a target, and drops the body of a request with such a wish.

    Raises:
        MalformedError: the request line is malformed.
    """
    if REQUEST_LINE.match(head) is None:
        raise MalformedError("the request line is malformed")
    return UPGRADE.sub(b"", head) if b"upgrade" in head.lower() else head


def length_of_body(headers: list[tuple[bytes, bytes]], version: str) -> int | None:
    """Return the bytes of a request's body. None: it comes in chunks.

    Raises:
        MalformedError: the headers break the rules of framing.
    """
    # Most headers are none of these.
    given = [header for header in headers if header[0] in FRAMING]
    names = [name for name, _ in given]
    if names.count(b"host") > 1 or (version == "1.1" and b"host" not in names):
        raise MalformedError("host: must be there once")
    codings = [value.lower() for name, value in given if name == b"transfer-encoding"]
    if codings not in ([], [b"chunked"]):
        raise MalformedError("transfer-encoding: must be chunked, once")
    lengths = [value for name, value in given if name == b"content-length"]
    if not all(map(LENGTH.fullmatch, lengths)):
        raise MalformedError("content-length: must be one whole number")
    return None if codings else int(lengths[0]) if lengths else 0
