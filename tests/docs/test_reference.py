"""The reference of the client has every public name, and each has a docstring."""

import importlib
import inspect
import re
from collections.abc import Iterator

import pytest
from tests.support import pages

import gitpod
from gitpod import errors, pagination, testing, types

CALLS = ["gitpod._secrets.sync.Secrets", "gitpod._secrets.aio.AsyncSecrets"]
MODULES = [gitpod, types, errors, pagination, testing]
TEXT = pages.page("sdk/reference") + pages.text("sdk/reference")
SHOWN = set(re.findall(r"^<!-- ::: ([\w.]+)", TEXT, re.MULTILINE))
"""What the site puts docstrings of: with all that is in it and public."""


def public(module: object) -> list[str]:
    """The public names of a module, of which the client's errors lists none itself."""
    named: list[str] = getattr(module, "__all__", [])
    return named or [name for name, value in vars(module).items() if inspect.isclass(value) and name[0] != "_"]


NAMES = {f"{module.__name__}.{name}": module for module in MODULES for name in public(module)}


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_on_a_page(name: str) -> None:
    """By itself, with its module, or in the text."""
    module, _, last = name.rpartition(".")
    homes = {f"{each.__name__}.{last}" for each in MODULES if last in public(each)}
    assert {name, module, *homes, *(home.rpartition(".")[0] for home in homes)} & SHOWN or f"`{last}`" in TEXT.replace(
        "gitpod.__version__", "__version__"
    )


def objects() -> Iterator[tuple[str, object]]:
    """Each public class and function, and the public methods and properties of these classes."""
    found = {name: getattr(module, name.rpartition(".")[2]) for name, module in NAMES.items()}
    for call in CALLS:
        module, _, name = call.rpartition(".")
        found[call] = getattr(importlib.import_module(module), name)
    for name, value in found.items():
        if inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value):
            yield name, value
        if inspect.isclass(value):
            yield from ((f"{name}.{each}", part) for each, part in members(value))


def members(kind: type) -> Iterator[tuple[str, object]]:
    """The public methods and properties that this package gives a class."""
    for name, value in inspect.getmembers(kind):
        is_ours = str(getattr(value, "__module__", kind.__module__)).partition(".")[0] == "gitpod"
        if name[0] != "_" and is_ours and (inspect.isroutine(value) or isinstance(value, property)):
            yield name, value


@pytest.mark.parametrize(("name", "value"), list(objects()), ids=lambda value: value if isinstance(value, str) else "")
def test_it_has_a_docstring(name: str, value: object) -> None:
    """Of its own or of the class that it comes from."""
    assert inspect.getdoc(value), name


def test_the_calls_are_shown() -> None:
    """Of both clients."""
    assert set(CALLS) <= SHOWN
