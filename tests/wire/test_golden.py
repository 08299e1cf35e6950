"""`interop/golden/`: the vectors that every language is tried with, here with both implementations that Python has."""

import json
import re
import shutil
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import golden
import pytest
from google.protobuf.json_format import MessageToJson, Parse
from interop import printed
from languages import LANGUAGES
from protobuf import DescField, DescMessage, DescOneof, Message
from protovalidate._gen.buf.validate import validate_pb  # the private path that the generated code imports too
from tests.support.other_servers import made

from gitpod._messages.descriptors import kind_of
from gitpod_proto.gitpod.v1 import secret_pb

MESSAGES = golden.entries("messages.json")
RULES = golden.entries("rules.json")
[SERVICE] = secret_pb.desc().services
TYPES = {message.type_name: message for rpc in SERVICE.methods for message in (rpc.input, rpc.output)}
EXTENSIONS = {validate_pb.ext_field, validate_pb.ext_oneof}


class Ours:
    """protobuf-py, which the client and the service use."""

    def from_binary(self, kind: str, data: bytes) -> Any:
        return golden.ours(kind).from_binary(data)

    def to_binary(self, message: Any) -> Any:
        return message.to_binary()

    def from_json(self, kind: str, text: str) -> Any:
        return golden.ours(kind).from_json(text)

    def to_json(self, message: Any) -> Any:
        return message.to_json()


class Google:
    """The package protobuf, with classes made from the descriptors of the contract."""

    def from_binary(self, kind: str, data: bytes) -> Any:
        return golden.google(kind).FromString(data)

    def to_binary(self, message: Any) -> Any:
        return message.SerializeToString()

    def from_json(self, kind: str, text: str) -> Any:
        return Parse(text, golden.google(kind)())

    def to_json(self, message: Any) -> Any:
        return MessageToJson(message)


@pytest.fixture(params=[Ours, Google])
def python(request: pytest.FixtureRequest) -> Ours | Google:
    """An implementation of protobuf."""
    made: Ours | Google = request.param()
    return made


@pytest.mark.parametrize("name", golden.FILES)
def test_the_vectors_are_those_of_the_contract(name: str) -> None:
    """A change of proto/ that changes one is seen here, until `make golden` writes it on purpose."""
    assert (golden.FOLDER / name).read_text() == golden.written(name), "run make golden, and look at what it changes"


@pytest.mark.parametrize("entry", MESSAGES, ids=lambda entry: entry["name"])
def test_a_message_is_the_same_in_both_encodings(entry: golden.Entry, python: Ours | Google) -> None:
    """As the README of the folder has it."""
    kind = entry["type"]
    for text in [entry["binary"], *entry.get("other_binary", [])]:
        assert json.loads(python.to_json(python.from_binary(kind, b64decode(text)))) == entry["json"]
    binary = python.to_binary(python.from_binary(kind, b64decode(entry["binary"])))
    for form in [entry["json"], *entry.get("other_json", [])]:
        assert python.to_binary(python.from_json(kind, json.dumps(form))) == binary


@pytest.mark.parametrize("entries", [MESSAGES, RULES], ids=golden.FILES)
def test_each_vector_has_a_name_of_its_own(entries: list[golden.Entry]) -> None:
    """Each request and response of an RPC has one; nothing else has."""
    assert len({entry["name"] for entry in entries}) == len(entries)
    assert {entry["type"] for entry in entries} == set(TYPES)


def fields(message: DescMessage, path: str = "") -> Iterator[tuple[str, DescField | DescOneof]]:
    """The fields and oneofs that a message leads to, with their paths."""
    yield from ((f"{path}{oneof.name}", oneof) for oneof in message.oneofs)
    for field in message.fields:
        yield f"{path}{field.name}", field
        kind = kind_of(field)
        if isinstance(kind, DescMessage) and kind.type_name.startswith("gitpod."):
            yield from fields(kind, f"{path}{field.name}.")


def given(message: Message, path: str = "") -> Iterator[str]:
    """The paths of the fields that are set."""
    for field in message.desc().fields:
        value: object = message[field]
        if value:
            yield f"{path}{field.name}"
        for item in cast("list[object]", value) if isinstance(value, list) else [value]:
            if isinstance(item, Message):
                yield from given(item, f"{path}{field.name}.")  # pyright: ignore[reportUnknownArgumentType] # of any message


@pytest.mark.parametrize("kind", TYPES)
def test_every_field_is_set_somewhere(kind: str) -> None:
    """A new field needs a message that has it."""
    found = [golden.ours(kind).from_binary(b64decode(entry["binary"])) for entry in MESSAGES if entry["type"] == kind]
    every = {path for path, field in fields(TYPES[kind]) if isinstance(field, DescField)}
    assert every - {path for each in found for path in given(each)} == set()


@pytest.mark.parametrize("kind", TYPES)
def test_every_rule_is_broken_somewhere(kind: str) -> None:
    """And kept elsewhere. A field that gets rules needs such inputs."""
    ruled = {path for path, each in fields(TYPES[kind]) if each.proto.options and EXTENSIONS & set(each.proto.options)}
    inputs = [entry for entry in RULES if entry["type"] == kind]
    broken = {re.sub(r"\[\d+\]", "", each.split()[0]) for entry in inputs for each in entry["violations"]}
    assert ruled - broken == set()
    assert any(not entry["violations"] for entry in inputs)


CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("messages.json", {"type": "gitpod.v1.Unknown"}),
    ("messages.json", {"json": {"secretId": "another"}}),
    ("messages.json", {"binary": "CgF4"}),
    ("messages.json", {"other_json": [{"secretId": "another"}]}),
    ("messages.json", {"other_binary": ["CgF4"]}),
    ("rules.json", {"violations": []}),
    ("rules.json", {"violations": ["secret_id string.uuid", "secret_id string.uuid_empty"]}),
    ("rules.json", {"json": {"secretId": "not-a-uuid"}}),
]
"""What a vector of GetSecretValueRequest is changed to, one part each time."""


CHECKED = {"messages.json": "golden messages", "rules.json": "golden rules"}


@pytest.mark.slow
@pytest.mark.parametrize("language", [name for name in LANGUAGES if LANGUAGES[name].golden])
def test_a_language_finds_vectors_that_differ(language: str, tmp_path: Path) -> None:
    """Its program passes nothing that it has not compared."""
    made(language)
    for file, change in CHANGES:
        shutil.copytree(golden.FOLDER, tmp_path, dirs_exist_ok=True)
        kind = "gitpod.v1.GetSecretValueRequest"
        entry = next(e for e in golden.entries(file) if e["type"] == kind and e.get("violations") != [])
        (tmp_path / file).write_text(json.dumps([entry | change]))
        lines = list(printed(language, [*LANGUAGES[language].golden, str(tmp_path)]))
        assert {line.protocol for line in lines} == set(CHECKED.values())
        for line in lines:
            assert (line.result == "ok") == (line.protocol != CHECKED[file]), change
