"""What an import is going to do: one item for each line of the file. Nothing here does I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from gitpod._messages import requests
from gitpod._secret_value import SecretValue
from gitpod.cli.files.dotenv import shown
from gitpod.cli.files.entries import Entry, Invalid, Line, Mount
from gitpod.errors import InvalidRequestError
from gitpod.types import Secret

Action = Literal["create", "update", "replace", "unchanged", "conflict", "invalid", "delete"]

CHANGES: tuple[Action, ...] = ("create", "update", "replace", "delete")
PROBLEMS: tuple[Action, ...] = ("conflict", "invalid")
EMPTY = "value: must be at least 1 character, as the secret exists and a value can only be updated to such"
EMPTY_ANEW = "value: must be at least 1 character to replace a secret that exists"


@dataclass(frozen=True, slots=True)
class Item:
    """A line and what becomes of it. `line` is 0 for a secret that the file does not name."""

    line: int
    name: str
    action: Action
    mount: str = ""
    rule: str = ""
    secret_id: str = ""
    params: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)

    @property
    def value(self) -> SecretValue:
        """The value that the file has for it."""
        value: SecretValue = self.params["value"]
        return value

    @property
    def may_be_unchanged(self) -> bool:
        """Whether to compare its value with the stored one."""
        return self.action == "update" or self.rule == EMPTY


def mount_of(secret: Secret) -> Mount:
    """The mount of a secret, as parameters; none when it is one that this version does not know."""
    return {name: value for name in requests.MOUNTS if (value := getattr(secret, name))}


def plan(lines: Iterable[Line], there: Iterable[Secret], scope: tuple[str, str], *, can_replace: bool) -> list[Item]:
    """An item for each line, as far as it can be told without the stored values."""
    known = {secret.name: secret for secret in there}
    return [
        Item(line.number, line.name, "invalid", rule=line.rule)
        if isinstance(line, Invalid)
        else _item(line, known.get(line.name), scope, can_replace=can_replace)
        for line in lines
    ]


def _item(entry: Entry, found: Secret | None, scope: tuple[str, str], *, can_replace: bool) -> Item:
    params = {"name": entry.name, "value": entry.value, "scope": dict([scope]), **entry.mount}
    item = Item(entry.number, entry.name, "create", shown(entry.mount), params=params)
    if rule := _broken(params):
        return replace(item, action="invalid", rule=rule)
    if found is None:
        return item
    return _over(item, found, can_replace=can_replace)


def _over(item: Item, found: Secret, *, can_replace: bool) -> Item:
    """The item where a secret of its name exists."""
    is_same = mount_of(found) == {name: item.params[name] for name in requests.MOUNTS if name in item.params}
    if not (is_same or can_replace):
        rule = f"exists with the mount {shown(mount_of(found))}; --replace deletes it and creates it anew"
        return replace(item, action="conflict", rule=rule)
    if item.value.reveal():
        return replace(item, action="update" if is_same else "replace", secret_id=found.id)
    return replace(item, action="invalid", rule=EMPTY if is_same else EMPTY_ANEW, secret_id=found.id)


def _broken(params: Mapping[str, Any]) -> str:
    """The contract's rules that it breaks."""
    try:
        requests.create_request(params)
    except InvalidRequestError as error:
        return "; ".join(map(str, error.violations))
    return ""


def compared(item: Item, stored: SecretValue) -> Item:
    """The item once the stored value is known."""
    return replace(item, action="unchanged", rule="") if stored == item.value else item


def prunable(items: Iterable[Item], there: Iterable[Secret]) -> list[Item]:
    """The deletion of every secret that no line names, by name."""
    named = {item.name for item in items}
    left = sorted((secret for secret in there if secret.name not in named), key=lambda secret: secret.name)
    return [Item(0, secret.name, "delete", shown(mount_of(secret)), secret_id=secret.id) for secret in left]


def summary(items: Iterable[Item]) -> str:
    """How many of each action, such as `2 create, 1 unchanged`."""
    actions = [item.action for item in items]
    counted = [f"{actions.count(action)} {action}" for action in dict.fromkeys(actions)]
    return ", ".join(counted) or "nothing"
