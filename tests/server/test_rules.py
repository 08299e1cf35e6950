"""What the service refuses is what the rules of the contract say, and what docs/languages/rules.md adds to them."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import golden
import protovalidate
import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from protobuf import message_from_json_value
from protovalidate import ViolationsPb
from pyqwest import SyncClient, SyncHTTPTransport
from tests.support.service import ROOT, TOKEN, Service

from gitpod import InvalidRequestError, Violation
from gitpod._messages import requests
from gitpod.errors import violation
from gitpod_proto.gitpod.v1 import secret_pb
from gitpod_proto.gitpod.v1.secret_connect import SecretServiceClientSync

PAGE = (ROOT / "docs/languages/rules.md").read_text()
ROW = re.compile(r"^\| `(\w+Request)` \| (?:`([\w.]+)` )?\| `(\w+)` \| .* \| (yes|no) \|$", re.MULTILINE)
WORDS = {(request, f"{field} {rule_id}"): known == "yes" for request, field, rule_id, known in ROW.findall(PAGE)}
"""The rules that the page adds: the request, the field and the rule, and whether the client checks it."""

UUID = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
LONG: dict[str, Any] = {"name": "LONG", "value": "v", "projectId": UUID, "filePath": "/" + "x" * 8192}
REQUESTS = [
    *((entry["type"], entry["json"]) for entry in golden.entries("rules.json") if entry["type"].endswith("Request")),
    ("gitpod.v1.CreateSecretRequest", LONG),
]


@pytest.fixture
def stub(service: Service) -> Iterator[SecretServiceClientSync]:
    """The generated stub alone, which checks nothing before it sends."""
    with SyncHTTPTransport() as transport:
        yield SecretServiceClientSync(service.url, http_client=SyncClient(transport), timeout_ms=10_000)


def sent(stub: SecretServiceClientSync, message: Any) -> list[str]:
    """The rules that the service says a request breaks. An answer, too, keeps the rules."""
    name = type(message).__name__.removesuffix("Request")
    call = getattr(stub, re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower())
    try:
        answer = call(message, headers={"authorization": f"Bearer {TOKEN}"})
    except ConnectError as error:
        if error.code in (Code.ALREADY_EXISTS, Code.NOT_FOUND):
            return []
        if error.code is not Code.INVALID_ARGUMENT:
            raise
        found = error.details[0].value(ViolationsPb) or ViolationsPb()
        return [f"{each.field} {each.rule_id}" for each in map(violation, found.violations)]
    assert protovalidate.collect_violations(answer) == []
    return []


def broken(message: Any) -> list[Violation]:
    """The rules of the contract that a request breaks."""
    return [violation(each.proto) for each in protovalidate.collect_violations(message)]


BUILDERS: dict[type[Any], Callable[[dict[str, Any]], object]] = {
    secret_pb.CreateSecretRequest: requests.create_request,
    secret_pb.ListSecretsRequest: requests.list_request,
}
"""What builds a request from parameters, where that takes more than its fields."""


def is_sent(kind: type[Any], message: Any) -> bool:
    """Whether the client sends a request with these fields."""
    build: Any = BUILDERS.get(kind) or partial(requests.request, kind)
    try:
        build(params(message))
    except InvalidRequestError:
        return False
    return True


def params(message: Any) -> dict[str, Any]:
    """The fields that are set, as parameters; a create has a value."""
    found: dict[str, Any] = {"value": ""} if isinstance(message, secret_pb.CreateSecretRequest) else {}
    for field in message.desc().fields:
        value = message[field]
        if value not in (None, "", []):
            found[field.name] = params(value) if hasattr(value, "desc") else value
    return found


def test_the_service_refuses_what_the_page_says() -> None:
    """Each row of the page is read."""
    assert len(WORDS) == 5


def test_the_service_refuses_by_the_rules_and_the_page_alone(stub: SecretServiceClientSync) -> None:
    """The client sends what keeps the rules, but for the rows of the page that it knows."""
    met: set[tuple[str, str]] = set()
    for kind, given in REQUESTS:
        message = message_from_json_value(golden.ours(kind), given)
        rules = {f"{each.field} {each.rule_id}" for each in broken(message)}
        refused = sent(stub, message)
        assert len(refused) == len(set(refused)), f"{given}: is said twice"
        if rules:
            # The items of a list that is too long are not looked at.
            assert set(refused) <= rules, given
            assert refused, given
            continue
        found = {(type(message).__name__, each) for each in refused}
        assert found <= set(WORDS), given
        met |= found
        assert is_sent(golden.ours(kind), message) == (not any(WORDS[each] for each in found)), given
    assert met == set(WORDS)
