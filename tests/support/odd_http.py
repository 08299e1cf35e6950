"""Requests that readers of HTTP/1.1 read differently: lines, headers, lengths and chunks that are odd or malformed."""

HOST = b"host: a\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"


def lined(line: bytes) -> bytes:
    """A request of this line."""
    return line + b"\r\n" + HOST + b"\r\n"


def headed(headers: bytes, body: bytes = b"") -> bytes:
    """A request of these header lines."""
    return b"POST /x?y=z HTTP/1.1\r\n" + HOST + headers + b"\r\n" + body


def chunked(body: bytes) -> bytes:
    """A request of this body in chunks."""
    return headed(CHUNKED, body)


LINES = [
    *(b"get / HTTP/1.1", b"G() / HTTP/1.1", b"G\0 / HTTP/1.1", b"\xc3\xa9 / HTTP/1.1", b" GET / HTTP/1.1"),
    *(b"GET  / HTTP/1.1", b"GET /  HTTP/1.1", b"GET / HTTP/1.1 ", b"GET\t/ HTTP/1.1", b"GET /\tHTTP/1.1", b"GET /"),
    *(b"GET", b"GET / http/1.1", b"GET / HTTP/1", b"GET / HTTP/11", b"GET / HTTP/1.10", b"GET / HTTP/ 1.1"),
    *(
        b"GET / HTTP/2.0",
        b"GET / HTTP/1.2",
        b"GET / HTTP/0.9",
        b"GET / HTTP/1.0",
        b"GET / XTTP/1.1",
        b"GET / / HTTP/1.1",
    ),
    *(
        b"GET  HTTP/1.1",
        b"GET /#a HTTP/1.1",
        b"GET http://b/c HTTP/1.1",
        b"CONNECT a:1 HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
    ),
    *(b"GET a HTTP/1.1", b"GET /\x01 HTTP/1.1", b"GET /\x7f HTTP/1.1", b"GET /\xff HTTP/1.1", b"GET ? HTTP/1.1"),
    *(b"GET /\r HTTP/1.1", b"GET / HTTP/1.1\r", b"\rGET / HTTP/1.1", b"PRI * HTTP/2.0", b"M-SEARCH * HTTP/1.1"),
    *(b"SOURCE / ICE/1.0", b"GET / RTSP/1.0", b"HTTP/1.1 200 OK", b"\x80\x2e\x01", b"\x16\x03\x01\x02\x00"),
]
FIELDS = [
    *(
        b"x : 1",
        b"x\t: 1",
        b"x",
        b": 1",
        b"x:",
        b"x:1",
        b"x: ",
        b"x:\t 1 \t",
        b" x: 1",
        b"\tx: 1",
        b"x: 1\r\n y",
        b"x:\r\n\ty",
    ),
    *(
        b"x: \0",
        b"x: \x01",
        b"x: \x0b1",
        b"x: \x0c",
        b"x: \x7f",
        b"x: 1\ry: 2",
        b"x: 1\r",
        b"x: 1\ny: 2",
        b"x: \xe9",
        b"\xe9: 1",
    ),
    *(b"x(y): 1", b'"x": 1', b"x;y: 1", b"x y: 1", b"x\0: 1", b"x_y: 1", b"x\ny: 1", b"x: 1\n z", b"x:: 1", b"\r: 1"),
    *(b"transfer-encoding : chunked", b"transfer-encoding: chunked, chunked", b"transfer-encoding: identity"),
    *(b"transfer-encoding: chunked;q=1", b"transfer-encoding: \x0bchunked", b"transfer-encoding: chunked\x0b"),
    *(
        b"transfer-encoding: xchunked",
        b"transfer-encoding: gzip, chunked",
        b"transfer-encoding:",
        b"transfer-encoding: ,chunked",
    ),
    *(CHUNKED + b"transfer-encoding: identity", CHUNKED + b"transfer-encoding: chunked", b"transfer_encoding: chunked"),
    *(b"content-length: 3, 4", b"content-length: 3\r\ncontent-length: 4", b"content-length: +3", b"content-length: -3"),
    *(
        b"content-length: 0x3",
        b"content-length: 3.0",
        b"content-length: 3e0",
        b"content-length:",
        b"content-length: 3;",
    ),
    *(
        b"content-length: 3 3",
        b"content-length: \xd9\xa3",
        b"content-length: 1_0",
        b"content-length: 000000000000000000000",
    ),
    *(b"content-length : 3", b"content-length: 3,", b"content_length: 3", b"content-length: 3, 3"),
    *(
        b"content-length: 3\r\ncontent-length: 3",
        b"content-length:\r\n 3",
        b"host: a",
        b"host: b",
        b"host:",
        b"expect: x",
    ),
    *(
        b"connection: keep-alive",
        b"connection: close",
        b"connection: x, CLOSE",
        b"connection: closed",
        b"connection: upgrade",
    ),
    *(b"connection: upgrade\r\nupgrade: websocket", b"connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AA"),
    *(b"upgrade: websocket", b"proxy-connection: close", b"te: trailers", b"trailer: x", b"content-encoding: gzip"),
]
BODIES = [
    *(b"3\r\nabc\r\n0\r\n\r\n", b"A\r\n0123456789\r\n0\r\n\r\n", b"003\r\nabc\r\n000\r\n\r\n", b"0\r\n\r\n"),
    *(b"0x3\r\nabc\r\n0\r\n\r\n", b"-3\r\nabc\r\n0\r\n\r\n", b"+3\r\nabc\r\n0\r\n\r\n", b" 3\r\nabc\r\n0\r\n\r\n"),
    *(
        b"3 \r\nabc\r\n0\r\n\r\n",
        b"3\t\r\nabc\r\n0 \r\n\r\n",
        b"3;x=y\r\nabc\r\n0\r\n\r\n",
        b'3;x="\xff"\r\nabc\r\n0;\r\n\r\n',
    ),
    *(
        b"3 ;x\r\nabc\r\n0\r\n\r\n",
        b"3;x\nabc\r\n0\r\n\r\n",
        b"3;x\ry\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\r\n0\r\n\r\n",
        b"3\rabc\r\n0\r\n\r\n",
    ),
    *(
        b"3\r\nabc\n0\r\n\r\n",
        b"3\r\nabc0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nab\r\n0\r\n\r\n",
        b"3\r\nabc\r0\r\n\r\n",
    ),
    *(b"000000000000000000000\r\n\r\n", b"\r\n\r\n", b";x\r\n\r\n", b"g\r\n\r\n", b"3\r\nabc\r\n\r\n", b"3_0\r\n\r\n"),
    *(
        b"0\r\nx: 1\r\n\r\n",
        b"0\r\nx: 1\r\n y\r\n\r\n",
        b"0\r\nx\r\n\r\n",
        b"0\r\nx : 1\r\n\r\n",
        b"0\r\n x: 1\r\n\r\n",
    ),
    *(
        b"0\r\ncontent-length: 9\r\n\r\n",
        b"0\r\ntransfer-encoding: chunked\r\n\r\n",
        b"0\r\n\n",
        b"0\n\r\n",
        b"0\r\nx: 1\n\n",
    ),
    *(b"0\r\n\r\n0\r\n\r\n", b"0\r\nhost: b\r\nauthorization: x\r\n\r\n", b"0\r\nx: \0\r\n\r\n"),
]
ODD: dict[str, bytes] = {
    **{f"line {each!r}": lined(each) for each in LINES},
    **{f"field {each!r}": headed(each + b"\r\n") for each in FIELDS},
    **{f"chunks {each!r}": chunked(each) for each in BODIES},
    "a length and a body": headed(b"content-length: 3\r\n", b"abc"),
    "a length of zero": headed(b"content-length: 0\r\n"),
    "a length and chunks": headed(b"content-length: 3\r\n" + CHUNKED, b"0\r\n\r\n"),
    "chunks and a length": headed(CHUNKED + b"content-length: 3\r\n", b"0\r\n\r\n"),
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "a fold behind the request line": b"GET / HTTP/1.1\r\n x\r\n" + HOST + b"\r\n",
    "a fold alone": b"GET / HTTP/1.1\r\n" + HOST + b" \r\n\r\n",
    "no headers": b"GET / HTTP/1.1\r\n\r\n",
    "no headers in HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "no headers in HTTP/1.2": b"GET / HTTP/1.2\r\n\r\n",
    "line feeds alone": lined(b"GET / HTTP/1.1").replace(b"\r\n", b"\n"),
    "line feeds in one line": b"GET / HTTP/1.1\n" + HOST + b"\r\n",
    "carriage returns alone": lined(b"GET / HTTP/1.1").replace(b"\r\n", b"\r"),
    "a blank line of two returns": b"GET / HTTP/1.1\r\n" + HOST + b"\r\r\n\r\n",
    **{
        f"an upgrade with a body, {name}": headed(b"Upgrade: h2c\r\nconnection: upgrade\r\n" + framing, body)
        for name, framing, body in [
            ("by length", b"content-length: 19\r\n", b"GET /b HTTP/1.1\r\n\r\n"),
            ("in chunks", CHUNKED, b"3\r\nabc\r\n0\r\n\r\n"),
        ]
    },
    "a blank line in a chunk": chunked(b"b\r\n\r\n\r\n0\r\n\r\nab\r\n0\r\nx: 1\r\n\r\n"),
    "a body of a GET": b"GET / HTTP/1.1\r\n" + HOST + b"content-length: 3\r\n\r\nabc",
}
KNOWN = "a method, a version or a form of target that httptools does not know"
LF = "a line feed alone (RFC 9112 section 2.2)"
FOLD = "a folded header (RFC 9112 section 5.2)"
STRICTER: dict[str, str] = {
    **dict.fromkeys(
        [
            *(r"line b'get / HTTP/1.1'", r"line b'CONNECT a:1 HTTP/1.1'", "method that nobody knows"),
            *(r"line b'GET / HTTP/1.2'", r"line b'GET / HTTP/2.0'", r"line b'GET / HTTP/0.9'", "HTTP/9"),
            *(r"line b'PRI * HTTP/2.0'", "no headers in HTTP/1.2"),
            *(r"line b'GET a HTTP/1.1'", r"line b'GET ? HTTP/1.1'", "path without a slash"),
        ],
        KNOWN,
    ),
    **dict.fromkeys(
        [
            *(f"field {field!r}" for field in (b" x: 1", b"\tx: 1", b"x: 1\r\n y", b"x:\r\n\ty", b"x: 1\n z")),
            *(r"field b'content-length:\r\n 3'", r"chunks b'0\r\nx: 1\r\n y\r\n\r\n'"),
            *("a fold alone", "folded header"),
        ],
        FOLD,
    ),
    **dict.fromkeys(
        [
            *(r"field b'x: 1\ny: 2'", r"chunks b'0\r\n\n'", r"chunks b'0\r\nx: 1\n\n'"),
            *("line feeds alone", "line feeds in one line"),
        ],
        LF,
    ),
    r"field b'content-length: 3, 3'": "two lengths",
    r"field b'content-length: 3\r\ncontent-length: 3'": "two lengths",
    **dict.fromkeys(["a length and chunks", "chunks and a length", "length and chunks"], "two framings"),
    r"chunks b'0\r\ncontent-length: 9\r\n\r\n'": "framing in a trailer",
    r"chunks b'0\r\ntransfer-encoding: chunked\r\n\r\n'": "framing in a trailer",
    r"field b'x: \x01'": "a control character",
    r"field b'x: \x7f'": "a control character",
    r"chunks b'3;x\ry\r\nabc\r\n0\r\n\r\n'": "a carriage return alone",
    r"chunks b'3 \r\nabc\r\n0\r\n\r\n'": "a space behind the size",
    r"chunks b'3\t\r\nabc\r\n0 \r\n\r\n'": "a space behind the size",
    r"""chunks b'3;x="\xff"\r\nabc\r\n0;\r\n\r\n'""": "an extension without a name",
    "head of 20 KiB": "16 KiB",
    "chunks of one byte": "2,048 chunks",
}
"""What h11 takes and the service refuses, and why."""
ENDED: dict[str, str] = {r"field b'proxy-connection: close'": "it asks for the end, by another name"}
"""What ends the connection after its answer, and why."""
LAXER: dict[str, str] = {
    **dict.fromkeys(
        ["a blank line first", "32 blank lines first", "line feeds first", r"line b'\rGET / HTTP/1.1'"],
        "blank lines first (RFC 9112 section 2.2)",
    ),
    r"chunks b'000000000000000000000\r\n\r\n'": "zero is zero",
}
"""What h11 refuses and the service takes, and why."""
