"""What `pyproject.toml` declares: all that is imported, within bounds that `make lowest` can install."""

import ast
import sys
from importlib.metadata import packages_distributions

import pytest
from lowest import PROJECT, SUPPORTED, lowest, pythons
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.support.service import ROOT

from gitpod._extras import EXTRA_OF

DECLARED = [
    Requirement(each) for part in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()) for each in part
]
EXACT = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
USERS_OWN = {"pytest"}
"""What only those import who have it: users of `gitpod.testing`."""


def imported() -> set[str]:
    """The top of each module that the package and its stubs import."""
    found: set[str] = set()
    for path in [*(ROOT / "src").rglob("*.py"), *(ROOT / "gen").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {each.name.partition(".")[0] for each in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(str(node.module).partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"gitpod", "gitpod_proto"}


def declares(requirements: list[Requirement], module: str) -> bool:
    """Whether one of the requirements is a distribution that has the module."""
    # The distribution that is declared has no module of its own, and needs the two that have it.
    by = {**packages_distributions(), "protobuf": ["protobuf-py"]}
    having = {canonicalize_name(name) for name in by.get(module, [])}
    return any(canonicalize_name(each.name) in having for each in requirements)


def test_what_is_imported_is_declared() -> None:
    """Not only what another library happens to bring."""
    assert {each for each in imported() if not declares(DECLARED, each)} == USERS_OWN


@pytest.mark.parametrize("each", DECLARED, ids=str)
def test_a_dependency_has_one_lowest_version(each: Requirement) -> None:
    """The one that `make lowest` installs. The version of development lies within the bounds."""
    [bound] = [bound.version for bound in each.specifier if bound.operator == ">="]
    assert any(pin.partition(" ;")[0] == f"{each.name}=={bound}" for pin in lowest())
    [exact] = [found for found in EXACT if canonicalize_name(found.name) == canonicalize_name(each.name)]
    [version] = [pin.version for pin in exact.specifier]
    assert each.specifier.contains(version)


def test_the_service_has_what_its_command_needs() -> None:
    """The extra `server` holds all of `cli`."""
    extras = PROJECT["optional-dependencies"]
    assert set(extras["cli"]) <= set(extras["server"])


def test_a_missing_module_has_an_extra() -> None:
    """The one that declares its distribution, for each that the package imports and may not have."""
    always = [Requirement(each) for each in PROJECT["dependencies"]]
    assert EXTRA_OF.keys() == {each for each in imported() if not declares(always, each)} - USERS_OWN
    extras = {extra: [Requirement(each) for each in needs] for extra, needs in PROJECT["optional-dependencies"].items()}
    assert [each for each, extra in EXTRA_OF.items() if not declares(extras[extra], each)] == []


def test_a_python_is_found() -> None:
    """The one that runs this, or another of its version."""
    version = f"3.{sys.version_info.minor}"
    assert version in SUPPORTED
    assert version in pythons()
