"""Write `interop/golden/` anew: the binary of each message, and the rules that each input breaks.

Usage: python tools/golden.py. The name, the type and the JSON of an entry are written by hand. Run it after a change of
`proto/` that is meant to change what goes over the wire, or which rules there are, and look at the difference.
"""

import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import protovalidate
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from protobuf import message_from_json_value

from gitpod.errors import violation
from gitpod_proto.gitpod.v1 import secret_pb

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "interop/golden"
Entry: TypeAlias = dict[str, Any]
"""A vector. `interop/golden/README.md` says what it has."""

POOL = DescriptorPool()
for file in FileDescriptorSet.FromString((ROOT / "gen/gitpod_proto/contract.binpb").read_bytes()).file:
    POOL.Add(file)


def google(type_name: str) -> type[Message]:
    """The class of a message in Google's implementation, made from the descriptors of the contract."""
    return GetMessageClass(POOL.FindMessageTypeByName(type_name))


def ours(type_name: str) -> type[Any]:
    """The class of a message in the implementation that the client and the service use."""
    found: type[Any] = getattr(secret_pb, type_name.removeprefix("gitpod.v1."))
    return found


def message(entry: Entry) -> Entry:
    """A message with its JSON and its binary as Google's implementation writes them."""
    read = ParseDict(entry["json"], google(entry["type"])())
    binary = b64encode(read.SerializeToString(deterministic=True)).decode()
    return entry | {"json": MessageToDict(read), "binary": binary}


def rule(entry: Entry) -> Entry:
    """An input with the rules that it breaks, each after the path of its field."""
    read = message_from_json_value(ours(entry["type"]), entry["json"])
    found = [violation(each.proto) for each in protovalidate.collect_violations(read)]
    return entry | {"violations": sorted(f"{each.field} {each.rule_id}" for each in found)}


FILES: dict[str, Callable[[Entry], Entry]] = {"messages.json": message, "rules.json": rule}
"""The files of vectors, and what makes an entry of each complete."""


def entries(name: str) -> list[Entry]:
    """The vectors of a file."""
    found: list[Entry] = json.loads((FOLDER / name).read_text())
    return found


def written(name: str) -> str:
    """The text of a file as it should be, with an entry on each line."""
    lines = [json.dumps(FILES[name](entry), ensure_ascii=False) for entry in entries(name)]
    return "[\n" + ",\n".join(lines) + "\n]\n"


if __name__ == "__main__":
    for each in FILES:
        (FOLDER / each).write_text(written(each))
