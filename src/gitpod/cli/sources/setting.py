"""A setting and its source, and the folder of the user's own files."""

import os
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

VARIABLES = {"base_url": "GITPOD_BASE_URL", "api_key": "GITPOD_API_KEY", "project_id": "GITPOD_PROJECT_ID"}
"""The environment variable of each setting that has one."""
PROFILE_VARIABLE = "GITPOD_PROFILE"
OPTION = "option"
DEFAULT = "default"
KEYRING = "keyring"
"""The source of a token that is in the system's keyring. Its value is not read until a call needs it."""
TYPED = "the token"
"""The source of a token that `login` reads."""
SCOPES = {"project_id": 1, "user_id": 3, "organization_id": 0, "service_account_id": 2}
"""The scopes and their rank: where several have a secret of the same name, the one with the highest rank counts."""
NAMES = ("base_url", "api_key", *SCOPES, "ca_cert")
NAME_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"
"""The name of a profile or a project. Shells insert it into the line that is typed, so it has no odd characters."""
LONG_TOKEN = 20
"""Characters from which on the last four of a token are shown; they would be too large a part of a shorter one."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting and its source: a file, a variable, `option`, `keyring` or `default`. The repr masks a token."""

    name: str
    value: str
    source: str

    @property
    def shown(self) -> str:
        """The value with secrets masked: a token but for its last four characters; user and parameters in a URL."""
        if self.name == "api_key":
            return f"…{self.value[-4:]}" if len(self.value) >= LONG_TOKEN else "…"
        from gitpod._endpoint import shown  # loads a part of the SDK

        return shown(self.value) if self.name == "base_url" else self.value

    @property
    def given_as(self) -> str:
        """The setting as the user gave it: a variable, a name in a file, or the keyring."""
        if self.source in (*VARIABLES.values(), PROFILE_VARIABLE, TYPED):
            return self.source
        return "the token in the keyring" if self.source == KEYRING else f"{self.source}: {self.name}"

    def __repr__(self) -> str:
        return f"Setting({self.name!r}, {self.shown!r}, {self.source!r})"


Settings = dict[str, Setting]


def own_folder() -> Path:
    """Return the folder of the user's own files, which need not exist."""
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "gitpod-secrets"


def is_id(text: str) -> bool:
    """Tell whether a text is a UUID."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True
