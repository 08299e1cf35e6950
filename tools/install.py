"""`pip install` for the Makefile, which says how far it is: on one line of a terminal, else on a line now and then.

Usage: python install.py WHAT ARGUMENT...; the arguments are those of `pip install`. Needs the standard library alone.
"""

import subprocess
import sys
import sysconfig
import time
from pathlib import Path

EVERY = 10
"""How many packages a line without a terminal stands for."""


class Progress:
    """Says how many packages pip found and installed."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._tens = 0
        print(f"installing {what}", end="" if sys.stdout.isatty() else "\n", flush=True)

    def say(self, verb: str, count: int, total: int | None = None) -> None:
        text = f"{verb} {count}{f' of {total}' if total else ''} packages"
        if sys.stdout.isatty():
            print(f"\r\033[Kinstalling {self._what}: {text}", end="", flush=True)
        elif count // EVERY != self._tens:
            self._tens = count // EVERY
            print(f"  {text}", flush=True)

    def end(self) -> None:
        if sys.stdout.isatty():
            print(f"\r\033[Kinstalled {self._what}", flush=True)


def main() -> None:
    what, *arguments = sys.argv[1:]
    progress = Progress(what)
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--progress-bar=off", *arguments]
    said: list[str] = []
    found = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        assert pip.stdout
        for line in pip.stdout:
            said.append(line)
            if line.startswith("Collecting "):
                found += 1
                progress.say("found", found)
            elif line.startswith("Installing collected packages: "):
                # pip is silent now until it is done.
                follow(pip, progress, line.count(",") + 1)
    if pip.returncode:
        print(f"\n{''.join(said)}", file=sys.stderr)
        sys.exit(f"pip could not install {what}")
    progress.end()


def follow(pip: "subprocess.Popen[str]", progress: Progress, total: int) -> None:
    """Count what is installed, until pip ends."""
    folder = Path(sysconfig.get_path("purelib"))
    before = len(list(folder.glob("*.dist-info")))
    most = 0
    while pip.poll() is None:
        # There are fewer while pip replaces one.
        most = max(most, len(list(folder.glob("*.dist-info"))) - before)
        progress.say("installed", min(most, total), total)
        time.sleep(0.2)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
