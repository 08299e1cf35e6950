"""Write buf/validate/validate.proto, printed from the descriptor in the installed protovalidate.

buf resolves imports from .proto files, and protovalidate ships its schema only as a descriptor.
Usage: python tools/print_validate_proto.py ROOT
"""

import sys
from itertools import groupby
from pathlib import Path

from protobuf import Registry
from protobuf.txtpb import message_to_text
from protobuf.wkt.google.protobuf.descriptor_pb import DescriptorProto, EnumDescriptorProto, FieldDescriptorProto
from protovalidate import ViolationPb

FILE = ViolationPb.desc().file
REGISTRY = Registry(FILE)
MAX_FIELD, MAX_ENUM = 1 << 29, (1 << 31) - 1


def ranges(spans: list[tuple[int, int]], limit: int) -> str:
    return ", ".join(str(a) if a == b else f"{a} to {'max' if b == limit else b}" for a, b in spans)


def field(f: FieldDescriptorProto, *, in_oneof: bool = False) -> str:
    text = message_to_text(f.options, registry=REGISTRY) if f.options else ""
    options = " ".join(line.strip() for line in text.splitlines())
    if options:
        name, _, value = options.partition(" ")
        if name != "[buf.validate.predefined]":
            raise SystemExit(f"{f.name}: cannot print option {options}")
        options = f" [(predefined) = {value}]"
    label = "" if in_oneof else f"{f.label.name.lower()} "
    return f"{label}{f.type_name or f.type.name.lower()} {f.name} = {f.number}{options};"


def enum(e: EnumDescriptorProto) -> list[str]:
    lines = [f"enum {e.name} {{", *(f"{v.name} = {v.number};" for v in e.value)]
    if e.reserved_range:
        lines.append(f"reserved {ranges([(r.start, r.end) for r in e.reserved_range], MAX_ENUM)};")
    return [*lines, *(f'reserved "{n}";' for n in e.reserved_name), "}"]


def message(m: DescriptorProto) -> list[str]:
    if m.nested_type or m.enum_type or m.extension:
        raise SystemExit(f"{m.name}: cannot print nested declarations")
    lines = [f"message {m.name} {{"]
    for index, fields in groupby(m.field, lambda f: f.oneof_index if f.has_field("oneof_index") else None):
        if index is None:
            lines += map(field, fields)
        else:
            lines += [f"oneof {m.oneof_decl[index].name} {{", *(field(f, in_oneof=True) for f in fields), "}"]
    if m.reserved_range:
        lines.append(f"reserved {ranges([(r.start, r.end - 1) for r in m.reserved_range], MAX_FIELD - 1)};")
    lines += [f'reserved "{n}";' for n in m.reserved_name]
    if m.extension_range:
        lines.append(f"extensions {ranges([(r.start, r.end - 1) for r in m.extension_range], MAX_FIELD - 1)};")
    return [*lines, "}"]


def main(root: Path) -> None:
    proto = FILE.proto
    lines = ['syntax = "proto2";', f"package {proto.package};"]
    lines += [f'import "{name}";' for name in proto.dependency]
    for extension in proto.extension:
        lines += [f"extend {extension.extendee} {{", field(extension), "}"]
    for m in proto.message_type:
        lines += message(m)
    for e in proto.enum_type:
        lines += enum(e)
    path = root / proto.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, ""]))


main(Path(sys.argv[1]))
