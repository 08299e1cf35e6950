"""The messages and stubs of the conformance suite, and how the suite's programs read and write messages.

`tools/conformance.py` generates them into build/. They are `Any` here, as they do not exist when types are checked.
"""

import struct
from importlib import import_module
from typing import Any, BinaryIO

_FOLDER = "conformance_proto.connectrpc.conformance.v1"

client_compat: Any = import_module(f"{_FOLDER}.client_compat_pb")
server_compat: Any = import_module(f"{_FOLDER}.server_compat_pb")
config: Any = import_module(f"{_FOLDER}.config_pb")
service: Any = import_module(f"{_FOLDER}.service_pb")
connect: Any = import_module(f"{_FOLDER}.service_connect")

LENGTH = struct.Struct(">I")


def read_message(source: BinaryIO, kind: Any) -> Any:  # noqa: ANN401 # a message class, and a message
    """Return the next message, or None at the end."""
    length = source.read(LENGTH.size)
    return kind.from_binary(source.read(*LENGTH.unpack(length))) if length else None


def write_message(target: BinaryIO, message: Any) -> None:  # noqa: ANN401 # a message
    """Write a message, and pass it on at once."""
    data = message.to_binary()
    target.write(LENGTH.pack(len(data)) + data)
    target.flush()


def header(name: str, values: list[str]) -> Any:  # noqa: ANN401 # a message
    """Return a header as the suite has it: a name with all its values."""
    return service.Header(name=name, value=values)
