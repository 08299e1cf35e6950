"""The code blocks of docs/service/, and a reader who pastes them into a shell."""

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Self

from postgres import HOST, binaries
from tests.support import pages
from tests.support.peer import free_port
from tests.support.service import ROOT

from gitpod import Gitpod

GUIDE = pages.text("service", "high-availability")
PATH = os.pathsep.join([str(Path(sys.executable).parent), *filter(None, [str(binaries() or "")]), os.environ["PATH"]])


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code, its page, and the headings that it stands under."""

    page: str
    headings: str
    language: str
    code: str


def parsed() -> Iterator[Block]:
    """The guide's blocks, in order."""
    part = re.compile(r"^(#+ [^\n]+)$|^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    for page in pages.ORDER["service"]:
        headings: list[str] = []
        for heading, language, code in part.findall(pages.page(f"service/{page}")):
            if heading:
                headings = [*headings[: heading.index(" ") - 1], heading]
            elif page != "high-availability":
                yield Block(page, " ".join(headings), language, code)


BLOCKS = list(parsed())
ON_POSTGRESQL = [block for block in BLOCKS if "PostgreSQL" in block.headings or block.language == "sql"]
ON_SQLITE = [block for block in BLOCKS if block not in ON_POSTGRESQL]


class Reader:
    """Pastes blocks into two shells in one folder: one that serves, and one for everything else."""

    def __init__(self, folder: Path, replaced: dict[str, str]) -> None:
        self.folder = folder
        self.replaced = replaced | {port: str(free_port()) for port in ("8080", "8443", "50051")}
        (folder / "examples").symlink_to(ROOT / "examples")
        unwanted = re.compile(r"(GITPOD|OTEL|PG)|.*_proxy$", re.IGNORECASE)
        self.environment = {name: value for name, value in os.environ.items() if not unwanted.match(name)}
        self.environment["PATH"] = PATH
        self._service: subprocess.Popen[str] | None = None
        (folder / "exports").touch()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._service:
            self._service.kill()
            self._service.communicate()

    def follow(self, blocks: list[Block]) -> str:
        """Run what of them can be run. Returns what they printed."""
        return "".join(self._paste(block) for block in blocks if block.language in ("sh", "python"))

    def stop(self) -> None:
        """Stop what serves, which must end well."""
        if self._service:
            self._service.terminate()
            self._service.communicate(timeout=30)
            assert self._service.returncode == 0, (self.folder / "log").read_text()
        self._service = None

    def _paste(self, block: Block) -> str:
        code = block.code
        for shown, real in self.replaced.items():
            code = code.replace(shown, real)
        if "gitpod-secrets serve" in code:
            self.stop()
            self._serve(code.replace("gitpod-secrets serve", "exec gitpod-secrets serve"))
            return ""
        if block.language == "python":
            (self.folder / "block.py").write_text(code)
            code = "python block.py"
        done = subprocess.run(
            ["sh", "-ec", f". ./exports\n{code}\nexport -p > exports"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _serve(self, code: str) -> None:
        with (self.folder / "log").open("a") as log:
            self._service = subprocess.Popen(
                ["sh", "-ec", code],
                cwd=self.folder,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._service.stdout
        line = self._service.stdout.readline()
        assert line.startswith("export GITPOD_BASE_URL="), (self.folder / "log").read_text()


@contextmanager
def collector() -> Generator[tuple[int, list[tuple[str, bytes]]]]:
    """Something that takes what OTLP sends: its port, and the paths and bodies."""
    taken: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] # of any arguments
            """Nothing."""

    with HTTPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port, taken
        finally:
            server.shutdown()
            thread.join()


def values(path: Path, key: Path) -> list[str]:
    """Every value in a store, opened by a key."""
    copy = path.with_name(f"{path.name}.opened")
    shutil.copy(path, copy)
    shutil.copy(key, f"{copy}.key")
    with Gitpod(base_url=f"sqlite:///{copy}") as client:
        return [client.secrets.get_value(secret_id=secret.id).reveal() for secret in client.secrets.list()]
