"""Data keys: rotated, re-encrypted and rewrapped, while clients go on."""

import re
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, replace
from itertools import pairwise

import pytest
from postgres import until
from tests.support.operators import KEY_IN_BASE64, KMS, PROJECT, VALUE, Place, client
from tests.support.service import TOKEN

from gitpod.server import operate
from gitpod.server.errors import ServiceError
from gitpod.server.keys.keyring import Keyring
from gitpod.server.keys.unlock import unlock
from gitpod.server.storage.rows import StoredSecret, audit_record
from gitpod.server.storage.store import Store
from gitpod.server.storage.transaction import Transaction


def traffic(url: str, stop: threading.Event) -> int:
    """Write and read until told to stop: every value is what it was last set to. Returns how often."""
    rounds = 0
    with client(TOKEN, url) as mine:
        name = f"N{uuid.uuid4().hex}"
        secret_id = mine.secrets.create(name=name, value="0", project_id=PROJECT, api_only=True).secret.id
        while not stop.wait(0.005):
            assert mine.secrets.get_value(secret_id=secret_id).value == str(rounds)
            rounds += 1
            mine.secrets.update_value(secret_id=secret_id, value=str(rounds))
    return rounds


def reading(url: str, ids: list[str], stop: threading.Event) -> int:
    """Read what is there until told to stop. Returns how often."""
    rounds = 0
    with client(TOKEN, url) as mine:
        while not stop.wait(0.005):
            assert mine.secrets.get_value(secret_id=ids[rounds % len(ids)]).value == VALUE
            rounds += 1
    return rounds


def fill(place: Place, count: int) -> list[str]:
    """Keep the marked value many times, and return the ids in their order."""
    with closing(Store(place.url)) as store:
        organization, kek = unlock(store, place.key)
        keyring = Keyring(kek, store.data_keys)
        bare = StoredSecret(
            organization_id=organization.id,
            id="",
            scope_kind="project_id",
            scope_id=PROJECT,
            name="",
            record=b"",
            key_id="",
            ciphertext=b"",
        )
        keyring.prepare(organization.id)
        rows = [replace(bare, id=str(uuid.uuid4()), name=f"NUM{index}") for index in range(count)]
        sealed = [replace(row, **asdict(keyring.seal(VALUE, row))) for row in rows]
        record = audit_record(organization.id, None, "Fill")

        def add(transaction: Transaction) -> None:
            for row in sealed:
                assert transaction.add(row)
            transaction.record(record)

        store.write(record, add)
    return sorted(row.id for row in rows)


def test_keys_are_rotated_while_clients_write_and_read(place: Place) -> None:
    """Every value is readable at every moment, though the reencryption is killed once; what was altered is left."""
    url = place.serve(GITPOD_API_KEY=TOKEN)
    broken, *ids = fill(place, 1000)
    place.sql("UPDATE secrets SET ciphertext = :made_up WHERE id = :id", made_up=b"\1" * 40, id=broken)
    stop = threading.Event()
    with ThreadPoolExecutor() as pool:
        clients = [pool.submit(traffic, url, stop), pool.submit(reading, url, ids, stop)]
        try:
            assert place.run("keys", "rotate").err == "gitpod-secrets: organizations with a new data key: 1\n"
            newest = place.newest_key()
            # Until then services may seal with the key before, which is why reencrypt would wait.
            until(lambda: place.sealed_by(newest, "N") > 0, "the service seals with the new key", 15)
            place.age_keys()
            process = place.start("keys", "reencrypt")
            until(lambda: place.sealed_by(newest, "NUM") > 0, "the first batch is done")
            process.kill()
            process.communicate(timeout=30)
            assert 0 < place.sealed_by(newest, "NUM") < len(ids)
            err = place.run("keys", "reencrypt", code=1).err
        finally:
            stop.set()
    assert f"gitpod-secrets: error: {broken}: its value was altered, and is left as it is\n" in err
    assert min(each.result() for each in clients) > 0
    left = place.sql("SELECT id, ciphertext FROM secrets WHERE key_id <> :newest", newest=newest)
    assert [(secret_id, bytes(ciphertext)) for secret_id, ciphertext in left] == [(broken, b"\1" * 40)]
    with client(TOKEN, url) as mine:
        assert {mine.secrets.get_value(secret_id=each).value for each in ids[::20]} == {VALUE}


def test_a_wait_is_said(kept: Place) -> None:
    """Otherwise the command would seem to hang after a rotation."""
    kept.run("keys", "rotate")
    process = kept.start("keys", "reencrypt")
    assert process.stderr
    said = process.stderr.readline()
    process.kill()
    process.communicate(timeout=30)
    assert re.fullmatch(r"gitpod-secrets: waiting \d+ s, until every service seals with the newest data key\n", said)
    kept.age_keys()
    assert "waiting" not in kept.run("keys", "reencrypt").err


def test_a_rotation_during_a_reencryption_does_not_keep_it_from_ending(kept: Place) -> None:
    """It moves each value at most to both keys."""
    moved = 0

    def progress(count: int) -> None:
        nonlocal moved
        moved += count
        assert moved <= 2

    with closing(Store(kept.url)) as store:
        operate.rotate(store, None)
        kept.age_keys()
        work = operate.Reencryption(store, None)
        operate.rotate(store, None)
        kept.age_keys()
        work.run(progress)
    assert kept.sealed_by(kept.newest_key()) == 1


def opens(place: Place, key: str) -> bool:
    """Whether a store opens by a key."""
    with closing(Store(place.url)) as store:
        try:
            unlock(store, key)
        except ServiceError:
            return False
        return True


def test_data_keys_move_from_key_to_key(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a file to the environment, to a command and to a file again, under a service that goes on."""
    script = place.folder / "kms.py"
    script.write_text(KMS)
    monkeypatch.setenv("KEK", KEY_IN_BASE64)
    keys = [f"file:{place.folder}/first", "env:KEK", f"command:{sys.executable} {script}", f"file:{place.folder}/last"]
    place.key = keys[0]
    url = place.serve(GITPOD_API_KEY=TOKEN)
    [secret_id] = fill(place, 1)
    sealed = place.sql("SELECT ciphertext FROM secrets")
    running = client(TOKEN, url)
    assert running.secrets.get_value(secret_id=secret_id).value == VALUE
    for old, new in pairwise(keys):
        place.key = old
        err = place.run("keys", "rewrap", "--to", new).err
        assert f"data keys wrapped anew: 1; from now on, use --key {new}" in err
        assert [opens(place, each) for each in (old, new)] == [False, True]
        assert running.secrets.get_value(secret_id=secret_id).value == VALUE
    running.close()
    place.key = keys[-1]
    with client(TOKEN, place.serve(GITPOD_API_KEY=TOKEN)) as mine:
        assert mine.secrets.get_value(secret_id=secret_id).value == VALUE
    assert place.sql("SELECT ciphertext FROM secrets") == sealed


def test_a_rotation_that_a_rewrap_overtakes_is_refused(kept: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than add a data key that the store's new key does not open."""
    script, gate = kept.folder / "kms.py", kept.folder / "gate"
    script.write_text(KMS)
    monkeypatch.setenv("KEK", KEY_IN_BASE64)
    key = f"command:{sys.executable} {script}"
    with closing(Store(kept.url)) as store:
        operate.rewrap(store, None, key)
    kept.key = key
    rotation = kept.start("keys", "rotate", GATE=str(gate))
    until(gate.exists, "the rotation has tried its key")
    with closing(Store(kept.url)) as store:
        operate.rewrap(store, key, "env:KEK")
    gate.unlink()
    _, err = rotation.communicate(timeout=60)
    assert opens(kept, "env:KEK"), err
    assert rotation.returncode == 2
