"""Requests that mean harm, or are broken, and the answer that each should get.

Each row has the bytes to send, the HTTP status, and the Connect code where there is one. `CANARY` stands where a
secret could: no answer and no log may repeat it.
"""

import gzip
import json
import zlib

import zstandard
from tests.support.broken_http import FRAMING, HEADERS, QUERIES
from tests.support.raw_requests import (
    BEARER,
    CANARY,
    CHUNKED,
    CREATE,
    HOST,
    JSON,
    PROJECT,
    PROTO,
    WEB,
    Row,
    bare,
    chunks,
    create,
    field,
    frame,
    post,
)

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
    # h11 takes a second for it.
    "header of spaces and a NUL": Row(post(b"{}", b"x-y:" + b" " * 15_000 + b"\0\r\n"), 400),
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
