"""A store of an older version is brought to this one, with all that it holds."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, text
from tests.support.clock import clocked
from tests.support.service import TOKEN

from gitpod import Gitpod
from gitpod.server.caller import Role
from gitpod.server.keys.kek import unseal
from gitpod.server.keys.keyring import unwrap
from gitpod.server.keys.unlock import unlock
from gitpod.server.operate import create_token
from gitpod.server.storage.database import Database
from gitpod.server.storage.migrations import REVISION
from gitpod.server.storage.rows import AuditRecord, audit_record, columns
from gitpod.server.storage.store import Store
from gitpod_proto.gitpod.v1.identity_pb import Principal, Subject

PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
ADDED = ("sequence", "count", "token_id")
"""What revision 0002 added to the audit."""
ADDED_TO_TOKENS = ("expires_at", "note")
"""What revision 0003 added to the tokens."""


@pytest.fixture(autouse=True)
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of embedded stores."""
    monkeypatch.setenv("GITPOD_SECRETS_KEY", f"file:{tmp_path / 'key'}")


def embedded(url: str) -> Gitpod:
    """A client with the store in this process."""
    return Gitpod(bearer_token=TOKEN, base_url=url, max_retries=0)


def records(url: str) -> list[AuditRecord]:
    """Every audit record, in order."""
    with closing(Store(url)) as store:
        return store.audit(secret_id=None, since=0, limit=1000)


def change(url: str, *statements: str) -> None:
    """Run SQL on the database."""
    database = Database(url)
    with database.engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    database.close()


def add_as_0001(connection: Connection, record: AuditRecord) -> None:
    """Add a record as version 0.1.0 did."""
    kept = {name: value for name, value in columns(record).items() if name not in ADDED}
    names = ", ".join(kept)
    values = ", ".join(f":{name}" for name in kept)
    connection.execute(text(f"INSERT INTO audit ({names}) VALUES ({values})"), kept)  # noqa: S608 # the columns above


def make_0002(url: str) -> None:
    """Make a store one of revision 0002."""
    drops = [f"ALTER TABLE tokens DROP COLUMN {name}" for name in ADDED_TO_TOKENS]
    change(url, *drops, "UPDATE alembic_version SET version_num = '0002'")


def make_0001(url: str) -> list[str]:
    """Make a store of revision 0001. Returns the ids of its secrets."""
    with embedded(url) as client:
        ids = [
            client.secrets.create(
                name=f"N{number}_OLD", value=f"v{number}", project_id=PROJECT, api_only=True
            ).secret.id
            for number in range(3)
        ]
        client.secrets.update_value(secret_id=ids[0], value="changed")
    make_0002(url)
    drops = [f"ALTER TABLE audit DROP COLUMN {name}" for name in ADDED]
    change(url, *drops, "UPDATE alembic_version SET version_num = '0001'")
    return ids


def test_a_store_of_0001_is_brought_here_with_its_data(url: str) -> None:
    """Values open, lists and records are in order, and new records come after the old ones."""
    ids = make_0001(url)
    with closing(Store(url)) as store:
        assert store.revision() == "0001"
    with embedded(url) as client:
        assert [secret.id for secret in client.secrets.list()] == ids
        assert [client.secrets.get_value(secret_id=each).value for each in ids] == ["changed", "v1", "v2"]
    with closing(Store(url)) as store:
        assert store.revision() == REVISION
    found = records(url)
    actions = [record.action for record in found if record.action != "CreateOrganization"]
    assert actions == ["CreateSecret"] * 3 + ["UpdateSecretValue"] + ["GetSecretValue"] * 3
    assert {(record.count, record.token_id) for record in found} == {(1, "")}


def test_records_of_0001_stay_before_new_ones_whatever_their_clock_was(url: str) -> None:
    """Among themselves they have the order in which they were added; on PostgreSQL that of their clocks."""
    make_0001(url)
    database = Database(url)
    organization = records_organization(database)
    future = replace(audit_record(organization, None, "Future"), id=f"{10**17:016x}{'0' * 16}", at=10**17)
    with database.engine.begin() as connection:
        for record in (future, audit_record(organization, None, "Old")):
            add_as_0001(connection, record)
    database.close()
    with embedded(url) as client:
        client.secrets.create(name="NEW", value="v", project_id=PROJECT, api_only=True)
    before = ["Future", "Old"] if url.startswith("sqlite:") else ["Old", "Future"]
    assert [record.action for record in records(url)[-3:]] == [*before, "CreateSecret"]


def test_a_token_of_0002_stays_valid(url: str, tmp_path: Path) -> None:
    """Its row is not rewritten, and the signature that it has is the one of then."""
    key = f"file:{tmp_path / 'key'}"
    with closing(Store(url)) as store:
        who = Subject(id=str(uuid4()), principal=Principal.USER)
        token, _ = create_token(store, key, who, Role.ADMIN, frozenset(), None)
    make_0002(url)
    with (
        clocked(url, tmp_path, tmp_path / "key") as service,
        Gitpod(bearer_token=token, base_url=service.url) as client,
    ):
        assert client.secrets.list().secrets == []
    with closing(Store(url)) as store:
        [kept] = store.tokens()
        kek = unlock(store, key)[1]
        [data_key] = store.data_keys(kept.organization_id)
        assert (store.revision(), kept.expires_at, kept.note) == (REVISION, None, "")
    parts = ("gitpod-token-1", kept.organization_id, kept.id, kept.digest.hex(), who.id, "2", "admin", "")
    signed = "\0".join((*parts, str(kept.created_at))).encode()
    assert unseal(AESGCM(unwrap(kek, data_key)), kept.tag, signed) == b""


def records_organization(database: Database) -> str:
    """The store's own organization."""
    with database.engine.connect() as connection:
        return str(connection.scalar(text("SELECT id FROM organizations")))


def test_an_older_service_may_go_on_writing(url: str) -> None:
    """While replicas are replaced one by one: it knows nothing of the new columns."""
    with embedded(url) as client:
        made = client.secrets.create(name="NAME", value="v", project_id=PROJECT, api_only=True).secret
    database = Database(url)
    organization = records_organization(database)
    with database.engine.begin() as connection:
        add_as_0001(connection, audit_record(organization, None, "Old", secret_id=made.id))
    database.close()
    with embedded(url) as client:
        client.secrets.delete(secret_id=made.id)
    *_, created, old, deleted = records(url)
    assert [created.action, old.action, deleted.action] == ["CreateSecret", "Old", "DeleteSecret"]
    assert (old.count, old.token_id) == (1, "")
