"""The create that every client sends, and the answer. Needs the standard library alone."""

from typing import Any

TOKEN = "t0ken-of-the-bench"  # noqa: S105 # no service checks it
ID = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
PARAMS: dict[str, Any] = {"name": "DATABASE_URL", "value": "v" * 64, "project_id": ID, "environment_variable": True}
PATH = "/gitpod.v1.SecretService/CreateSecret"
HEADERS = {
    "authorization": f"Bearer {TOKEN}",
    "content-type": "application/proto",
    "connect-protocol-version": "1",
}


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    found = bytearray()
    while number > 127:  # noqa: PLR2004 # seven bits a byte
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def field(number: int, value: str | bytes | int) -> bytes:
    """A field of protobuf: text, bytes or a message, or a number."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


BODY = field(1, PARAMS["name"]) + field(2, ID) + field(3, PARAMS["value"]) + field(8, 1)
"""The request in binary, for those that make no message."""

_TIME = field(1, 1_790_000_000) + field(2, 123_456_000)
ANSWER = field(
    1,
    b"".join(
        [
            field(1, ID) + field(2, PARAMS["name"]) + field(3, ID) + field(4, _TIME) + field(5, _TIME),
            field(6, field(1, ID) + field(2, 2)) + field(8, 1) + field(10, field(1, ID)),
        ]
    ),
)
"""The answer of the service in binary."""

_SHOWN_TIME = "2026-09-21T14:13:20.123456Z"
ANSWER_JSON: dict[str, Any] = {
    "secret": {
        "id": ID,
        "name": PARAMS["name"],
        "projectId": ID,
        "createdAt": _SHOWN_TIME,
        "updatedAt": _SHOWN_TIME,
        "creator": {"id": ID, "principal": "PRINCIPAL_USER"},
        "environmentVariable": True,
        "scope": {"projectId": ID},
    }
}
