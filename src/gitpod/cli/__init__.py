"""The command `gitpod-secrets`. Commands load what they need when they are called."""

import sys

MISSING = "gitpod-secrets: error: {} is not installed\ngitpod-secrets: hint: pip install 'gitpod-connect[server]'\n"


def main() -> None:
    """Run `gitpod-secrets` with the arguments of the process."""
    try:
        from gitpod.cli._commands import cli

        cli()
    except ModuleNotFoundError as error:
        sys.stderr.write(MISSING.format(error.name))
        sys.exit(2)
