"""Where somebody follows a page of the docs: a folder, a shell, and projects of their own."""

import os
import re
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.service import TOKEN

from gitpod import Gitpod

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""A block of a page: its language and its text."""
SHOWN = (
    "b0e12f6c-4c67-429d-a4a6-d9838b5da047",
    "5f6d8a34-94a5-4f49-a5c8-0c1d7c0b6a1e",
    "0b8f6a52-7a6e-4c2f-9d0c-1f3e5a7b9c2d",
)


@dataclass
class Desk:
    """Where somebody follows a page: a folder, a shell's variables, and ids of their own for those that it shows."""

    url: str
    folder: Path
    ids: list[str] = field(default_factory=lambda: [str(uuid.uuid4()) for _ in SHOWN])

    def __post_init__(self) -> None:
        (self.folder / "exports").touch()
        unwanted = re.compile(r"GITPOD_.*|XDG_.*|GITHUB_.*|.*_proxy$", re.IGNORECASE)
        self.environment = {name: value for name, value in os.environ.items() if not unwanted.match(name)}
        self.environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment["HOME"] = str(self.folder)

    def sign_in(self) -> None:
        """Set service, token and project, as a recipe expects them."""
        self.environment |= {"GITPOD_BASE_URL": self.url, "GITPOD_API_KEY": TOKEN, "GITPOD_PROJECT_ID": self.ids[0]}

    def own(self, text: str) -> str:
        """A text of a page, with what is this desk's in the place of what the page shows."""
        changes = zip((*SHOWN, "http://127.0.0.1:8080", "/home/you"), (*self.ids, self.url, self.folder), strict=True)
        for shown, own in changes:
            text = text.replace(shown, str(own))
        for shown, own in zip(SHOWN, self.ids, strict=True):  # as messages name them
            text = text.replace(f"{shown[:8]}…", f"{own[:8]}…")
        return text

    def paste(self, code: str) -> str:
        """What a block prints, on either stream; what it exports the next one has."""
        script = f". ./exports\n{self.own(code)}\nexport -p > exports"
        return self._run("sh", "-ec", script).stdout

    def script(self, code: str, *flags: str, status: int = 0) -> str:
        """What a script prints, on either stream."""
        (self.folder / "script").write_text(self.own(code))
        return self._run("bash", *flags, "script", status=status).stdout

    def program(self, name: str, code: str) -> None:
        """A program in the folder."""
        (self.folder / name).write_text(f"#!/bin/sh\n{code}\n")
        (self.folder / name).chmod(0o755)

    def _run(self, *command: str, status: int = 0) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == status, done.stdout
        return done

    def client(self) -> Gitpod:
        """A client of the service."""
        return Gitpod(base_url=self.url, bearer_token=TOKEN)

    def put(self, number: int, name: str, value: str) -> None:
        """Store a variable in one of the projects."""
        with self.client() as client:
            client.secrets.put(name=name, value=value, project_id=self.ids[number], environment_variable=True)

    def stored(self, number: int = 0) -> dict[str, tuple[str, str]]:
        """The secrets of one of the projects: value and mount by name."""
        found: dict[str, tuple[str, str]] = {}
        with self.client() as client:
            for secret in client.secrets.list(filter={"scope": {"project_id": self.ids[number]}}):
                mount = secret.file_path or secret.container_registry_basic_auth_host
                kind = "env" if secret.environment_variable else "api-only"
                found[secret.name] = client.secrets.get_value(secret_id=secret.id).reveal(), mount or kind
        return found
