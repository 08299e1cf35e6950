"""What a dry run says and what an import then does agree, whatever the file holds."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitpod import Gitpod, SecretValue
from gitpod.cli.apply import apply, compare
from gitpod.cli.files.entries import API_ONLY, ENV, Entry, Mount, shown
from gitpod.cli.files.load import load
from gitpod.cli.plan import MAX_METADATA_BYTES, PROBLEMS, Action, Item, plan
from gitpod.errors import GitpodError
from gitpod.server import handlers

PAST: dict[Action, str] = {"create": "created", "update": "updated", "replace": "replaced", "unchanged": "unchanged"}
NAMES = st.sampled_from(["ONE", "TWO", "3RD", "A" * 127])
ALPHABET = "a:/.-_%#?@ \0\né\ud800😀~[]"
VALUES = st.one_of(
    st.text(alphabet=ALPHABET, max_size=5),
    st.sampled_from(["", "x", "x" * 10_240, "é" * 10_240, "x" * 10_241]),
)
PATHS = st.one_of(
    st.text(alphabet=ALPHABET, max_size=5).map("/".__add__),
    st.text(alphabet=ALPHABET, max_size=5),
    st.integers(7_890, 8_070).map(lambda length: "/" + "a" * length),
    st.integers(3_940, 4_040).map(lambda length: "/" + "é" * length),
)
HOSTS = st.one_of(st.text(alphabet=ALPHABET, max_size=8).map("https://".__add__), PATHS)
MOUNTS: st.SearchStrategy[Mount] = st.one_of(
    st.just(ENV),
    st.just(API_ONLY),
    PATHS.map(lambda path: {"file_path": path}),
    HOSTS.map(lambda host: {"container_registry_basic_auth_host": host}),
    st.sampled_from([{"api_only": True, "file_path": "/a"}, {"environment_variable": 1}, {"file_path": 5}]),
)
SCOPES = st.sampled_from(["project_id", "user_id", "organization_id", "service_account_id"])
ID = str(UUID(int=7))


@pytest.fixture(scope="module")
def client() -> Iterator[Gitpod]:
    """A client of a real service in this process."""
    with Gitpod(base_url="sqlite://") as client:
        yield client


def planned(client: Gitpod, entries: list[Entry], scope: tuple[str, str], *, can_replace: bool) -> list[Item]:
    """Return what a dry run says."""
    owner: Any = {"scope": dict([scope])}
    stored = client.secrets.list(filter=owner, page_size=100)
    return compare(client, plan(entries, stored, scope, can_replace=can_replace), 2)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=SCOPES,
    drafts=st.lists(st.tuples(NAMES, VALUES, MOUNTS), min_size=1, max_size=4, unique_by=lambda draft: draft[0]),
    can_replace=st.booleans(),
)
def test_a_dry_run_says_what_an_import_does(
    client: Gitpod, kind: str, drafts: list[tuple[str, str, Mount]], *, can_replace: bool
) -> None:
    """Each plan that is no problem is carried out; the service refuses what is one, if it is sent all the same."""
    entries = [Entry(number, name, SecretValue(value), mount) for number, (name, value, mount) in enumerate(drafts, 1)]
    items = planned(client, entries, (kind, ID), can_replace=can_replace)
    outcomes = apply(client, items, 2)
    assert [each.outcome for each in outcomes] == [PAST.get(item.action, "failed") for item in items]
    for item, entry in zip(items, entries, strict=True):
        if item.action in PROBLEMS:
            sent: Any = {"scope": {kind: ID}, **entry.mount}
            with pytest.raises(GitpodError):
                client.secrets.put(name=entry.name, value=entry.value, **sent)
    again = planned(client, entries, (kind, ID), can_replace=can_replace)
    assert {item.action for item in again if item.action not in PROBLEMS} <= {"unchanged"}


def test_the_bound_of_the_service_is_the_plans() -> None:
    """The command cannot load the service, which may not be installed."""
    assert MAX_METADATA_BYTES == handlers.MAX_METADATA_BYTES


@pytest.mark.parametrize(("kind", "most"), [("project_id", 7_995), ("user_id", 8_033)])
@pytest.mark.parametrize("more", [0, 1])
def test_the_longest_path_is_planned_and_stored(client: Gitpod, kind: str, most: int, more: int) -> None:
    """The next longer one is neither."""
    entry = Entry(1, f"LONG_{more}".ljust(33, "_"), SecretValue("x"), {"file_path": "/" + "a" * (most + more)})
    [item] = planned(client, [entry], (kind, ID), can_replace=False)
    assert item.action == ("invalid" if more else "create")
    [outcome] = apply(client, [item], 1)
    assert outcome.outcome == ("failed" if more else "created")


@pytest.mark.parametrize("text", ["NAME=", "# mount: api-only\nNAME=", '{"NAME": ""}'])
def test_an_empty_value_is_only_created(client: Gitpod, text: str) -> None:
    """A value cannot be updated to an empty one."""
    lines, scope = load(text), ("user_id", str(UUID(int=len(text))))
    entries = [line for line in lines if isinstance(line, Entry)]
    [item] = planned(client, entries, scope, can_replace=True)
    assert apply(client, [item], 1)[0].outcome == "created"
    assert planned(client, entries, scope, can_replace=True)[0].action == "unchanged"
    assert shown(entries[0].mount) in ("env", "api-only")
