"""Requests that mean harm, or are broken, and the answer that each should get.

Each row has the bytes to send, the HTTP status, and the Connect code where there is one. `CANARY` stands where a
secret could: no answer and no log may repeat it.
"""

import gzip
import json
import struct
import zlib
from base64 import urlsafe_b64encode
from typing import NamedTuple

import zstandard
from tests.support.service import TOKEN

CANARY = "hunter2"
PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
SERVICE = "/gitpod.v1.SecretService/"
CREATE, LIST, GET = f"{SERVICE}CreateSecret", f"{SERVICE}ListSecrets", f"{SERVICE}GetSecretValue"
JSON, PROTO, WEB = "application/json", "application/proto", "application/grpc-web+proto"
HOST = b"host: localhost\r\n"
BEARER = f"authorization: Bearer {TOKEN}\r\n".encode()
OTHER = b"authorization: Bearer hunter2\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
CUT = 0
"""The status of a connection that is closed without an answer."""


class Row(NamedTuple):
    """What is sent, and what should come back."""

    sent: bytes
    status: int
    code: str | None = None


def post(body: bytes = b"", more: bytes = b"", *, path: str = LIST, kind: str = JSON, bearer: bytes = BEARER) -> bytes:
    """A POST, with `more` header lines."""
    head = f"POST {path} HTTP/1.1\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n".encode()
    return head + HOST + bearer + more + b"\r\n" + body


def bare(line: str, headers: bytes, body: bytes = b"") -> bytes:
    """A request of which nothing but the token is filled in."""
    return line.encode() + b"\r\n" + BEARER + headers + b"\r\n" + body


def get(query: str, path: str = LIST) -> bytes:
    """A GET, as clients may read."""
    return bare(f"GET {path}?{query} HTTP/1.1", HOST)


def chunks(*parts: bytes) -> bytes:
    """A chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def frame(message: bytes, flags: int = 0, length: int | None = None) -> bytes:
    """One message of a gRPC-Web body."""
    return struct.pack(">BI", flags, len(message) if length is None else length) + message


def field(number: int, value: bytes) -> bytes:
    """A protobuf field of bytes, below number 16 and length 128."""
    return bytes([number << 3 | 2, len(value)]) + value


def create(**change: object) -> bytes:
    """The JSON of a create that would do, but for the change."""
    return json.dumps({"name": "NAME", "value": CANARY, "projectId": PROJECT, "apiOnly": True} | change).encode()


BOMB = gzip.compress(bytes(100_000_000))
BIG = create(value=CANARY * 20_000)
GOOD = field(1, b"NAME") + field(3, CANARY.encode()) + field(10, field(1, PROJECT.encode())) + b"\x58\x01"
"""A create as protobuf; its mount is `api_only`, field 11."""
UNKNOWN = field(15, CANARY.encode())

BAD_JSON: dict[str, bytes] = {
    "nothing": b"",
    "spaces": b"  ",
    "truncated": b'{"value": "hunter2',
    "trailing garbage": b"{} hunter2",
    "two documents": b"{}{}",
    "comment": b"{} // hunter2",
    "array": b'["hunter2"]',
    "string": b'"hunter2"',
    "number": b"1",
    "null": b"null",
    "unknown field": b'{"hunter2": 1}',
    "unknown field below": b'{"scope": {"hunter2": 1}}',
    "two members of a oneof": b'{"filePath": "/hunter2", "apiOnly": true}',
    "one key twice": b'{"name": "hunter2", "name": "NAME"}',
    "one field under two names": b'{"projectId": "hunter2", "project_id": "hunter2"}',
    "array for an object": b'{"scope": ["hunter2"]}',
    "string for an object": b'{"scope": "hunter2"}',
    "object for a string": b'{"value": {"hunter2": 1}}',
    "number for a string": b'{"value": 5}',
    "string for a flag": b'{"apiOnly": "hunter2"}',
    "number for a flag": b'{"apiOnly": 1}',
    "object for a list": b'{"credentialProxy": {"targetHosts": {"hunter2": 1}}}',
    "null in a list": b'{"credentialProxy": {"targetHosts": [null]}}',
    "NUL in the name": create(name=f"{CANARY}\0"),
    "line break after the name": create(name=f"{CANARY}\n"),
    "not UTF-8": b'{"value": "hunter2\xff"}',
    "overlong UTF-8": b'{"value": "hunter2\xc0\x80"}',
    "surrogates as UTF-8": b'{"value": "hunter2\xed\xa0\x80"}',
    "lone surrogate": b'{"value": "hunter2\\ud800"}',
    "lone surrogate in a key": b'{"hunter2\\ud800": 1}',
    "UTF-16": create().decode().encode("utf-16"),
    "UTF-32": create().decode().encode("utf-32-le"),
    "byte order mark": b"\xef\xbb\xbf" + create(),
    "raw control character": b'{"value": "hunter2\x01"}',
    "NaN": b'{"value": NaN}',
    "Infinity": b'{"apiOnly": -Infinity}',
    "deep arrays": b"[" * 100_000,
    "deep arrays in a field": b'{"value": ' + b"[" * 60_000 + b"]" * 60_000 + b"}",
    "deep objects": b'{"scope":' * 14_000,
    "Python's own literals": b"{'value': None}",
}

BAD_PAGES: dict[str, bytes] = {
    "huge number": b'{"pagination": {"pageSize": 1e400}}',
    "long number": b'{"pagination": {"pageSize": %b}}' % (b"9" * 100_000),
    "number beyond its type": b'{"pagination": {"pageSize": 2147483648}}',
    "fraction": b'{"pagination": {"pageSize": 1.5}}',
    "negative": b'{"pagination": {"pageSize": -1}}',
    "NaN for a number": b'{"pagination": {"pageSize": NaN}}',
    "text for a number": b'{"pagination": {"pageSize": "hunter2"}}',
    "flag for a number": b'{"pagination": {"pageSize": true}}',
    "made up token": b'{"pagination": {"token": "hunter2"}}',
    "NUL in a token": b'{"pagination": {"token": "hunter2\\u0000"}}',
    "no UUID": b'{"filter": {"projectIds": ["hunter2"]}}',
    "many projects": json.dumps({"filter": {"projectIds": [PROJECT] * 2000}}).encode(),
}

BAD_PROTO: dict[str, bytes] = {
    "truncated tag": b"\xff",
    "truncated field": b"\x0a\x7fhunter2",
    "length beyond 64 bits": b"\x0a" + b"\xff" * 9 + b"\x01",
    "varint of eleven bytes": b"\x40" + b"\x80" * 10 + b"\x01",
    "field number zero": b"\x02\x07hunter2",
    "wire type six": b"\x0e\x07hunter2",
    "wire type seven": b"\x0f\x07hunter2",
    "another wire type": b"\x18\x05",
    "end of no group": b"\x0c",
    "group without end": b"\x7b" + UNKNOWN,
    "deep groups": b"\x7b" * 60_000 + b"\x7c" * 60_000,
    "not UTF-8": field(3, b"hunter2\xff"),
    "surrogates as UTF-8": field(3, b"hunter2\xed\xa0\x80"),
    "JSON": create(),
    "NUL in the name": field(1, b"hunter2\0") + GOOD[6:],
    "empty": b"",
}

BAD_FRAMES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "unimplemented"),
    "half a prefix": (b"\0\0", "invalid_argument"),
    "truncated": (frame(GOOD)[:-3], "invalid_argument"),
    "longer than said": (frame(GOOD) + b"hunter2", "invalid_argument"),
    "length beyond the limit": (frame(GOOD, length=2**32 - 1), "resource_exhausted"),
    "compressed without an encoding": (frame(GOOD, 1), "internal"),
    "trailers": (frame(b"hunter2: hunter2\r\n", 0x80), "invalid_argument"),
    "unknown flag": (frame(GOOD, 0x40), "invalid_argument"),
    "two messages": (frame(GOOD.replace(b"NAME", b"TWO1")) * 2, "unimplemented"),
    "many empty messages": (frame(b"") * 20_000, "unimplemented"),
}

TIMEOUTS = ["", "-1", "1.5", "1e3", "NaN", CANARY, "12345678901", "1_0", "+1", "0x10"]
GRPC_TIMEOUTS = ["", "1", "S", "-1S", "1.5S", "999999999S", "NaN", CANARY, f"1{CANARY}", "1 S", "1_0S"]

CONNECT: dict[str, Row] = {
    "body over the limit": Row(post(BIG, path=CREATE), 429, "resource_exhausted"),
    "body over the limit, binary": Row(post(bytes(140_000), kind=PROTO), 429, "resource_exhausted"),
    "body over the limit, gRPC-Web": Row(post(frame(bytes(140_000)), kind=WEB), 200, "resource_exhausted"),
    "body over the limit, chunked": Row(
        bare(f"POST {CREATE} HTTP/1.1", HOST + b"content-type: application/json\r\n" + CHUNKED, chunks(BIG[:9], BIG)),
        429,
        "resource_exhausted",
    ),
    "body shorter than said": Row(post(b'"hunter2', b"connect-timeout-ms: 300\r\n")[:-4], 504, "deadline_exceeded"),
    "body longer than said": Row(post(b"[]") + b"hunter2", 400, "invalid_argument"),
    "gzip bomb": Row(post(BOMB, b"content-encoding: gzip\r\n"), 429, "resource_exhausted"),
    "gzip bomb, gRPC-Web": Row(post(frame(BOMB, 1), b"grpc-encoding: gzip\r\n", kind=WEB), 200, "resource_exhausted"),
    "zstd bomb": Row(
        post(zstandard.compress(bytes(100_000_000)), b"content-encoding: zstd\r\n"), 429, "resource_exhausted"
    ),
    "many empty gzip members": Row(
        post(gzip.compress(b"") * 6000 + b"hunter2", b"content-encoding: gzip\r\n"), 400, "invalid_argument"
    ),
    "truncated gzip": Row(post(gzip.compress(create())[:-9], b"content-encoding: gzip\r\n"), 400, "invalid_argument"),
    "no gzip": Row(post(create(), b"content-encoding: gzip\r\n"), 400, "invalid_argument"),
    "no zstd": Row(post(create(), b"content-encoding: zstd\r\n"), 400, "invalid_argument"),
    **{
        f"encoding {name}": Row(
            post(zlib.compress(create()), f"content-encoding: {name}\r\n".encode()), 501, "unimplemented"
        )
        for name in ("deflate", "br", "gzip, gzip", CANARY)
    },
    "encoding unknown, gRPC-Web": Row(
        post(frame(GOOD, 1), f"grpc-encoding: {CANARY}\r\n".encode(), kind=WEB), 200, "unimplemented"
    ),
    "NUL in a value": Row(post(create(name="NUL_JSON", value="a\0b"), path=CREATE), 200),
    "unknown field, binary": Row(post(GOOD.replace(b"NAME", b"UNK1") + UNKNOWN, kind=PROTO, path=CREATE), 200),
    "unknown field below, binary": Row(
        post(GOOD.replace(b"NAME", b"UNK2") + field(12, field(2, b"h") + UNKNOWN), kind=PROTO, path=CREATE), 200
    ),
    "unknown field in a scope, binary": Row(
        post(
            field(1, b"UNK3") + field(10, field(1, PROJECT.encode()) + UNKNOWN) + b"\x58\x01", kind=PROTO, path=CREATE
        ),
        200,
    ),
    "charset": Row(post(b"{}", kind=f"{JSON}; charset=utf-8"), 200),
    "capitals": Row(post(b"{}", kind="Application/JSON"), 200),
    **{f"JSON: {name}": Row(post(body, path=CREATE), 400, "invalid_argument") for name, body in BAD_JSON.items()},
    **{f"page: {name}": Row(post(body), 400, "invalid_argument") for name, body in BAD_PAGES.items()},
    **{
        f"binary: {name}": Row(post(body, kind=PROTO, path=CREATE), 400, "invalid_argument")
        for name, body in BAD_PROTO.items()
    },
    **{
        f"gRPC-Web: {name}": Row(post(frame(body), kind=WEB, path=CREATE), 200, "invalid_argument")
        for name, body in BAD_PROTO.items()
    },
    **{
        f"frames: {name}": Row(post(body, kind=WEB, path=CREATE), 200, code)
        for name, (body, code) in BAD_FRAMES.items()
    },
}

HEADERS: dict[str, Row] = {
    **{
        f"content type {kind!r}": Row(post(b"{}", kind=kind), 415)
        for kind in ("", "text/plain", "application/xml", f"application/{CANARY}", "application/connect+json")
    },
    "no content type": Row(bare(f"POST {LIST} HTTP/1.1", HOST + b"content-length: 2\r\n", b"{}"), 415),
    **{
        f"gRPC as {kind}": Row(post(b"{}", kind=kind), 415)
        for kind in ("application/grpc", "application/grpc+json", "application/grpc-web-text", f"{WEB}{CANARY}")
    },
    **{
        f"method {method}": Row(bare(f"{method} {CREATE} HTTP/1.1", HOST), 405)
        for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", CANARY)
    },
    "HEAD of a list": Row(bare(f"HEAD {LIST} HTTP/1.1", HOST), 405),
    **{
        f"path {path}": Row(post(b"{}", path=path), 404)
        for path in (
            "/",
            f"/{CANARY}",
            f"{CREATE}/",
            f"/{CREATE}",
            f"{SERVICE}../{CANARY}",
            f"{CREATE}%00",
            "/%ff",
            "*",
        )
    },
    "timeout of 0": Row(post(b"{}", b"connect-timeout-ms: 0\r\n"), 504, "deadline_exceeded"),
    "timeout of ten digits": Row(post(b"{}", b"connect-timeout-ms: 9999999999\r\n"), 200),
    **{
        f"timeout {value!r}": Row(post(b"{}", f"connect-timeout-ms: {value}\r\n".encode()), 400, "invalid_argument")
        for value in TIMEOUTS
    },
    "gRPC-Web timeout of 0": Row(post(frame(b""), b"grpc-timeout: 0n\r\n", kind=WEB), 200, "deadline_exceeded"),
    "gRPC-Web timeout of eight digits": Row(post(frame(b""), b"grpc-timeout: 99999999H\r\n", kind=WEB), 200),
    **{
        f"gRPC-Web timeout {value!r}": Row(
            post(frame(b""), f"grpc-timeout: {value}\r\n".encode(), kind=WEB), 200, "invalid_argument"
        )
        for value in GRPC_TIMEOUTS
    },
    **{
        f"protocol version {value!r}": Row(
            post(b"{}", f"connect-protocol-version: {value}\r\n".encode()), 400, "invalid_argument"
        )
        for value in ("", "2", "1.0", CANARY)
    },
    "header that is not UTF-8": Row(post(b"{}", b"x-y: hunter2\xff\r\n"), 400, "invalid_argument"),
    "header that is not ASCII": Row(post(b"{}", "x-y: hunter2é\r\n".encode()), 400, "invalid_argument"),
    "header with a NUL": Row(post(b"{}", b"x-y: hunter2\0\r\n"), 400),
    "header with a lone CR": Row(post(b"{}", b"x-y: hunter2\rx-z: 1\r\n"), 400),
    "header without a colon": Row(post(b"{}", b"hunter2\r\n"), 400),
    "header with a space before its colon": Row(post(b"{}", b"hunter2 : 1\r\n"), 400),
    "many headers": Row(post(b"{}", b"".join(b"x-%d: hunter2\r\n" % number for number in range(700))), 200),
    **{
        f"two of {name}": Row(post(b"{}", f"{name}: {value}\r\n{name}: {CANARY}\r\n".encode()), 400, "invalid_argument")
        for name, value in {"content-encoding": "identity", "connect-timeout-ms": 9, "content-type": JSON}.items()
    },
    **{
        f"another token {place}": Row(post(b"{}", bearer=bearer), 400, "invalid_argument")
        for place, bearer in {"first": OTHER + BEARER, "second": BEARER + OTHER}.items()
    },
    "upgrade to a WebSocket": Row(
        bare(
            f"GET {LIST}?encoding=json&message=%7B%7D HTTP/1.1", HOST + b"connection: upgrade\r\nupgrade: websocket\r\n"
        ),
        200,
    ),
}

QUERIES: dict[str, Row] = {
    "GET that is good": Row(get("encoding=json&message=%7B%7D"), 200),
    "GET that is good, base64": Row(get(f"encoding=proto&base64=1&message={urlsafe_b64encode(b'').decode()}"), 200),
    "GET without a message": Row(get("encoding=json"), 400, "invalid_argument"),
    "GET without an encoding": Row(get("message=%7B%7D"), 415),
    "GET in an unknown encoding": Row(get(f"encoding={CANARY}&message=%7B%7D"), 415),
    "GET without a query": Row(bare(f"GET {LIST} HTTP/1.1", HOST), 415),
    "GET that is no JSON": Row(get(f"encoding=json&message={CANARY}"), 400, "invalid_argument"),
    "GET that is not UTF-8": Row(
        get("encoding=json&message=%7B%22pagination%22:%7B%22token%22:%22hunter2%ff%22%7D%7D"), 400, "invalid_argument"
    ),
    "GET of one character of base64": Row(get("encoding=proto&base64=1&message=A"), 400, "invalid_argument"),
    "GET of what is no base64": Row(get("encoding=proto&base64=1&message=!!!!"), 400, "invalid_argument"),
    "GET of garbage in base64": Row(get("encoding=json&base64=1&message=e!30"), 400, "invalid_argument"),
    "GET in an unknown compression": Row(
        get(f"encoding=json&compression={CANARY}&message=%7B%7D"), 501, "unimplemented"
    ),
    "GET of a bomb": Row(
        get(
            "encoding=json&base64=1&compression=gzip&message="
            + urlsafe_b64encode(gzip.compress(bytes(9_000_000))).decode().rstrip("=")
        ),
        429,
        "resource_exhausted",
    ),
    "GET of no UUID": Row(
        get(f"encoding=json&message=%7B%22secretId%22:%22{CANARY}%22%7D", GET), 400, "invalid_argument"
    ),
    "GET with two messages": Row(
        get("encoding=json&message=%7B%7D&message=%7B%22hunter2%22:1%7D"), 400, "invalid_argument"
    ),
    "GET with many parameters": Row(
        get("encoding=json&message=%7B%7D" + "".join(f"&a{number}" for number in range(2000))), 200
    ),
}

BOTH = HOST + b"content-type: application/json\r\ncontent-length: 2\r\n" + CHUNKED
FRAMING: dict[str, Row] = {
    "length and chunks": Row(bare(f"POST {LIST} HTTP/1.1", BOTH, chunks(b"{}")), 400, "invalid_argument"),
    "two lengths": Row(post(b"{}", b"content-length: 3\r\n"), 400),
    "negative length": Row(post(b"{}").replace(b"content-length: 2", b"content-length: -2"), 400),
    "length with a sign": Row(post(b"{}").replace(b"content-length: 2", b"content-length: +2"), 400),
    "length that is no number": Row(post(b"{}").replace(b"content-length: 2", b"content-length: hunter2"), 400),
    "unknown transfer encoding": Row(post(b"{}", b"transfer-encoding: xchunked\r\n"), 400),
    "two transfer encodings": Row(post(b"{}", b"transfer-encoding: gzip, chunked\r\n"), 400),
    "bad chunk": Row(
        bare(f"POST {LIST} HTTP/1.1", HOST + b"content-type: application/json\r\n" + CHUNKED, b"hunter2\r\n"), 400
    ),
    "bad chunk after the answer": Row(
        f"POST {LIST} HTTP/1.1\r\ncontent-type: application/json\r\n".encode() + HOST + CHUNKED + b"\r\nhunter2\r\n",
        400,
    ),
    "folded header": Row(post(b"{}", b"x-y: 1\r\n hunter2\r\n"), 200),
    "no host": Row(bare(f"POST {LIST} HTTP/1.1", b"content-length: 0\r\n"), 400),
    "two hosts": Row(post(b"{}", b"host: hunter2\r\n"), 400),
    "HTTP/1.0": Row(post(b"{}").replace(b"HTTP/1.1", b"HTTP/1.0"), 200),
    "HTTP/1.0 in chunks": Row(bare(f"POST {LIST} HTTP/1.0", CHUNKED, chunks(b"{}")), 415),
    "HTTP/0.9": Row(b"GET /hunter2\r\n\r\n", 400),
    "HTTP/2 outright": Row(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "invalid_argument"),
    "HTTP/9": Row(post(b"{}").replace(b"HTTP/1.1", b"HTTP/9.9"), 400, "invalid_argument"),
    "TLS": Row(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03hunter2\r\n\r\n", 400),
    "absolute target": Row(post(b"{}", path=f"http://{CANARY}{LIST}"), 404),
    "target with spaces": Row(post(b"{}", path=f"/ {CANARY}"), 400),
    "target that is not ASCII": Row(post(b"{}", path="/hunter2é"), 400),
    "line feeds alone": Row(post(b"{}").replace(b"\r\n", b"\n"), 200),
}

TABLE = CONNECT | HEADERS | QUERIES | FRAMING

UNFINISHED = b"content-length: 99999999999\r\n"
STRANGERS: dict[str, bytes] = {
    "no token": b"",
    "wrong token": b"authorization: Bearer hunter2\r\n",
    "half a token": BEARER[:-4] + b"\r\n",
    "token and more": BEARER[:-2] + b"x\r\n",
    "empty token": b"authorization: Bearer\r\n",
    "empty header": b"authorization:\r\n",
    "other scheme": b"authorization: Basic hunter2\r\n",
    "token in a cookie": BEARER.replace(b"authorization: Bearer ", b"cookie: token="),
    "wrong token, unknown encoding": b"authorization: Bearer hunter2\r\ncontent-encoding: hunter2\r\n",
    "wrong token, waiting to be asked for the body": b"authorization: Bearer hunter2\r\nexpect: 100-continue\r\n",
}
