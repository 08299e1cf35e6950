"""The heads of HTTP/2: encoded and decoded by hpack, checked by h2. What repeats in every call is done once."""

import asyncio
import re
from typing import Any

from h2.events import RequestReceived
from h2.utilities import HeaderValidationFlags, validate_headers
from hpack import Decoder, Encoder, HeaderTuple

from gitpod.server.edge.headers import Scope

Headers = list[tuple[bytes, bytes]]
OF_REQUEST = HeaderValidationFlags(is_client=False, is_trailer=False, is_response_header=False, is_push_promise=False)
OF_HTTP1 = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
"""Headers that HTTP/2 does not have (RFC 9113 section 8.2.2)."""
TIMEOUT = re.compile(rb"[0-9]{1,8}[HMSmun]")
"""What gRPC allows for `grpc-timeout`."""
SAME = frozenset({b":status", b"content-type", b"grpc-status", b"accept-post", b"vary"})
"""Headers of answers that have few values. The others would fill the table of the connection without use."""
INDEXED, LONG = 0x80, 0x7F
"""The bit of a header that is in the table, and the number that has further bytes (RFC 7541 sections 5.1, 6.1)."""
NEVER_INDEXED = b"\x10"


class HeadEncoder(Encoder):
    """Adds few headers to the table, and remembers how those are encoded."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[tuple[bytes, bytes], bytes] = {}
        self._entries = 0

    def add(self, to_add: tuple[bytes, bytes], sensitive: bool, huffman: bool = False) -> bytes:  # noqa: FBT001, FBT002 # hpack's signature
        """Return the encoded header (hpack.Encoder)."""
        if self._entries != len(self.header_table.dynamic_entries):
            # The client made the table smaller.
            self._known.clear()
        known = self._known.get(to_add)
        if known is not None:
            return known
        name, value = to_add
        if name not in SAME:
            if len(name) < LONG and len(value) < LONG:
                return b"%b%c%b%c%b" % (NEVER_INDEXED, len(name), name, len(value), value)
            return super().add(to_add, True, huffman)  # never indexed
        encoded = super().add(to_add, sensitive, huffman)
        if encoded[0] & INDEXED:
            self._known[to_add] = encoded
        else:
            # Every header has another number in the table now.
            self._known.clear()
        self._entries = len(self.header_table.dynamic_entries)
        return encoded


class HeadDecoder(Decoder):
    """Remembers the last head whose headers were all in the table."""

    def __init__(self) -> None:
        super().__init__()
        self._last: tuple[bytes, list[HeaderTuple]] | None = None

    def decode(self, data: bytes, raw: bool = False) -> list[HeaderTuple]:  # noqa: FBT001, FBT002 # hpack's signature
        """Return the headers of a head (hpack.Decoder)."""
        if self._last and self._last[0] == data:
            return self._last[1]
        headers = [*super().decode(data, raw)]
        # Any other head may have changed the table.
        self._last = (data, headers) if all(INDEXED < byte < INDEXED | LONG for byte in data) else None
        return headers

    def _decode_indexed(self, data: bytes | memoryview) -> tuple[HeaderTuple, int]:
        number = data[0] & LONG
        if number == LONG:
            return super()._decode_indexed(data)
        return HeaderTuple(*self.header_table.get_by_index(number)), 1


def allowed(headers: Headers) -> Headers:
    """Return the headers of an answer that HTTP/2 can carry, where names are in lower case (RFC 9113 section 8.2)."""
    return [
        (name, value.strip())
        for name, value in ((given.lower(), value) for given, value in headers)
        if value.isascii() and value.decode().isprintable() and name not in OF_HTTP1
    ]


class Heads:
    """Reads the heads of a connection's requests.

    Clients send one head again and again, or with another `grpc-timeout`, so the last one is remembered.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        # Of the connection, whatever the client says.
        self._scheme = "https" if transport.get_extra_info("ssl_object") else "http"
        self._client = (transport.get_extra_info("peername") or (None,))[:2]
        self._last: object = None
        self._headers: Headers = []
        self._pseudo = 0
        self._scope: dict[str, Any] = {}

    def scope(self, event: RequestReceived) -> Scope:
        """Return the scope of a request (ASGI). Raises h2's ProtocolError if its head is malformed."""
        given: Any = event.headers
        # With its place.
        timeouts = [each for each in enumerate(given) if each[1][0] == b"grpc-timeout"]
        rest = given if not timeouts else [each for each in given if each[0] != b"grpc-timeout"]
        is_known = rest == self._last and all(
            # The other headers are right, so this one is too, unless a pseudo-header follows it.
            place >= self._pseudo and TIMEOUT.fullmatch(value)
            for place, (_, value) in timeouts
        )
        if not is_known:
            self._scope = self._parsed(given)
            self._headers = [each for each in self._scope["headers"] if each[0] != b"grpc-timeout"]
            self._last, self._pseudo = rest, sum(name.startswith(b":") for name, _ in rest)
        scope = self._scope.copy()
        # An application may change its own.
        scope["headers"] = [*self._headers, *((name, value.strip(b" \t")) for _, (name, value) in timeouts)]
        scope["extensions"] = {"http.response.trailers": {}}
        return scope

    def _parsed(self, given: Any) -> dict[str, Any]:  # noqa: ANN401 # h2's own type
        # HTTP/1.1 and gRPC allow white space around values, and an empty token leaves some: `Bearer `.
        headers = [*validate_headers([(name, value.strip(b" \t")) for name, value in given], OF_REQUEST)]
        pseudo = {name: value for name, value in headers if name.startswith(b":")}
        others = [(name, value) for name, value in headers if not name.startswith(b":")]
        if b":authority" in pseudo:
            others = [(b"host", pseudo[b":authority"]), *(each for each in others if each[0] != b"host")]
        path, _, query = pseudo.get(b":path", b"").partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "2",
            "method": pseudo[b":method"].decode("latin-1"),
            "scheme": self._scheme,
            # As it was sent: the application knows no path with an escape.
            "path": path.decode("latin-1"),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": others,
            "client": self._client,
        }
