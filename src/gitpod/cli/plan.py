"""What an import is going to do: one item for each line of the file. Nothing here does I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from gitpod._messages import requests
from gitpod._secret_value import SecretValue
from gitpod.cli.files.entries import Entry, Invalid, Line, Mount, shown
from gitpod.errors import InvalidRequestError
from gitpod.types import Secret

Action = Literal["create", "update", "replace", "unchanged", "conflict", "invalid", "delete"]

CHANGES: tuple[Action, ...] = ("create", "update", "replace", "delete")
PROBLEMS: tuple[Action, ...] = ("conflict", "invalid")
NO_EMPTY_UPDATE = "value: must be at least 1 character, as the secret exists and cannot be updated to an empty value"
NO_EMPTY_REPLACE = "value: must be at least 1 character to replace a secret that exists"
MAX_METADATA_BYTES = 8192
"""The most bytes of a secret without its value that this package's service stores. The contract has no such rule.

A path is the only part of any length, and no system has a file whose path is that long.
"""
TOO_LONG = f"all but its value must take at most {MAX_METADATA_BYTES} bytes"
ADDED = {"project_id": 118}
"""Bytes that the service adds to a create by its scope: the secret's id, its creator, and `project_id` once more."""
ADDED_OTHERWISE = 80


@dataclass(frozen=True, slots=True)
class Item:
    """A line of the file and what is done about it.

    Attributes:
        line: the line's number; 0 for a secret that the file does not name.
        name: the secret's name; empty when the line has no valid one.
        action: what is done.
        mount: the secret's mount, as `shown` formats it.
        rule: the rule that is broken, for a conflict or an invalid line.
        secret_id: the id of the secret that exists.
        params: the parameters of a create. They hold the value, so no repr shows them.
    """

    line: int
    name: str
    action: Action
    mount: str = ""
    rule: str = ""
    secret_id: str = ""
    params: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)

    @property
    def value(self) -> SecretValue:
        """The value in the file."""
        value: SecretValue = self.params["value"]
        return value

    @property
    def may_be_unchanged(self) -> bool:
        """Whether the stored value decides what is done."""
        return self.action == "update" or self.rule == NO_EMPTY_UPDATE


def mount_of(secret: Secret) -> Mount:
    """Return the mount of a secret as a parameter of a create; empty for one that this version does not know."""
    return {name: value for name in requests.MOUNTS if (value := getattr(secret, name))}


def plan(lines: Iterable[Line], stored: Iterable[Secret], scope: tuple[str, str], *, can_replace: bool) -> list[Item]:
    """Plan an item for each line, as far as that is possible without the stored values.

    Args:
        lines: the lines of the file.
        stored: the secrets of the scope.
        scope: the kind of the scope, such as `project_id`, and its id.
        can_replace: whether a secret with another mount may be deleted and created again.
    """
    by_name = {secret.name: secret for secret in stored}
    return [
        Item(line.number, line.name, "invalid", rule=line.rule)
        if isinstance(line, Invalid)
        else _planned(line, by_name.get(line.name), scope, can_replace=can_replace)
        for line in lines
    ]


def _planned(entry: Entry, secret: Secret | None, scope: tuple[str, str], *, can_replace: bool) -> Item:
    params = {"name": entry.name, "value": entry.value, "scope": dict([scope]), **entry.mount}
    item = Item(entry.number, entry.name, "create", shown(entry.mount), params=params)
    if rule := _broken_rules(params):
        return replace(item, action="invalid", rule=rule)
    if secret is None:
        return item
    is_same = mount_of(secret) == entry.mount
    if not (is_same or can_replace):
        rule = f"exists with the mount {shown(mount_of(secret))}; --replace deletes it and creates it again"
        return replace(item, action="conflict", rule=rule)
    if entry.value.reveal():
        return replace(item, action="update" if is_same else "replace", secret_id=secret.id)
    rule = NO_EMPTY_UPDATE if is_same else NO_EMPTY_REPLACE
    return replace(item, action="invalid", rule=rule, secret_id=secret.id)


def _broken_rules(params: Mapping[str, Any]) -> str:
    """Return the rules of the contract, and of the service, that a create with these parameters breaks."""
    try:
        request = requests.create_request(params)
    except InvalidRequestError as error:
        return "; ".join(map(str, error.violations))
    request.value = ""
    [kind] = params["scope"]
    size = len(request.to_binary()) + ADDED.get(kind, ADDED_OTHERWISE)
    return TOO_LONG if size > MAX_METADATA_BYTES else ""


def compared(item: Item, stored: SecretValue) -> Item:
    """Return the item, `unchanged` if the stored value is the one in the file."""
    return replace(item, action="unchanged", rule="") if stored == item.value else item


def prunable(items: Iterable[Item], stored: Iterable[Secret]) -> list[Item]:
    """Plan the deletion of every secret that no line names, sorted by name."""
    named = {item.name for item in items}
    left = sorted((secret for secret in stored if secret.name not in named), key=lambda secret: secret.name)
    return [Item(0, secret.name, "delete", shown(mount_of(secret)), secret_id=secret.id) for secret in left]
