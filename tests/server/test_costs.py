"""No request costs much: neither the time of a processor, nor an answer out of proportion (`tools/costs.py`)."""

from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from typing import Any

import costs
import pytest
from connectrpc.errors import ConnectError
from costs import Cost, Row
from protovalidate import ViolationsPb
from protovalidate._gen.buf.validate import validate_pb  # the private path that the generated code imports too

from gitpod.server import rules
from gitpod.server.app import Embedded
from gitpod_proto.gitpod.v1 import secret_pb
from gitpod_proto.gitpod.v1.pagination_pb import PaginationRequest

MOST_MILLISECONDS = 500
MOST_BYTES = 64 * 1024
UUID = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"


@pytest.fixture(scope="module")
def service() -> Iterator[Embedded]:
    """A service in this process."""
    with closing(costs.opened()) as opened:
        yield opened


def cost_of(service: Embedded, row: Row) -> Cost:
    """What a request costs at least, in three runs if the first is near the bound."""
    runs = [costs.measured(service, row)]
    while runs[0].milliseconds > MOST_MILLISECONDS / 2 and len(runs) < 3:
        runs.append(costs.measured(service, row))
    return min(runs, key=lambda cost: cost.milliseconds)


@pytest.mark.parametrize("rpc", [method.name for method in costs.SERVICE.methods])
@pytest.mark.parametrize("compression", ["identity", "gzip", "zstd"])
def test_no_request_costs_much(service: Embedded, rpc: str, compression: str) -> None:
    """Whatever fills its 128 KiB, in either codec, and however few bytes it takes compressed."""
    asked = 0
    of_this = (row for row in costs.rows() if (row.rpc, row.compression) == (rpc, compression))
    for _, same in groupby(of_this, key=lambda row: row.name.rpartition(" ")[0] or row.name):
        # Compressed, the largest of each kind is enough: the body is the same once it is decompressed.
        for row in [*same][: None if compression == "identity" else 1]:
            cost = cost_of(service, row)
            assert cost.milliseconds < MOST_MILLISECONDS, row[:4]
            assert cost.is_legal or len(cost.answer) <= MOST_BYTES, row[:4]
            asked += 1
    assert asked > 20


def refused(project_ids: list[str], **more: Any) -> tuple[str, list[str]]:
    """The text of the error to a list with these projects, and the rules of its details."""
    listed = secret_pb.ListSecretsRequest.Filter(project_ids=project_ids)  # pyright: ignore[reportDeprecated]
    with pytest.raises(ConnectError) as caught:
        rules.check(secret_pb.ListSecretsRequest(filter=listed, **more))
    [detail] = caught.value.details
    violations = detail.value()
    assert isinstance(violations, ViolationsPb)
    return caught.value.message, [each.rule_id for each in violations.violations]


@pytest.mark.parametrize("item", ["", UUID, "x" * 10])
@pytest.mark.parametrize("count", [26, 65_000])
def test_a_list_that_is_too_long_breaks_one_rule(item: str, count: int) -> None:
    """Its items are not looked at, valid or not. What else is wrong is said."""
    text, broken = refused([item] * count)
    assert text == f"filter.project_ids: must contain no more than 25 item(s), and has {count:,}"
    assert broken == ["repeated.max_items"]
    _, broken = refused([item] * count, pagination=PaginationRequest(page_size=-1))
    assert sorted(broken) == ["int32.gte_lte", "repeated.max_items"]


def test_an_error_lists_twenty_violations_and_counts_the_rest() -> None:
    """In the text; the details hold no more."""
    text, broken = refused(["x"] * 25)
    assert text == "; ".join([*["filter.project_ids: must be a valid UUID"] * 20, "and 5 more"])
    assert broken == ["string.uuid"] * 20


def test_what_is_wrong_with_the_whole_request_is_said_of_it() -> None:
    """An error without a field names the request."""
    assert rules.violation("max_bytes", "is too large").message == "request: is too large"


def test_every_rule_for_items_has_a_bound_of_their_number() -> None:
    """A repeated field without one, whose items are checked, would bring the cost back."""
    seen: set[str] = set()
    for method in costs.SERVICE.methods:
        for field in (path[-1] for path in costs.paths(method.input)):
            options = field.proto.options
            kind = options[validate_pb.ext_field].type if options and validate_pb.ext_field in options else None
            if kind and isinstance(kind.value, validate_pb.RepeatedRules):
                seen.add(field.name)
                assert (rules.max_items(field) or 1000) <= 100, field
    assert seen == {"project_ids"}
