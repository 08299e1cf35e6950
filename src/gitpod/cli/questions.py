"""What is asked on a terminal. Each question names the service and the scope, after all that can be checked was.

Nobody types a value that is then refused for the name, and nobody confirms what cannot be done.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gitpod.cli.client import find, listed, scope_of, target
from gitpod.cli.failures import CONFLICT, fail
from gitpod.cli.options import Scope
from gitpod.cli.output import printable

if TYPE_CHECKING:
    from gitpod import Gitpod
    from gitpod.types import Secret


def value_to_create(client: "Gitpod", params: Mapping[str, Any], scopes: list[Scope]) -> str:
    """Return the question for the value of a new secret. Ends the process if its name is taken."""
    if _same_name(client, params):
        message = f"{params['name']} exists in {target(scopes)}"
        raise fail(message, CONFLICT, "put updates the value of a secret that exists")
    return f"Value of {params['name']} in {target(scopes)}"


def value_to_put(client: "Gitpod", params: Mapping[str, Any], scopes: list[Scope], *, can_replace: bool) -> str:
    """Return the question for the value of a secret. Ends the process if `put` could not store it with its mount."""
    from gitpod.cli.files.entries import shown
    from gitpod.cli.plan import mount_of  # loads a part of the SDK

    secret = _same_name(client, params)
    if secret is None:
        return f"Value of {params['name']} in {target(scopes)}"
    mount = mount_of(secret)
    if not can_replace and not mount.items() <= params.items():
        message = f"{secret.name} exists with the mount {shown(mount)} in {target(scopes)}"
        raise fail(message, CONFLICT, "put --replace deletes the secret and creates it again")
    return f"New value of {secret.name} in {target(scopes)}"


def value_to_update(client: "Gitpod", name_or_id: str, scopes: list[Scope]) -> str:
    """Return the question for the new value of a secret. Ends the process if there is none."""
    secret = find(client, name_or_id, scopes)
    return f"New value of {printable(secret.name)} in {target(scope_of(secret))}"


def to_delete(secret: "Secret") -> str:
    """Return the question before a secret is deleted."""
    return f"Delete {printable(secret.name)} from {target(scope_of(secret))}?"


def _same_name(client: "Gitpod", params: Mapping[str, Any]) -> "Secret | None":
    """Check the parameters of a create without a value, and return the secret of this name."""
    from gitpod._messages.requests import create_request

    create_request({**params, "value": ""})
    return next((secret for secret in listed(client, params["scope"]) if secret.name == params["name"]), None)
