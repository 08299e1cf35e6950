"""Run the conformance suite of Connect against the SDK and against the service, and print the counts.

Usage: python tools/conformance.py [client|server] [WAY...] [-- OPTION...]. It needs go, by which the suite is
installed. Options are those of connectconformance.
"""

import os
import shutil
import subprocess
import sys
from time import monotonic

from languages import BIN, ROOT

FOLDER, BUILD = ROOT / "interop/conformance", ROOT / "build/conformance"
WAYS: dict[str, dict[str, str]] = {
    "client": {
        "sync": "client",
        "async": "client",
        "sync-pyqwest": "client",
        "async-pyqwest": "client",
        "sync-forked": "client-http1",
        "async-forked": "client-http1",
        "sync-httpx": "client-http1",
        "async-httpx": "client-http1",
        "sync-httpx2": "client-http1",
        "async-httpx2": "client-http1",
    },
    "server": {"http": "server-http1", "grpc": "server-http2"},
}
"""By side, the names that a program of `interop/conformance/` is started with, and the file of features for each."""


def prepare() -> None:
    """Install the suite, and generate the messages and stubs of its service."""
    go = os.environ | {"GOBIN": str(BUILD / "bin")}
    subprocess.run(["go", "install", "tool"], cwd=FOLDER, env=go, check=True, stdout=sys.stderr)
    find = ["go", "list", "-m", "-f", "{{.Dir}}", "connectrpc.com/conformance"]
    module = subprocess.run(find, cwd=FOLDER, check=True, capture_output=True, text=True).stdout.strip()
    generate = [str(BIN / "buf"), "generate", f"{module}/proto", "--template", f"{FOLDER}/buf.gen.yaml"]
    path = f"{BIN}:{os.environ['PATH']}"
    subprocess.run(generate, cwd=ROOT, env=os.environ | {"PATH": path}, check=True, stdout=sys.stderr)


def run(side: str, way: str, options: list[str]) -> bool:
    """Whether one way agrees with the suite, but for what is known."""
    # What fails on this side, and what fails with the ways whose name begins so.
    known = [FOLDER / f"known-failing-{name}.txt" for name in (side, f"{side}-{way.partition('-')[0]}")]
    command = [
        f"{BUILD}/bin/connectconformance",
        "--mode",
        side,
        "--conf",
        f"{FOLDER}/{WAYS[side][way]}.yaml",
        *(f"--known-failing=@{file}" for file in known if file.exists()),
        # The suite waits 10 s for a server to start, which several at a time may take.
        *(["--max-servers", "1"] if side == "server" else []),
        *options,
        "--",
        sys.executable,
        f"{FOLDER}/{side}.py",
        way,
    ]
    began = monotonic()
    stubs = os.environ | {"PYTHONPATH": f"{BUILD}/gen"}
    done = subprocess.run(command, cwd=ROOT, env=stubs, check=False, stdout=subprocess.PIPE, text=True)
    details, total, counts = done.stdout.rpartition("Total cases: ")
    if done.returncode:
        print(details)
    summary = "; ".join((total + counts).splitlines())
    print(f"{side:7} {way:14} {summary}; {monotonic() - began:.0f} s", flush=True)
    return done.returncode == 0


def main(asked: list[str], options: list[str]) -> int:
    sides, ways = asked[:1] or list(WAYS), asked[1:]
    if unknown := [each for each in sides if each not in WAYS]:
        raise SystemExit(f"no such side: {unknown[0]}; there is {' and '.join(WAYS)}")
    if unknown := [each for each in ways if each not in WAYS[sides[0]]]:
        raise SystemExit(f"no such way: {unknown[0]}; there is {', '.join(WAYS[sides[0]])}")
    if not shutil.which("go"):
        print("conformance: left out, as this machine lacks go")
        return 1 if asked else 0
    prepare()
    agreed = [run(side, way, options) for side in sides for way in WAYS[side] if not ways or way in ways]
    return 0 if all(agreed) else 1


if __name__ == "__main__":
    given = [*sys.argv[1:], "--"]
    end = given.index("--")
    sys.exit(main(given[:end], given[end + 1 : -1]))
