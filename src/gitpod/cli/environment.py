"""The environment of the programs that commands start."""

import os


def inherited() -> dict[str, str]:
    """Return the variables of this process without those that are for `gitpod-secrets` alone.

    These are the token, and what opens an embedded store.
    """
    names = {"GITPOD_API_KEY", "GITPOD_SECRETS_KEY", "GITPOD_SECRETS_STORE"}
    kind, _, name = os.environ.get("GITPOD_SECRETS_KEY", "").partition(":")
    if kind == "env":
        names.add(name)
    if "@" in os.environ.get("GITPOD_BASE_URL", ""):  # it holds the password of a database
        names.add("GITPOD_BASE_URL")
    return {name: value for name, value in os.environ.items() if name not in names}
