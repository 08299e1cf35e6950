"""Says which extra of the package is missing, and which command adds it to this installation.

No hint lets pip look for the package on an index: the package is on none, and a stranger can take its name there.
"""

import json
import re
import shlex
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

DISTRIBUTION = "gitpod-connect"
EXTRA_OF = {
    **dict.fromkeys(("click", "dotenv", "rich"), "cli"),
    **dict.fromkeys(("alembic", "cryptography", "httptools", "sqlalchemy", "starlette", "uvicorn"), "server"),
    **dict.fromkeys(("connectrpc_grpcreflect", "h2", "hpack", "hyperframe"), "grpc"),
    **dict.fromkeys(("connectrpc_otel", "opentelemetry"), "otel"),
    "psycopg": "postgres",
    "keyring": "keyring",
    "zstandard": "zstd",
}
"""The extra that brings a module."""


def needed(extra: str) -> str:
    """Return the end of a sentence: `needs the extra "server": pip install -e '/clone[server]'`.

    The command is left out if none is sure to work for this installation.
    """
    command = install(extra)
    return f'needs the extra "{extra}"' + (f": {command}" if command else "")


def install(extra: str) -> str:
    """Return the command that adds an extra to this installation, or "" if none is sure to work.

    It installs from where the package came from: a folder, a file, or a URL that holds no credentials.
    """
    try:
        source = _source(distribution(DISTRIBUTION), extra)
    except (PackageNotFoundError, ValueError, TypeError, KeyError):
        source = None
    # Environments of uv have no pip, and another environment's pip would install there.
    if source is None or find_spec("pip") is None:
        return ""
    folder = Path(sys.executable).parent
    pip = "pip" if Path(which("pip") or "").parent == folder else f"{shlex.quote(sys.executable)} -m pip"
    command = f"{pip} install {source}"
    return command if command.isprintable() else ""


def _source(installed: Distribution, extra: str) -> str | None:
    """Return pip's arguments for where the distribution came from (PEP 610); None if that is unknown, or is gone."""
    origin: dict[str, Any] = json.loads(installed.read_text("direct_url.json") or "{}")
    url = urlsplit(str(origin["url"]))
    # A query and a user name may be credentials. `git` is the user of every ssh server.
    if url.query or url.fragment or url.username not in (None, "git") or url.password is not None:
        return None
    subdirectory = f"#subdirectory={origin['subdirectory']}" if "subdirectory" in origin else ""
    if "vcs_info" in origin:
        commit = origin["vcs_info"]["commit_id"]
        is_git = origin["vcs_info"]["vcs"] == "git" and re.fullmatch("[0-9a-f]+", commit)
        is_known = is_git and url.scheme in ("https", "ssh", "file")
        requirement = f"{DISTRIBUTION}[{extra}] @ git+{url.geturl()}@{commit}{subdirectory}"
        return shlex.quote(requirement) if is_known else None
    if url.scheme == "https":
        return shlex.quote(f"{DISTRIBUTION}[{extra}] @ {url.geturl()}{subdirectory}")
    path = url2pathname(url.path)
    if url.scheme != "file" or url.netloc or subdirectory or not Path(path).exists():
        return None
    editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
    return editable + shlex.quote(f"{path}[{extra}]")
