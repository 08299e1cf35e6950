"""The imports of a source tree: which module imports which, and which of these break the layers of the SDK."""

import ast
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

LAYERS = (
    ("cli", "testing"),
    ("",),
    ("_client",),
    ("_secrets",),
    ("_messages", "_rpc"),
    ("_transport",),
    ("_options", "_endpoint", "pagination"),
    ("errors",),
    ("types", "_secret_value", "_version", "_extras"),
)
"""The first names below `gitpod`, from top to bottom; "" is `gitpod/__init__.py`.

A module imports from its own layer and from those below. `server` is no layer: it imports itself and `SHARED`.
"""

SHARED = ("_extras",)
"""The first names of what the service may import too."""

LOADERS = ("cli", "_transport")
"""The first names of the modules that may import `server`."""


class Import(NamedTuple):
    """One import statement; `source` and `target` are dotted names of modules."""

    source: str
    target: str
    line: int
    is_lazy: bool
    """Whether it stands in a function."""
    is_for_types: bool
    """Whether it stands below `if TYPE_CHECKING`, and so never runs."""

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


def imports(folder: Path) -> list[Import]:
    """Every import between the modules of a package, which lies in this folder."""
    trees = {_module(path.relative_to(folder)): ast.parse(path.read_text()) for path in folder.rglob("*.py")}
    return [found for module, tree in trees.items() for found in _Walk(module, trees.keys()).of(tree)]


def wrong_way(found: Iterable[Import]) -> list[str]:
    """Each import that points up or sideways, or into or out of the service, with the reason."""
    return [f"{each}: {reason}" for each in found if (reason := _objection(each))]


def circles(found: Iterable[Import]) -> list[str]:
    """Each pair `a -> b` of modules, or of rooms, for which imports lead from `b` back to `a`.

    A room is a folder of modules, or a module outside of them. Imports for type checkers alone do not count.
    """
    run = [each for each in found if not each.is_for_types]
    of_modules = _on_a_circle((each.source, each.target) for each in run)
    return of_modules or _on_a_circle((_room(each.source), _room(each.target)) for each in run)


def loaders(found: Iterable[Import]) -> set[str]:
    """The modules of the SDK that import the service when they run."""
    run = [each for each in found if not each.is_for_types and _first(each.target) == "server"]
    return {each.source for each in run if _first(each.source) not in ("server", "cli")}


class _Walk:
    """The imports of one module, which may import any of `modules`."""

    def __init__(self, module: str, modules: Collection[str]) -> None:
        self._module = module
        self._modules = modules

    def of(self, node: ast.AST, *, is_lazy: bool = False, is_for_types: bool = False) -> Iterator[Import]:
        """The imports in a node of the syntax tree."""
        if isinstance(node, ast.Import | ast.ImportFrom):
            for target in self._targets(node):
                yield Import(self._module, target, node.lineno, is_lazy, is_for_types)
        is_lazy |= isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        types_only = node.body if isinstance(node, ast.If) and ast.unparse(node.test) in _TYPE_CHECKING else []
        for child in ast.iter_child_nodes(node):
            yield from self.of(child, is_lazy=is_lazy, is_for_types=is_for_types or child in types_only)

    def _targets(self, statement: ast.Import | ast.ImportFrom) -> set[str]:
        """The modules that a statement names; `from package import module` names the module."""
        if isinstance(statement, ast.Import):
            names = {alias.name for alias in statement.names}
        else:
            assert statement.level == 0, f"{self._module}:{statement.lineno}: relative imports are not followed"
            full = {f"{statement.module}.{alias.name}" for alias in statement.names}
            names = {each if each in self._modules else str(statement.module) for each in full}
        return names.intersection(self._modules)


_TYPE_CHECKING = ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _module(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _first(module: str) -> str:
    return module.partition(".")[2].partition(".")[0]


def _room(module: str) -> str:
    """The first two names of a module's path, or three in the command line and the service."""
    return ".".join(module.split(".")[: 3 if _first(module) in ("cli", "server") else 2])


def _level(module: str) -> int:
    return next(level for level, names in enumerate(LAYERS) if _first(module) in names)


def _objection(each: Import) -> str | None:
    source, target = _first(each.source), _first(each.target)
    if source == target or (source == "server" and target in SHARED):
        return None
    if source == "server":
        return "the service imports nothing of the SDK"
    if target == "server":
        is_loader = source == "cli" or (source in LOADERS and (each.is_lazy or each.is_for_types))
        return None if is_loader else f"only {' and '.join(LOADERS)} import the service, the SDK inside a function"
    if _level(each.target) < _level(each.source):
        return "it points up"
    return "the two are for users alone" if _level(each.target) == 0 else None


def _on_a_circle(pairs: Iterable[tuple[str, str]]) -> list[str]:
    targets: dict[str, set[str]] = {}
    for source, target in pairs:
        targets.setdefault(source, set()).add(target)
    found = [(a, b) for a in targets for b in targets[a] if a != b and a in _reachable(b, targets)]
    return [f"{a} -> {b}" for a, b in sorted(found)]


def _reachable(start: str, targets: dict[str, set[str]]) -> set[str]:
    seen = {start}
    left = [start]
    while left:
        new = targets.get(left.pop(), set()) - seen
        seen |= new
        left += new
    return seen
