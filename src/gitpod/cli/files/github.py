"""Hands variables to the later steps of a job of GitHub Actions, and masks their values in its log."""

import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

from gitpod.cli.files.entries import NUL, Entry

KEPT = re.compile("NODE_OPTIONS|(?:GITHUB|RUNNER)_.*", re.IGNORECASE)
"""Names that a runner does not take from a job."""
LONGEST_UNMASKED = 3
"""Characters of a line that is not masked: a mask such as "1" would hide half of the log."""


def problem(entry: Entry) -> str:
    """Return why a job cannot have the variable, empty if it can."""
    value = entry.value.reveal()
    if KEPT.fullmatch(entry.name):
        return "GitHub Actions takes no variable of that name from a job"
    if value.endswith("\r"):
        return "ends in a carriage return, which runners drop"
    return NUL if "\0" in value else ""


def masks(entries: Iterable[Entry]) -> str:
    """Return the commands that mask each line of the values that is longer than `LONGEST_UNMASKED`."""
    lines = (line for entry in entries for line in re.split(r"[\r\n]+", entry.value.reveal()))
    shown = dict.fromkeys(line.replace("%", "%25") for line in lines if len(line.strip()) > LONGEST_UNMASKED)
    return "".join(f"::add-mask::{line}\n" for line in shown)


def append(file: Path, entries: Iterable[Entry]) -> None:
    """Append variables to the file that `GITHUB_ENV` names: all of them, or none.

    Raises:
        OSError: nothing is appended.
    """
    # A value cannot hold a line that nobody can guess, so it cannot end early and set other variables.
    delimiter = f"gitpod_secrets_{secrets.token_hex(16)}"
    text = "".join(f"{entry.name}<<{delimiter}\n{entry.value.reveal()}\n{delimiter}\n" for entry in entries)
    with file.open("r+b", buffering=0) as opened:
        size = opened.seek(0, os.SEEK_END)
        if size:
            opened.seek(size - 1)
            text = text if opened.read(1) == b"\n" else f"\n{text}"
        left = memoryview(text.encode())
        try:
            while left:
                left = left[opened.write(left) :]
        except OSError:
            opened.truncate(size)
            raise
