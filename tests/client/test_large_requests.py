"""A request with 200,000 wrong things is refused in a short error, and soon: before anything is sent."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from gitpod._messages import requests
from gitpod.errors import InvalidRequestError

MANY = 200_000
UUID = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
GOOD: dict[str, Any] = {"name": "NAME", "value": "v", "project_id": UUID, "api_only": True}
MOST_SECONDS = 5
"""Of the processor. Noting each of 200,000 violations takes longer, on any machine."""
LONGEST = 8_000


def many(value: object = 1) -> dict[str, Any]:
    """A mapping with 200,000 keys that no message has."""
    return {f"key_{number}": value for number in range(MANY)}


Make = Callable[[], dict[str, Any]]
LISTS: dict[str, tuple[Make, str]] = {
    "empty ids": (lambda: {"filter": {"project_ids": [""] * MANY}}, "no more than 25 item(s), and has 200,000"),
    "ids": (lambda: {"filter": {"project_ids": (UUID,) * MANY}}, "no more than 25 item(s), and has 200,000"),
    "numbers": (lambda: {"filter": {"project_ids": range(65_000)}}, "no more than 25 item(s), and has 65,000"),
    "unknown keywords": (many, "and 199,980 more"),
    "unknown keys": (lambda: {"filter": many()}, "and 199,980 more"),
    "nested ones": (lambda: {"filter": {"scope": many({"a": {}})}}, "and 199,980 more"),
    "everywhere": (lambda: {**many(), "filter": {**many(), "scope": many(), "project_ids": [1] * 30}}, "599,98"),
}
CREATES: dict[str, tuple[Make, str]] = {
    "numbers": (lambda: {"credential_proxy": {"target_hosts": [1] * MANY}}, "and 199,980 more"),
    "some numbers": (lambda: {"credential_proxy": {"target_hosts": ["h", 1] * 100_000}}, "and 99,980 more"),
    "surrogates": (lambda: {"credential_proxy": {"target_hosts": ["\ud800"] * 30}}, "and 10 more"),
    "unknown keys": (lambda: {"source": {"oidc_jfrog": many()}}, "and 199,983 more"),
    "a long key": (lambda: {"k" * MANY: 1}, "?: is not a parameter"),
    "a long name": (lambda: {"name": "x" * MANY}, "name: must be at most 127 characters"),
    "a long value": (lambda: {"value": "x" * MANY}, "value: must be at most 10240 characters"),
    "a long path": (lambda: {"api_only": False, "file_path": "/" * MANY}, "file_path: value must be an absolute"),
}


def check(build: Callable[[dict[str, Any]], object], given: dict[str, Any], says: str) -> InvalidRequestError:
    """The error is short, comes soon, and says this."""
    began = time.process_time()
    with pytest.raises(InvalidRequestError) as caught:
        build(given)
    assert time.process_time() - began < MOST_SECONDS
    assert says in str(caught.value)
    assert len(str(caught.value)) < LONGEST
    assert len(caught.value.violations) <= 20
    return caught.value


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_refused_in_short(name: str) -> None:
    """Whatever there is too much of."""
    make, says = LISTS[name]
    check(requests.list_request, make(), says)


@pytest.mark.parametrize("name", CREATES)
@pytest.mark.parametrize("build", [requests.create_request, requests.put_request])
def test_a_create_is_refused_in_short(build: Callable[[dict[str, Any]], object], name: str) -> None:
    """And a put."""
    make, says = CREATES[name]
    check(build, {**GOOD, **make()}, says)


def test_too_many_items_are_one_violation() -> None:
    """It names the rule, and other violations stand beside it."""
    error = check(requests.list_request, {"filter": {"project_ids": [""] * 26}, "page_size": 101}, "2 problems")
    assert [(each.field, each.rule_id) for each in error.violations] == [
        ("filter.project_ids", "repeated.max_items"),
        ("pagination.page_size", "int32.gte_lte"),
    ]


def test_twenty_problems_are_listed_and_the_rest_is_counted() -> None:
    """Each on a line, the count of all in the first."""
    error = check(requests.list_request, {f"key_{number}": 1 for number in range(22)}, "22 problems")
    first, *lines, last = str(error).splitlines()
    assert first == "invalid request: 22 problems"
    assert [line.split(":")[0].strip() for line in lines] == [f"key_{number}" for number in range(20)]
    assert last == "  and 2 more"


@pytest.mark.parametrize("count", [1, 19, 20])
def test_up_to_twenty_problems_are_all_listed(count: int) -> None:
    """Without a line that counts."""
    error = check(requests.list_request, {f"key_{number}": 1 for number in range(count)}, "is not a parameter")
    assert len(error.violations) == count
    assert " more" not in str(error)
