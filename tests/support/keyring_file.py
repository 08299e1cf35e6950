"""A keyring for tests, which the keyring library loads by PYTHON_KEYRING_BACKEND. It notes each time it is touched."""

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError

VARIABLES = {"PYTHON_KEYRING_BACKEND": f"{__name__}.FileKeyring"}


class FileKeyring(KeyringBackend):
    """Keeps passwords in the file that KEYRING_FILE names. It is locked if there is a file LOCKED beside that."""

    priority = 5  # pyright: ignore[reportAssignmentType] # a property of the class in the library

    def get_password(self, service: str, username: str) -> str | None:
        return self._read().get(f"{service} {username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        self._write(self._read() | {f"{service} {username}": password})

    def delete_password(self, service: str, username: str) -> None:
        kept = self._read()
        if kept.pop(f"{service} {username}", None) is None:
            raise PasswordDeleteError("there is none")
        self._write(kept)

    def _read(self) -> dict[str, str]:
        file = Path(os.environ["KEYRING_FILE"])
        file.with_name("TOUCHED").touch()
        if file.with_name("LOCKED").exists():
            raise KeyringLocked("as the test says")
        found: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
        return found

    def _write(self, kept: dict[str, str]) -> None:
        Path(os.environ["KEYRING_FILE"]).write_text(json.dumps(kept))
