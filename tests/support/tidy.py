"""What the examples of the docs leave in a clone of the repository, for readers who follow them there."""

import subprocess
from pathlib import Path

from tests.support.service import ROOT


def untracked(folder: Path, *own: str) -> list[str]:
    """What `git status` would show of a folder, if it were a clone, but for the test's own files and folders."""
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_symlink() or path.is_file()]
    names = {str(file) for file in files if file.parts[0] not in own}
    command = ["git", "check-ignore", "--no-index", "--stdin"]
    done = subprocess.run(command, cwd=ROOT, input="\n".join(names), capture_output=True, text=True, check=False)
    # 1: it ignores none.
    assert done.returncode in (0, 1), done.stderr
    return sorted(names - set(done.stdout.splitlines()))
