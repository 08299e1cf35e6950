"""Runs `gitpod-secrets` by `python -m gitpod.cli`."""

from gitpod.cli import main

main()
