"""Takes the body of a request of HTTP/1.1 from what has arrived: as long as its head says, or in chunks."""

import re
from enum import Enum, auto

from gitpod.server.serving.http_head import END_OF_HEAD, MAX_HEAD_BYTES, MalformedError, read_fields

MAX_PIECES = 2048
"""The most pieces of a request's body."""
CHUNK = re.compile(rb"([0-9A-Fa-f]{1,20})(?:;[^\r\n]*)?[ \t]*\r\n")


class Body:
    """A body of a known length. It has at most `MAX_PIECES` pieces.

    A piece is a chunk, or what one read of the socket gets. Each takes some microseconds of the event loop, whatever
    its size: 8 MB in chunks of one byte kept everybody else waiting for 20 s.

    Args:
        length: its bytes.
    """

    def __init__(self, length: int) -> None:
        self._left = length
        self._pieces = 0

    @property
    def is_ended(self) -> bool:
        """Whether all of it was taken."""
        return not self._left

    def take(self, received: bytearray) -> bytes:
        """Take what has come of the body from the beginning of `received`, and return it.

        Raises:
            MalformedError: it is malformed, or has too many pieces.
        """
        return self._piece(received)

    def _piece(self, received: bytearray) -> bytes:
        self._pieces += 1
        if self._pieces > MAX_PIECES:
            raise MalformedError("the body has too many pieces")
        piece = bytes(received[: self._left])
        del received[: len(piece)]
        self._left -= len(piece)
        return piece


class _Next(Enum):
    """What follows in a body in chunks."""

    SIZE = auto()
    DATA = auto()
    LINE_BREAK = auto()
    TRAILERS = auto()
    NOTHING = auto()


class Chunks(Body):
    """A body in chunks. Extensions and trailers are dropped."""

    def __init__(self) -> None:
        super().__init__(0)
        self._next = _Next.SIZE

    @property
    def is_ended(self) -> bool:
        """Whether all of it was taken."""
        return self._next is _Next.NOTHING

    def take(self, received: bytearray) -> bytes:
        """Take what has come of the body from the beginning of `received`, and return it (Body)."""
        pieces: list[bytes] = []
        while received and not self.is_ended:
            if self._next is _Next.DATA:
                pieces.append(self._piece(received))
                self._next = _Next.DATA if self._left else _Next.LINE_BREAK
                continue
            size = self._size_of_lines(received)
            if not size:
                if len(received) >= MAX_HEAD_BYTES:
                    raise MalformedError("a line between chunks is too long")
                break
            self._take_lines(bytes(received[:size]))
            del received[:size]
        return b"".join(pieces)

    def _size_of_lines(self, received: bytearray) -> int:
        """Return the bytes up to the next chunk's data, or to the end. 0: they have not all come."""
        if self._next is _Next.LINE_BREAK:
            return 2 if len(received) > 1 else 0
        if self._next is _Next.SIZE:
            return received.find(b"\r\n", 0, MAX_HEAD_BYTES) + 2 if b"\r\n" in received[:MAX_HEAD_BYTES] else 0
        # A blank line alone is the end too.
        end = END_OF_HEAD.search(b"\n" + received[:MAX_HEAD_BYTES])
        return end.end() - 1 if end else 0

    def _take_lines(self, lines: bytes) -> None:
        if self._next is _Next.TRAILERS:
            read_fields(lines)
            self._next = _Next.NOTHING
        elif self._next is _Next.LINE_BREAK:
            if lines != b"\r\n":
                raise MalformedError("a chunk is longer than its size")
            self._next = _Next.SIZE
        else:
            size = CHUNK.fullmatch(lines)
            if size is None:
                raise MalformedError("the size of a chunk is malformed")
            self._left = int(size[1], 16)
            self._next = _Next.DATA if self._left else _Next.TRAILERS
