"""What the costliest requests cost the service: processor time, memory, and the size of the answer.

For every RPC it makes bodies of up to 128 KiB from the descriptor of the message: each text long, each repeated field
full, each message given again and again; then what only JSON, only protobuf or only a compression has. It prints the
costliest of each kind. Run it with `make costs`.
"""

import argparse
import gzip
import io
import json
import re
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import zstandard
from protobuf import DescField, DescMessage, Oneof, ScalarType
from protobuf import DescFieldValueList as ListValue
from protobuf import DescFieldValueMessage as MessageValue
from protobuf import DescFieldValueScalar as ScalarValue

from gitpod.server.app import Embedded
from gitpod.server.edge.options import MAX_REQUEST_BYTES
from gitpod_proto.gitpod.v1.secret_connect import SecretServiceSync
from gitpod_proto.gitpod.v1.secret_pb import CreateSecretRequest, Secret, SecretScope

if TYPE_CHECKING:
    from wsgiref.types import StartResponse

SERVICE = SecretServiceSync.desc()
PAGE = 100
PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
SCOPE = SecretScope(scope=Oneof[Literal["project_id"], str]("project_id", PROJECT))
TEXTS = ["x", "/", "a.", "1.", ":", "0", "%41", "é", "\0", "😀", "https://a/", "_"]
"""What long texts repeat. Each is hard for a rule of the contract, or for an encoding."""
RAW_JSON = {
    "lists in lists": b"[" * 60_000 + b"]" * 60_000,
    "objects in objects": b'{"filter":' * 12_000 + b"1" + b"}" * 12_000,
    "unknown keys": json.dumps({f"{number}": 0 for number in range(11_000)}).encode(),
    "equal keys": b"{" + b",".join([b'"":0'] * 26_000) + b"}",
    "a long key": json.dumps({"k" * 130_000: 0}).encode(),
    "a long number": b'{"pagination":{"pageSize":' + b"9" * 130_000 + b"}}",
    "a long fraction": b'{"pagination":{"pageSize":1.' + b"9" * 130_000 + b"}}",
    "a large exponent": b'{"pagination":{"pageSize":1e999999999}}',
    "lone surrogates": b'{"value":"' + b"\\ud800" * 20_000 + b'"}',
    "spaces": b" " * 131_000 + b"{}",
}
RAW_PROTO = {
    "unknown fields": b"\xf8\x01\x00" * 43_000,
    "unknown groups": b"\xfb\x01" * 30_000 + b"\xfc\x01" * 30_000,
    "no UTF-8": b"\x0a\xf0\xf6\x07" + b"\xff" * 129_904,
    "a length beyond the end": b"\x0a\xff\xff\xff\xff\x07",
}
RAW_GZIP = {
    "130 MB of zeros": gzip.compress(bytes(130_000_000)),
    "6,500 members": gzip.compress(b"") * 6_500,
    "half a stream": gzip.compress(bytes(100_000))[:60],
}
RAW_ZSTD = {
    "130 MB of zeros": zstandard.ZstdCompressor().compress(bytes(130_000_000)),
    "13,000 frames": zstandard.ZstdCompressor(write_content_size=False).compress(b"") * 13_000,
    "a window of 128 MiB": zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=27)
    ).compress(bytes(100)),
}


class Row(NamedTuple):
    """A request."""

    rpc: str
    codec: str
    compression: str
    name: str
    body: bytes


class Cost(NamedTuple):
    """What a request costs. `milliseconds` are of the processor, `memory` is the growth of the peak in bytes."""

    row: Row
    status: str
    milliseconds: float
    memory: int
    answer: bytes

    @property
    def is_legal(self) -> bool:
        """Whether the message kept the rules of the contract."""
        return self.status[:3] in ("200", "404", "409")


def rows() -> Iterator[Row]:
    """Every request."""
    for method in SERVICE.methods:
        for codec, raw in (("proto", RAW_PROTO), ("json", RAW_JSON)):
            bodies = [*_made(method.input, codec), *raw.items()]
            for name, body in bodies:
                if len(body) <= MAX_REQUEST_BYTES:
                    yield Row(method.name, codec, "identity", name, body)
                    yield Row(method.name, codec, "gzip", name, gzip.compress(body, 1))
                    yield Row(method.name, codec, "zstd", name, zstandard.ZstdCompressor(1).compress(body))
            for compression, streams in (("gzip", RAW_GZIP), ("zstd", RAW_ZSTD)):
                for name, body in streams.items():
                    yield Row(method.name, codec, compression, name, body[:MAX_REQUEST_BYTES])


def _made(desc: DescMessage, codec: str) -> Iterator[tuple[str, bytes]]:
    """Bodies made from a descriptor. Protobuf merges what is appended to a good message into it."""
    good = _good(desc)
    yield "good", _encoded(desc, good, codec)
    for path in paths(desc):
        name = ".".join(field.name for field in path)
        for item in _values(path[-1]):
            for room in (MAX_REQUEST_BYTES - len(good) - 40, MAX_REQUEST_BYTES // 2, 60_000, 10_000, 8_000):
                # JSON may need more room than protobuf does.
                body = _encoded(desc, good + _wrapped(path, item, room), codec)
                if len(body) <= MAX_REQUEST_BYTES:
                    yield f"{name} {item!r} {room}", body


def _good(desc: DescMessage) -> bytes:
    if desc is CreateSecretRequest.desc():
        return _create("NAME", 0).to_binary()
    if any(field.name == "secret_id" for field in desc.fields):
        return b"\x0a\x24" + PROJECT.encode() + (b"\x12\x01v" if len(desc.fields) > 1 else b"")
    return b"\x0a\x02\x08\x64"  # a page of 100


def _create(name: str, hosts: int) -> CreateSecretRequest:
    return CreateSecretRequest(
        name=name,
        value="v" * 10_240,
        mount=Oneof("api_only", True),
        scope=SCOPE,
        credential_proxy=Secret.CredentialProxy(target_hosts=[""] * hosts) if hosts else None,
    )


def paths(desc: DescMessage, parents: tuple[DescField, ...] = ()) -> Iterator[tuple[DescField, ...]]:
    """The ways to every field of a message, at any depth."""
    for field in desc.fields:
        yield (*parents, field)
        if isinstance(field.value, MessageValue):
            yield from paths(field.value.message, (*parents, field))


def _values(field: DescField) -> list[str | None]:
    """What is repeated in a field; None is an empty message or item."""
    match field.value:
        case ScalarValue(scalar=ScalarType.STRING):
            return [*TEXTS]
        case ListValue():
            return [None, *TEXTS[:2]]
        case MessageValue():
            return [None]
        case _:
            return []


def _wrapped(path: tuple[DescField, ...], item: str | None, room: int) -> bytes:
    last = path[-1]
    if item is None:
        content = _delimited(last.number, b"") * (room // 2 // len(path))
    elif isinstance(last.value, ListValue):
        content = _delimited(last.number, item.encode() * 40) * (room // 45)
    else:
        content = _delimited(last.number, item.encode() * (room // len(item.encode())))
    for field in reversed(path[:-1]):
        content = _delimited(field.number, content)
    return content


def _delimited(number: int, content: bytes) -> bytes:
    """A length-delimited field of protobuf."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    return bytes([number & 127 | 128]) + _varint(number >> 7) if number > 127 else bytes([number])  # noqa: PLR2004 # 7 bits a byte


def _encoded(desc: DescMessage, body: bytes, codec: str) -> bytes:
    return body if codec == "proto" else desc.type.from_binary(body).to_json().encode()


def opened() -> Embedded:
    """A service whose list is as long as a page can be."""
    service = Embedded("sqlite://")
    for number in range(PAGE):
        body = _create(f"KEPT_{number}", 3_900).to_binary()
        cost = measured(service, Row("CreateSecret", "proto", "identity", "a large secret", body))
        assert cost.status.startswith("200"), cost
    return service


def measured(service: Embedded, row: Row, *, memory: bool = False) -> Cost:
    """Send a request to the service in this process."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": f"/{SERVICE.type_name}/{row.rpc}",
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_TYPE": f"application/{row.codec}",
        "CONTENT_LENGTH": str(len(row.body)),
        "HTTP_CONTENT_ENCODING": row.compression,
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(row.body),
        "wsgi.errors": io.StringIO(),
    }
    started: list[str] = []

    def start(status: str, *_: object) -> None:
        started.append(status)

    before = _peak(reset=True) if memory else 0
    began = time.process_time()
    answer = b"".join(service.wsgi(environ, cast("StartResponse", start)))
    took = (time.process_time() - began) * 1000
    return Cost(row, started[0], took, _peak() - before if memory else 0, answer)


def _peak(*, reset: bool = False) -> int:
    """The most memory of this process since the last reset, in bytes."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    [found] = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="print every request, not the costliest of each kind alone")
    options = parser.parse_args()
    worst: dict[object, Cost] = {}
    with closing(opened()) as service:
        for number, row in enumerate(rows()):
            runs = [measured(service, row, memory=True) for _ in range(3)]
            fastest = min(runs, key=lambda cost: cost.milliseconds)
            cost = fastest._replace(memory=max(run.memory for run in runs))
            kind = number if options.all else (row.rpc, row.codec, row.compression, cost.is_legal)
            worst[kind] = max(worst.get(kind, cost), cost, key=lambda cost: cost.milliseconds)
    heads = "RPC", "codec", "compression", "sent", "status", "CPU ms", "MiB", "answer", "body"
    print("{:17} {:5} {:11} {:>6} {:>6} {:>6} {:>5} {:>7}  {}".format(*heads))
    for cost in worst.values():
        row = cost.row
        figures = f"{cost.status[:3]:>6} {cost.milliseconds:6.1f} {cost.memory / 2**20:5.1f} {len(cost.answer):7}"
        print(f"{row.rpc:17} {row.codec:5} {row.compression:11} {len(row.body):6} {figures}  {row.name}")
    refused = [cost for cost in worst.values() if not cost.is_legal]
    print(f"costliest: {max(cost.milliseconds for cost in worst.values()):.1f} ms of the processor")
    print(f"largest answer to a refused one of these: {max(len(cost.answer) for cost in refused)} bytes")


if __name__ == "__main__":
    main()
