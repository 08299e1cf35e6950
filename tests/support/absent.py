"""Python without some modules: as where an extra of the package is not installed."""

from collections.abc import Iterable
from pathlib import Path


def without(modules: Iterable[str], folder: Path) -> dict[str, str]:
    """The variables of a Python that finds none of the modules. The folder is for the file that hides them."""
    # Both `import` and `find_spec` take None for a module that does not exist.
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({sorted(modules)}))\n")
    return {"PYTHONPATH": str(folder)}
