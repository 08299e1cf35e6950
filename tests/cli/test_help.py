"""The help of the commands, and what it loads."""

import json
import os
import subprocess
import sys

from tests.support.shell import Shell

HEAVY = {
    *("protobuf", "google", "pyqwest", "connectrpc", "gitpod_proto", "protovalidate", "httpx", "asyncio"),
    *("rich", "dotenv", "sqlalchemy", "uvicorn", "cryptography"),
}


PROGRAM = """
import contextlib, io, json, os, sys
from gitpod.cli import main
from gitpod.cli.commands.root import cli

calls = [["--help"], ["--version"], *([name, "--help"] for name in cli.commands)]
completed = [["gitpod-secrets", "get", "--"], ["gitpod-secrets", ""], ["gitpod-secrets", "run", "--files", "--", "m"]]
for arguments in [*calls, *completed]:
    if arguments in completed:
        words = {"COMP_WORDS": " ".join(arguments), "COMP_CWORD": str(len(arguments) - 1)}
        os.environ |= {"_GITPOD_SECRETS_COMPLETE": "bash_complete", **words}
    sys.argv = ["gitpod-secrets", *arguments]
    # Completion writes bytes.
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())), contextlib.suppress(SystemExit):
        main()
print(json.dumps([len(calls), sorted(sys.modules)]))
"""


def test_help_loads_nothing_heavy(shell: Shell) -> None:
    """Help, version and completion of options load neither HTTP, nor protobuf, nor the server."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=shell.environment(), capture_output=True, check=True)
    calls, loaded = json.loads(done.stdout)
    assert calls > 12
    assert [name for name in loaded if name.partition(".")[0] in HEAVY] == []
    assert "gitpod._client" not in loaded
    assert "gitpod.cli.commands.run" in loaded
    assert os.fsencode("gitpod-secrets: ") not in done.stderr
