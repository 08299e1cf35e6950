"""The modules of `src/` import each other in one direction, as `docs/design/index.md` says; no file is long."""

import re
from pathlib import Path

import pytest
from tests.support.imports import circles, imports, loaders, wrong_way
from tests.support.service import ROOT

SOURCE = ROOT / "src"
MOST_LINES = 300


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small source tree in which every import is allowed."""
    files = {
        "__init__": "if TYPE_CHECKING:\n    from gitpod._client import Gitpod",
        "errors": "from gitpod_proto import secret_pb",
        "_client": "import gitpod.errors",
        "_transport/__init__": "",
        "_transport/connections": "def embed():\n    from gitpod.server import app",
        "_transport/pool": "from gitpod import errors",
        "cli/__init__": "from gitpod import _client",
        "server/__init__": "",
        "server/app": "from gitpod.server import log",
        "server/log": "import logging",
    }
    for name, text in files.items():
        path = tmp_path / "gitpod" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_no_import_points_up() -> None:
    """Imports inside functions and for type checkers count too."""
    found = wrong_way(imports(SOURCE))
    assert not found, "\n".join(found)


def test_the_table_has_every_import() -> None:
    """Those between rooms above the leaves, and no others."""
    rooms = {"cli", "testing", "client", "secrets", "rpc", "messages", "transport", "server"}
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", (ROOT / "docs/design/index.md").read_text(), flags=re.MULTILINE)
    said = {(source, target) for source, targets in rows for target in re.findall(r"`(\w+)`", targets)}
    run = [(room(each.source), room(each.target)) for each in imports(SOURCE) if not each.is_for_types]
    assert {pair for pair in run if rooms.issuperset(pair) and pair[0] != pair[1]} == {
        pair for pair in said if rooms.issuperset(pair)
    }


def room(module: str) -> str:
    """The name that the table has for a module: its folder; the package itself stands for the client."""
    return (module.partition(".")[2].partition(".")[0] or "client").removeprefix("_")


def test_no_imports_make_a_circle() -> None:
    """Imports inside functions count too."""
    found = circles(imports(SOURCE))
    assert not found, "\n".join(found)


def test_one_module_of_the_sdk_loads_the_service() -> None:
    """It is the one that embeds a store."""
    assert loaders(imports(SOURCE)) == {"gitpod._transport.connections"}


def test_no_source_file_is_long() -> None:
    """A reader can hold a file of 300 lines in mind."""
    folders = ("src", "tests", "tools", "bench", "examples", "interop/conformance")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert [str(path) for path in files if len(path.read_text().splitlines()) > MOST_LINES] == []


def test_a_tree_in_order_passes(tree: Path) -> None:
    """The walk finds imports of every form, and objects to none of them."""
    found = imports(tree)
    assert len(found) == 6
    assert wrong_way(found) == circles(found) == []
    assert loaders(found) == {"gitpod._transport.connections"}


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("errors", "import gitpod._client", "it points up"),
        ("errors", "def f():\n    from gitpod._client import Gitpod", "it points up"),
        ("errors", "if TYPE_CHECKING:\n    from gitpod._client import Gitpod", "it points up"),
        ("errors", "from gitpod import Gitpod", "it points up"),
        ("_transport/pool", "try:\n    from gitpod._client import Gitpod\nfinally: ...", "it points up"),
        ("_transport/pool", "from gitpod import _client", "it points up"),
        ("testing", "from gitpod.cli import main", "users alone"),
        ("server/log", "from gitpod.errors import GitpodError", "the service imports nothing"),
        ("server/log", "from gitpod import __version__", "the service imports nothing"),
        ("_transport/pool", "from gitpod.server import app", "inside a function"),
        ("_client", "def f():\n    import gitpod.server.app", "only cli and _transport"),
    ],
)
def test_a_wrong_import_is_named(tree: Path, name: str, text: str, reason: str) -> None:
    """The message has the module, the line and the reason."""
    (tree / f"gitpod/{name}.py").write_text(text)
    [message] = wrong_way(imports(tree))
    assert message.startswith(f"gitpod.{name.replace('/', '.')}:")
    assert reason in message


@pytest.mark.parametrize(
    ("name", "text", "pairs"),
    [
        (
            "errors",
            "def f():\n    import gitpod._client",
            ["gitpod._client -> gitpod.errors", "gitpod.errors -> gitpod._client"],
        ),
        (
            "server/log",
            "class A:\n    from gitpod.server.app import B",
            ["gitpod.server.app -> gitpod.server.log", "gitpod.server.log -> gitpod.server.app"],
        ),
        ("errors", "if TYPE_CHECKING:\n    import gitpod._client\nelse:\n    import json", []),
        ("errors", "if not TYPE_CHECKING:\n    import gitpod._client", ["gitpod._client -> gitpod.errors"]),
    ],
)
def test_a_circle_is_named(tree: Path, name: str, text: str, pairs: list[str]) -> None:
    """Each pair of modules on it; imports that never run do not close one."""
    (tree / f"gitpod/{name}.py").write_text(text)
    assert circles(imports(tree))[: len(pairs) or None] == pairs


def test_a_circle_of_rooms_is_named(tree: Path) -> None:
    """Two folders that import each other are one, although no two of their modules are."""
    for name, text in {
        "storage/rows": "",
        "storage/store": "from gitpod.server.keys import key",
        "keys/key": "",
    }.items():
        path = tree / f"gitpod/server/{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert circles(imports(tree)) == []
    (tree / "gitpod/server/keys/ring.py").write_text("from gitpod.server.storage import rows")
    assert circles(imports(tree)) == [
        "gitpod.server.keys -> gitpod.server.storage",
        "gitpod.server.storage -> gitpod.server.keys",
    ]
