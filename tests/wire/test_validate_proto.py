"""`proto-imports/` has rules as protovalidate defines them: a program that compiles it reads them as all others do."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from protovalidate import ViolationPb
from tests.support.programs import run
from tests.support.service import ROOT

FILE = Path("buf/validate/validate.proto")
INSTALLED = FileDescriptorProto.FromString(ViolationPb.desc().file.proto.to_binary())


def described(root: Path) -> FileDescriptorProto:
    """The descriptor of the file below a folder."""
    out = root / "out.binpb"
    run("buf", "build", str(root), "--as-file-descriptor-set", "--exclude-imports", "-o", str(out))
    [file] = FileDescriptorSet.FromString(out.read_bytes()).file
    return file


def field(each: FieldDescriptorProto, oneof: str = "") -> str:
    """All that a program needs to know to read a field."""
    label, kind = FieldDescriptorProto.Label.Name(each.label), FieldDescriptorProto.Type.Name(each.type)
    of = f"{each.extendee} " if each.extendee else ""
    return f"{of}{label} {kind} {each.type_name} {each.name} = {each.number} in {oneof or 'no oneof'}"


def message(each: DescriptorProto) -> Iterator[str]:
    """A message's fields and extension ranges. It has no messages of its own."""
    assert not each.nested_type
    yield each.name
    for part in each.field:
        oneof = each.oneof_decl[part.oneof_index].name if part.HasField("oneof_index") else ""
        yield f"{each.name}: {field(part, oneof)}"
    for span in each.extension_range:
        yield f"{each.name}: extensions {span.start} to {span.end}"


def facts(file: FileDescriptorProto) -> set[str]:
    """What a file says, a line for each thing."""
    found = {f"syntax {file.syntax}", f"package {file.package}", f"go_package {file.options.go_package}"}
    found |= {field(each) for each in file.extension}
    found |= {line for each in file.message_type for line in message(each)}
    return found | {f"{each.name}: {value.name} = {value.number}" for each in file.enum_type for value in each.value}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the folder, to be changed."""
    shutil.copytree(ROOT / "proto-imports", tmp_path / "copy")
    return tmp_path / "copy"


def test_it_says_nothing_that_protovalidate_does_not_say(copy: Path) -> None:
    """Names, numbers, types, labels, oneofs, extensions and their ranges."""
    ours = facts(described(copy))
    assert len(ours) > 40
    assert ours - facts(INSTALLED) == set()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("FieldRules field = 1159", "FieldRules field = 1160"),
        ("extend google.protobuf.FieldOptions", "extend google.protobuf.EnumOptions"),
        ("optional uint64 min_len = 2", "optional uint64 min_len = 4"),
        ("optional uint64 max_len = 3", "optional uint32 max_len = 3"),
        ("repeated Rule cel = 23", "optional Rule cel = 23"),
        ("bool uri = 17;", "bool url = 17;"),
        ("oneof well_known {", "oneof form {"),
        ("IGNORE_ALWAYS = 3", "IGNORE_ALWAYS = 2"),
        ("message EnumRules {", "message EnumRules {\n  extensions 100 to 200;"),
        ('syntax = "proto2";', 'edition = "2023";'),
    ],
)
def test_a_difference_is_found(copy: Path, before: str, after: str) -> None:
    """Of each kind that changes what is read."""
    text = (copy / FILE).read_text()
    assert before in text
    text = text.replace(before, after)
    (copy / FILE).write_text(text.replace("optional ", "") if "edition" in after else text)
    assert facts(described(copy)) - facts(INSTALLED)
