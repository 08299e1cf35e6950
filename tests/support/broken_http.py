"""Requests with broken or hostile headers, queries and framing, and the answer that each should get."""

import gzip
from base64 import urlsafe_b64encode

from tests.support.raw_requests import (
    BEARER,
    CANARY,
    CHUNKED,
    CREATE,
    GET,
    HOST,
    JSON,
    LIST,
    OTHER,
    SERVICE,
    WEB,
    Row,
    bare,
    chunks,
    frame,
    get,
    post,
)

TIMEOUTS = ["", "-1", "1.5", "1e3", "NaN", CANARY, "12345678901", "1_0", "+1", "0x10"]
GRPC_TIMEOUTS = ["", "1", "S", "-1S", "1.5S", "999999999S", "NaN", CANARY, f"1{CANARY}", "1 S", "1_0S"]
HEADERS: dict[str, Row] = {
    **{
        f"content type {kind!r}": Row(post(b"{}", kind=kind), 415, "unknown")
        for kind in ("", "text/plain", "application/xml", f"application/{CANARY}", "application/connect+json")
    },
    "no content type": Row(bare(f"POST {LIST} HTTP/1.1", HOST + b"content-length: 2\r\n", b"{}"), 415, "unknown"),
    **{
        f"gRPC as {kind}": Row(post(b"{}", kind=kind), 415)
        for kind in ("application/grpc", "application/grpc+json", "application/grpc-web-text", f"{WEB}{CANARY}")
    },
    **{
        f"method {method}": Row(bare(f"{method} {CREATE} HTTP/1.1", HOST), 405, None if method == "HEAD" else "unknown")
        for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")
    },
    "method that nobody knows": Row(bare(f"{CANARY} {CREATE} HTTP/1.1", HOST), 400),
    "HEAD of a list": Row(bare(f"HEAD {LIST} HTTP/1.1", HOST), 405),
    **{
        f"path {path}": Row(post(b"{}", path=path), 404, "unimplemented")
        for path in (
            "/",
            f"/{CANARY}",
            f"{CREATE}/",
            f"/{CREATE}",
            f"{SERVICE}../{CANARY}",
            f"http://localhost{LIST}",
            "*",
        )
    },
    **{
        f"path {path}": Row(post(b"{}", path=path), 400, "invalid_argument")
        for path in (
            f"{CREATE}%00",
            "/%ff",
            "/%zz",
            f"{SERVICE}List%53ecrets",
            LIST.replace("SecretService/", "SecretService%2F"),
            LIST.replace("gitpod", "%67itpod"),
            f"{SERVICE}x/%2e%2e/ListSecrets",
            f"/%68ealthz/{CANARY}",
            "/%68ealthz",
            "/healthz%3fx",
            "/%72eadyz",
        )
    },
    "path without a slash": Row(post(b"{}", path="%2Freadyz"), 400),
    "path with an escape, gRPC-Web": Row(
        post(frame(b""), path=f"{SERVICE}List%53ecrets", kind=WEB), 200, "invalid_argument"
    ),
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
    "GET without an encoding": Row(get("message=%7B%7D"), 415, "unknown"),
    "GET in an unknown encoding": Row(get(f"encoding={CANARY}&message=%7B%7D"), 415, "unknown"),
    "GET without a query": Row(bare(f"GET {LIST} HTTP/1.1", HOST), 415, "unknown"),
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
    "length and chunks": Row(bare(f"POST {LIST} HTTP/1.1", BOTH, chunks(b"{}")), 400),
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
    "chunks of one byte": Row(
        bare(
            f"POST {LIST} HTTP/1.1",
            HOST + b"content-type: application/json\r\n" + CHUNKED,
            chunks(*[b" "] * 3000, b"{}"),
        ),
        400,
    ),
    "chunks of 40 bytes": Row(
        bare(
            f"POST {LIST} HTTP/1.1",
            HOST + b"content-type: application/json\r\n" + CHUNKED,
            chunks(*[b" " * 40] * 2000, b"{}"),
        ),
        200,
    ),
    "head of 15 KiB": Row(post(b"{}", b"x-y: x\r\n" * 1900), 200),
    "head of 20 KiB": Row(post(b"{}", b"x-y: x\r\n" * 2500), 400),
    "head of 20 KiB after a blank line": Row(b"\r\n" + post(b"{}", b"x-y: x\r\n" * 2500), 400),
    "folded header": Row(post(b"{}", b"x-y: 1\r\n hunter2\r\n"), 400),
    "no host": Row(bare(f"POST {LIST} HTTP/1.1", b"content-length: 0\r\n"), 400),
    "two hosts": Row(post(b"{}", b"host: hunter2\r\n"), 400),
    "HTTP/1.0": Row(post(b"{}").replace(b"HTTP/1.1", b"HTTP/1.0"), 200),
    "HTTP/1.0 in chunks": Row(bare(f"POST {LIST} HTTP/1.0", CHUNKED, chunks(b"{}")), 415, "unknown"),
    "HTTP/0.9": Row(b"GET /hunter2\r\n\r\n", 400),
    "HTTP/9": Row(post(b"{}").replace(b"HTTP/1.1", b"HTTP/9.9"), 400),
    "TLS": Row(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03hunter2\r\n\r\n", 400),
    "absolute target": Row(post(b"{}", path=f"http://{CANARY}{LIST}"), 404, "unimplemented"),
    "target with spaces": Row(post(b"{}", path=f"/ {CANARY}"), 400),
    "target that is not ASCII": Row(post(b"{}", path="/hunter2é"), 400),
    "a blank line first": Row(b"\r\n" + post(b"{}"), 200),
    "32 blank lines first": Row(b"\r\n" * 32 + post(b"{}"), 200),
    "33 blank lines first": Row(b"\r\n" * 33 + post(b"{}"), 400),
    "line feeds first": Row(b"\n\n" + post(b"{}"), 200),
    "a blank line before TLS": Row(b"\r\n\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03hunter2\r\n\r\n", 400),
    "line feeds alone": Row(post(b"{}").replace(b"\r\n", b"\n"), 400),
}
