"""`SecretValue` gives its text to those who ask for it by name, and to nobody else."""

import copy
import dataclasses
import json
import logging
import pickle
import pprint
from collections.abc import Callable
from string import Formatter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpod import SecretValue

TEXT = "canary-value-7d1f"


SHOW: list[Callable[[Any], str]] = [
    repr,
    str,
    pprint.pformat,
    ascii,
    lambda value: f"{value} {value!r} {value:>20} {value!s:.3}",
    lambda value: "%s %r" % (value, value),  # noqa: UP031 # what logging does
    lambda value: Formatter().vformat("{0}", [value], {}),
    lambda value: repr([value, {"k": value}]),
    lambda value: json.dumps({"value": value}, default=str),
    lambda value: repr(dir(value)),
    lambda value: str(ValueError(value)),
    lambda value: logging.makeLogRecord({"msg": "%s", "args": (value,)}).getMessage(),
]


@pytest.mark.parametrize("show", SHOW)
def test_nothing_shows_it(show: Any) -> None:
    """However it is printed."""
    assert TEXT not in show(SecretValue(TEXT))


TAKE: list[Callable[[Any], object]] = [
    pickle.dumps,
    lambda value: pickle.dumps(value, 0),
    json.dumps,
    lambda value: json.dumps(value, default=vars),
    lambda value: value.__getstate__(),
    bytes,
    lambda value: "" + value,
    lambda value: "".join([value]),
    list,
    SecretValue,
]


@pytest.mark.parametrize("take", TAKE)
def test_nothing_takes_it(take: Any) -> None:
    """Pickling and JSON refuse, and it is no text."""
    with pytest.raises(TypeError) as caught:
        take(SecretValue(TEXT))
    assert TEXT not in str(caught.value)


def test_a_copy_is_the_same(value: SecretValue) -> None:
    """Also within what is copied."""

    @dataclasses.dataclass
    class Holder:
        value: SecretValue

    assert copy.copy(value) is value
    assert copy.deepcopy({"k": [value]})["k"][0] is value
    assert dataclasses.asdict(Holder(value))["value"] is value


@pytest.fixture
def value() -> SecretValue:
    return SecretValue(TEXT)


@given(st.text(st.characters()), st.text())
def test_it_is_what_was_put_in(one: str, other: str) -> None:
    """By each of its names; and equal to its like, never to a string."""
    value = SecretValue(one)
    assert value.reveal() == value.value == value.get_secret_value() == one
    assert (value == SecretValue(other)) == (one == other)
    assert value == SecretValue(one)
    assert hash(value) == hash(SecretValue(one))
    assert value != one


def test_a_lone_surrogate_compares() -> None:
    """Though it has no UTF-8."""
    assert SecretValue("\ud800") == SecretValue("\ud800") != SecretValue("?")


@pytest.mark.parametrize("given_value", [None, b"bytes", 1])
def test_it_is_made_from_a_string(given_value: Any) -> None:
    """And of nothing else."""
    with pytest.raises(TypeError, match="made from a string"):
        SecretValue(given_value)
