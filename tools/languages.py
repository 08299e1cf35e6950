"""What each language of `interop/` needs, and how its stubs and programs are made."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


class UnavailableError(Exception):
    """What a language needs cannot be downloaded or installed."""


class Language(NamedTuple):
    """The commands of a language. They run in its folder; `PLUGINS` is a folder of its own for plugins, on `PATH`."""

    programs: list[str]
    """Programs that the machine must have."""
    plugins: list[list[str]]
    """Commands that download: the plugins of buf, and libraries."""
    build: list[list[str]]
    """Commands that compile the programs, once the stubs are made."""
    client: list[str]
    """The scenario, against the service that the environment names. It prints lines of the matrix."""
    server: list[str]
    """The service in this language. It prints a URL on a line for each of its servers, and ends with its input."""
    servers: list[str]
    """The libraries of these servers, in this order."""
    golden: Sequence[str] = ()
    """What checks the vectors of the folder that follows. It prints lines of the matrix."""
    takes_long: bool = False
    """It compiles for many minutes, so tests wait for `make interop` to make it."""


MAVEN = ["mvn", "--batch-mode", "--quiet"]
DOWNLOAD = [
    ["rm", "-rf", "target"],  # It may hold libraries of other versions.
    [*MAVEN, "dependency:copy", "dependency:copy-dependencies"],
    ["sh", "-c", 'chmod +x "$PLUGINS"/*'],
]
BRIEF = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
"""Options of Java for programs that run for seconds: half the work."""
JAVA = ["java", *BRIEF, "-cp", "target/classes:target/dependency/*"]

LANGUAGES = {
    "go": Language(
        programs=["go"],
        plugins=[["go", "install", "tool"]],
        build=[["go", "build", "-o", "build/", ".", "./server", "./golden"]],
        client=["build/go"],
        server=["build/server"],
        servers=["connect-go", "grpc-go"],
        golden=["build/golden"],
    ),
    "typescript": Language(
        programs=["node", "npm"],
        plugins=[["npm", "ci", "--no-audit", "--no-fund"]],
        build=[["tsc"]],
        client=["node", "build/main.js"],
        server=["node", "build/server/main.js"],
        servers=["connect-node", "connect-node over HTTP/2"],
        golden=["node", "build/golden/main.js"],
    ),
    "java": Language(
        programs=["java", "javac", "mvn"],
        plugins=[*DOWNLOAD, [*MAVEN, "compiler:help"]],
        build=[[*MAVEN, "--offline", "compiler:compile"]],
        client=[*JAVA, "interop.Client"],
        server=[*JAVA, "interop.Server"],
        servers=["grpc-java"],
        golden=[*JAVA, "interop.Golden"],
    ),
    "kotlin": Language(
        programs=["java", "javac", "mvn"],
        plugins=DOWNLOAD,
        build=[[*MAVEN, "kotlin:compile", "compiler:compile"]],
        client=[*JAVA, "interop.ClientKt"],
        server=[],
        servers=[],
    ),
    "rust": Language(
        # Some libraries of Rust compile C.
        programs=["cargo", "cc"],
        plugins=[["cargo", "plugins"], ["cargo", "protoc"], ["cargo", "fetch"]],
        build=[["cargo", "build"]],
        client=["target/debug/interop"],
        server=[],
        servers=[],
        golden=["target/debug/golden"],
        takes_long=True,
    ),
}


def lacking(name: str) -> list[str]:
    """The programs that a language needs and this machine has not."""
    return [program for program in LANGUAGES[name].programs if not shutil.which(program)]


def environment(name: str) -> dict[str, str]:
    """The environment of a language's commands."""
    plugins = ROOT / "build" / name / "bin"
    path = f"{plugins}:{ROOT / 'interop' / name / 'node_modules/.bin'}:{BIN}:{os.environ['PATH']}"
    ours = {"PLUGINS": str(plugins), "GOBIN": str(plugins), "PATH": path}
    return {"MAVEN_OPTS": " ".join(BRIEF)} | os.environ | ours


def sources(name: str) -> str:
    """A digest of what the programs of a language are made of."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"]
    folders = [f"interop/{name}", "proto", "proto-imports"]
    listed = subprocess.run([*command, *folders], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = hashlib.sha256(repr(LANGUAGES[name]).encode())
    for path in sorted(set(listed.split("\0"))):
        if (ROOT / path).is_file():
            found.update(path.encode() + b"\0" + hashlib.sha256((ROOT / path).read_bytes()).digest())
    return found.hexdigest()


def is_made(name: str) -> bool:
    """Whether the programs of a language are made from what the checkout holds now."""
    made = ROOT / "build" / name / "sources"
    return made.exists() and made.read_text() == sources(name)


def prepare(name: str) -> None:
    """Make the stubs and programs of a language, unless they are made. One process at a time does it.

    Raises UnavailableError when what it needs cannot be downloaded, and subprocess.CalledProcessError when something
    does not compile.
    """
    language, folder, chosen = LANGUAGES[name], ROOT / "interop" / name, environment(name)
    Path(chosen["PLUGINS"]).mkdir(parents=True, exist_ok=True)
    with (ROOT / "build" / name / "sources").open("a+") as made:
        fcntl.flock(made, fcntl.LOCK_EX)
        made.seek(0)
        digest = sources(name)
        if made.read() == digest:
            return
        made.truncate(0)
        shutil.rmtree(folder / "gen", ignore_errors=True)
        try:
            for command in language.plugins:
                subprocess.run(command, cwd=folder, env=chosen, check=True, stdout=sys.stderr)
        except subprocess.CalledProcessError as error:
            raise UnavailableError(f"{name}: {error}") from None
        generate = [str(BIN / "buf"), "generate", "--template", f"interop/{name}/buf.gen.yaml"]
        subprocess.run(generate, cwd=ROOT, env=chosen, check=True, stdout=sys.stderr)
        for command in language.build:
            subprocess.run(command, cwd=folder, env=chosen, check=True, stdout=sys.stderr)
        made.write(digest)
