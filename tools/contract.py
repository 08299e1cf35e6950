"""Write what other languages need into a folder: an archive of the .proto files and templates, and two descriptor sets.

Usage: python tools/contract.py FOLDER
"""

import gzip
import subprocess
import sys
import tarfile
from pathlib import Path

import gitpod

ROOT = Path(__file__).parent.parent
PARTS = ["LICENSE", "buf.yaml", "proto", "proto-imports", "interop", ":(exclude)interop/conformance"]
"""What goes in. Conformance is of the client and the service in Python."""
BUF = str(Path(sys.executable).with_name("buf"))


def files() -> list[str]:
    """Names of the files to archive: those under version control, and new ones that are not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *PARTS]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return sorted(name for name in listed.split("\0") if (ROOT / name).is_file())


def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """An entry without owner and time, so that the same files give the same archive."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.mode & 0o100 else 0o644
    return entry


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    stem = f"gitpod-contract-{gitpod.__version__}"
    archive = out / f"{stem}.tar.gz"
    with (
        archive.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for name in files():
            tar.add(ROOT / name, f"{stem}/{name}", filter=plain)
    print(archive)
    # Without --as-file-descriptor-set: each file then says, in a field that only buf reads, whether it is an import, so
    # that `buf generate` makes no stubs of imports.
    for suffix, options in ((".binpb", []), ("-without-imports.binpb", ["--exclude-imports"])):
        descriptors = out / f"{stem}{suffix}"
        command = [BUF, "build", "proto", *options, "-o", str(descriptors.resolve())]
        subprocess.run(command, cwd=ROOT, check=True)
        print(descriptors)


main(Path(sys.argv[1]))
