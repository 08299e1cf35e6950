"""Keys and sealed values in a store: what is missing, altered or moved does not open."""

import os
import sqlite3
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.embedded import UUID, VALUE, embedded, keep

import gitpod
from gitpod import GitpodError
from gitpod.server.keys.kek import SealError, random_key
from gitpod.server.keys.keyring import Keyring, new_data_key
from gitpod.server.storage.rows import StoredSecret


def test_a_missing_key_is_said_and_not_replaced(path: Path) -> None:
    """A new key would seal new values and lose the old ones for good."""
    with embedded(path) as client:
        keep(client)
    key = path.with_name("secrets.db.key")
    key.unlink()
    with pytest.raises(GitpodError, match=r"the key file .*secrets\.db\.key is missing"), embedded(path) as client:
        client.secrets.list()
    assert not key.exists()


def test_secrets_without_any_key_are_said(path: Path) -> None:
    """A store that has secrets is not new, whatever else it lost."""
    with embedded(path) as client:
        keep(client)
    path.with_name("secrets.db.key").unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM data_keys")
    connection.close()
    with pytest.raises(GitpodError, match="is missing, and without it the values"), embedded(path) as client:
        client.secrets.list()


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "binary"])
def test_a_key_file_that_is_none_is_refused(path: Path, kind: str) -> None:
    """At once, and by name."""
    key = path.with_name("secrets.db.key")
    match kind:
        case "folder":
            key.mkdir()
        case "pipe":
            os.mkfifo(key, 0o600)
        case "link":
            key.symlink_to(path.with_name("elsewhere"))
        case _:
            key.write_bytes(b"\xff" * 32)
            key.chmod(0o600)
    with pytest.raises(GitpodError, match=r"secrets\.db\.key (is not|as) a key file"), embedded(path) as client:
        client.secrets.list()


@pytest.mark.slow
@pytest.mark.parametrize("change", ["ciphertext = x'00'", "key_id = 'another'", "ciphertext = zeroblob(64)"])
def test_an_altered_row_does_not_open(path: Path, change: str) -> None:
    """Whatever is left of it."""
    with embedded(path) as client:
        secret_id = keep(client)
        with sqlite3.connect(path) as connection:
            connection.execute(f"UPDATE secrets SET {change}")  # noqa: S608 # from the table above
        connection.close()
        with pytest.raises(gitpod.InternalServerError, match="data_loss: the value was altered"):
            client.secrets.get_value(secret_id=secret_id)


def test_another_key_is_refused(path: Path, tmp_path: Path) -> None:
    """Before anything is read or written."""
    with embedded(path) as client, embedded(tmp_path / "other.db") as other:
        keep(client)
        keep(other)
    (tmp_path / "other.db.key").replace(path.with_name("secrets.db.key"))
    with pytest.raises(GitpodError, match="is not the one that this store was made with"), embedded(path) as client:
        client.secrets.list()


@pytest.mark.parametrize(
    ("content", "mode", "message"), [("x", 0o600, "is not a key file"), (None, 0o640, "chmod 600")]
)
def test_a_bad_key_file_is_refused(path: Path, content: str | None, mode: int, message: str) -> None:
    """One that is none, or that others can read."""
    with embedded(path) as client:
        keep(client)
    key = path.with_name("secrets.db.key")
    key.write_text(content if content is not None else key.read_text())
    key.chmod(mode)
    with pytest.raises(GitpodError, match=message), embedded(path) as client:
        client.secrets.list()


def test_a_ciphertext_in_another_row_does_not_open(path: Path) -> None:
    """It fails closed, and says nothing of what it held."""
    with embedded(path) as client:
        first, second = keep(client, "FIRST"), keep(client, "SECOND")
        with sqlite3.connect(path) as connection:
            connection.execute(
                "UPDATE secrets SET ciphertext = (SELECT ciphertext FROM secrets WHERE id = ?) WHERE id = ?",
                (first, second),
            )
        connection.close()
        assert client.secrets.get_value(secret_id=first).value == VALUE
        with pytest.raises(gitpod.InternalServerError, match="was altered, or sealed for another secret") as caught:
            client.secrets.get_value(secret_id=second)
        assert caught.value.code == "data_loss"


BARE = StoredSecret(
    organization_id=UUID,
    id=UUID,
    scope_kind="project_id",
    scope_id=UUID,
    name="NAME",
    record=b"r",
    key_id="",
    ciphertext=b"",
)


@settings(deadline=None)  # speed is measured elsewhere
@given(st.text(), st.uuids().map(str), st.binary())
def test_a_seal_opens_for_its_row_alone(value: str, other: str, record: bytes) -> None:
    """Whatever the value, and whichever part of the row differs."""
    kek = random_key()
    data_key = new_data_key(kek, UUID)
    keyring = Keyring(kek, lambda organization_id: [new_data_key(kek, organization_id), data_key])
    keyring.prepare(UUID)
    keyring.prepare(other)
    kept = replace(BARE, **asdict(keyring.seal(value, BARE)))
    assert keyring.open(kept) == value
    for wrong in (
        replace(kept, organization_id=other),
        replace(kept, scope_kind="user_id"),
        replace(kept, scope_id=other),
        replace(kept, id=other),
        replace(kept, record=b"r" + record + b"."),
    ):
        keyring.fetch(wrong.organization_id, wrong.key_id)
        with pytest.raises(SealError):
            keyring.open(wrong)


def test_a_key_file_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """By name, and with the reason of the system."""
    with pytest.raises(GitpodError, match=r"cannot use .*\.key as a key file: File name too long"):
        embedded(tmp_path / f"{'x' * 225}.db").secrets.list()
