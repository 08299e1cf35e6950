"""Splits what comes over a connection of HTTP/2 into frames, and counts those that cost more than they are worth."""

from collections.abc import Container, Iterator

from h2.exceptions import ProtocolError

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD = 9
"""Bytes in front of each frame: its length, type, flags and stream (RFC 9113 section 4.1)."""
MAX_FRAME_BYTES = 16 * 1024
MAX_BLOCK_BYTES = 32 * 1024
"""The most bytes of the frames of a request's head. h2 decodes them when the last one has come."""
CREDIT = 1000
"""Frames that a connection may send beside those of its requests: pings, settings, resets. Each call that is answered
allows for `CALL_CREDIT` more, and each frame of an answer's body for `DATA_CREDIT`, as its reader opens the windows of
the stream and of the connection and may send a ping, up to this number. A reset costs `RESET_COST`, because it ends a
call that cost more, and settings one for each `SETTINGS_BYTES`."""
CALL_CREDIT, DATA_CREDIT, RESET_COST, SETTINGS_BYTES = 16, 3, 4, 64
TURN, CALL = 64, 8
"""The most frames to handle before others have their turn, and as how many a new call counts."""
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY, CONTINUATION = 0, 1, 3, 4, 7, 9
END_HEADERS = 4


def stream_of(frame: bytes) -> int:
    """Return the number of the stream that a frame belongs to, 0 for the connection."""
    return int.from_bytes(frame[5:HEAD]) & 0x7FFF_FFFF


class Frames:
    """What has come and is not yet read.

    Args:
        streams: the streams of the calls under way.
    """

    def __init__(self, streams: Container[int]) -> None:
        self.received = bytearray()
        self._streams = streams
        self._is_greeted = False
        self._block = self._last = 0
        self._credit = CREDIT

    def split(self) -> Iterator[bytes]:
        """Yield the preface and each whole frame. Raises h2's ProtocolError when the connection must end."""
        if not self._is_greeted:
            if not PREFACE.startswith(self.received[: len(PREFACE)]):
                raise ProtocolError
            if len(self.received) < len(PREFACE):
                return
            self._is_greeted = True
            del self.received[: len(PREFACE)]
            yield PREFACE
        while len(self.received) >= HEAD:
            size = HEAD + int.from_bytes(self.received[:3])
            if size > HEAD + MAX_FRAME_BYTES:
                raise ProtocolError
            if len(self.received) < size:
                return
            frame = bytes(self.received[:size])
            del self.received[:size]
            self._charge(frame)
            yield frame

    def pay(self, cost: int) -> None:
        """Take from the credit. Raises ProtocolError when it is used up."""
        self._credit -= cost
        if self._credit < 0:
            raise ProtocolError

    def earn(self, credit: int) -> None:
        """Add to the credit, for something that was sent."""
        self._credit = min(self._credit + credit, CREDIT)

    def _charge(self, frame: bytes) -> None:
        kind, stream = frame[3], stream_of(frame)
        if kind in (HEADERS, CONTINUATION):
            self._block += len(frame)
            if self._block > MAX_BLOCK_BYTES:
                raise ProtocolError
            if frame[4] & END_HEADERS:
                self._block = 0
        is_new = kind == HEADERS and stream > self._last
        self._last = max(self._last, stream) if is_new else self._last
        if not is_new and not (kind in (HEADERS, DATA) and stream in self._streams):
            costs = {RST_STREAM: RESET_COST, SETTINGS: 1 + len(frame) // SETTINGS_BYTES}
            self.pay(costs.get(kind, 1))
