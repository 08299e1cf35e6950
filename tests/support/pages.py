"""The pages of the docs, in the order in which a reader meets them: one shell follows those of a folder."""

import re
from pathlib import Path

from tests.support.service import ROOT

ORDER = {
    "cli": (
        *("index", "settings", "project-file", "login", "values", "import", "export", "run"),
        *("inject", "edit", "copy", "output", "files"),
        "recipes",
    ),
    "service": (
        *("index", "tls", "health", "tokens", "roles", "audit", "stores", "workers", "high-availability", "proxy"),
        *("systemd", "keys", "backup", "upgrading", "limits", "security"),
    ),
    "languages": (
        *("index", "go", "typescript", "java", "kotlin", "rust", "curl", "codes", "sending-again", "rules", "versions"),
    ),
    "design": (
        *("index", "call", "failures", "connections", "processes", "limits", "secrecy", "conformance", "service"),
        *("requests", "writes", "command-line"),
    ),
    "sdk": ("index", "service-url", "errors", "retries", "in-tests", "reference"),
    "how-to": ("ci", "pytest", "rotation", "docker", "gunicorn-and-celery", "jupyter"),
    "sdk/reference": ("calls", "types", "errors", "testing"),
}
"""The pages of each folder."""
ALONE = ("index", "tutorial", "wire", "migrating", "migrating-from-1", "performance", "measuring", "performance-goals")
"""The pages of no folder. A test of each runs its blocks, if it has any."""
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
"""Every page, by its path."""


def page(name: str) -> str:
    """The text of a page, such as `cli/run`."""
    return (ROOT / f"docs/{name}.md").read_text()


def text(folder: str, *without: str) -> str:
    """The pages of a folder as one text, without some of them."""
    return "\n".join(page(f"{folder}/{name}") for name in ORDER[folder] if name not in without)


def anchors(file: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", file.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
