"""The commands of those who operate a store: tokens, records, migrations and keys, each as a process."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from postgres import until
from sqlalchemy import text
from tests.support.service import TOKEN

import gitpod
from gitpod import Gitpod, GitpodError
from gitpod.server import operate
from gitpod.server.auth import Role
from gitpod.server.errors import ServiceError
from gitpod.server.keys.keyring import Keyring
from gitpod.server.keys.unlock import unlock
from gitpod.server.storage.database import Database
from gitpod.server.storage.rows import StoredSecret, audit_record
from gitpod.server.storage.store import Store, Transaction
from gitpod_proto.gitpod.v1.identity_pb import Principal, Subject

COMMAND = [sys.executable, "-c", "from gitpod.cli import main; main()"]
PROJECT = str(uuid.uuid4())
VALUE = "canary-value-7f3a"
KEY_IN_BASE64 = "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI="
OTHERS = "is not the one that this store was made with"
KMS = """
import base64, os, sys, time
given, bound = sys.stdin.buffer.read(), os.environ["GITPOD_ASSOCIATED_DATA"].encode()
if sys.argv[1] == "wrap":
    print("kms:" + base64.b64encode(bound + b"." + base64.b64decode(given)).decode())
else:
    context, _, plain = base64.b64decode(given.removeprefix(b"kms:")).partition(b".")
    sys.exit("another context") if context != bound else print(base64.b64encode(plain).decode())
    if gate := os.environ.pop("GATE", None):
        os.close(os.open(gate, os.O_CREAT))
        while os.path.exists(gate):
            time.sleep(0.01)
"""
"""What stands for a KMS: as every KMS, it refuses what was wrapped in another context. GATE names a file that
it makes once it has unwrapped, and whose removal it waits for."""


@dataclass
class Done:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[list[str]]:
        """The fields of each line of a table."""
        return [line.split("\t") for line in self.out.splitlines()]


@dataclass
class Place:
    """A store of either kind, and the folder of its keys."""

    url: str
    folder: Path
    key: str | None = None
    environment: dict[str, str] = field(default_factory=dict[str, str])
    serving: list[subprocess.Popen[str]] = field(default_factory=list[subprocess.Popen[str]])

    def start(self, *arguments: str, stderr: Any = subprocess.PIPE, **environment: str) -> subprocess.Popen[str]:
        """Start a command on the store."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GITPOD_")}
        key = {"GITPOD_SECRETS_KEY": self.key} if self.key else {}
        given = inherited | {"GITPOD_SECRETS_STORE": self.url} | key | self.environment | environment
        return subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=stderr, text=True, env=given)

    def run(self, *arguments: str, code: int = 0, **environment: str) -> Done:
        """Run a command on the store to its end, which is expected."""
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=60)
        assert process.returncode == code, err
        assert "Traceback" not in err
        return Done(process.returncode, out, err)

    def refusals(self, commands: list[list[str]]) -> list[str]:
        """What commands say that fail, run at the same time."""
        with ThreadPoolExecutor() as pool:
            running = [pool.submit(self.run, *command, code=2) for command in commands]
        return [each.result().err for each in running]

    def serve(self, **environment: str) -> str:
        """Serve it until the test ends, and return the URL."""
        log = self.folder / "service.log"
        with log.open("a") as stderr:
            process = self.start("serve", "--port", "0", stderr=stderr, **environment)
        self.serving.append(process)
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("export GITPOD_BASE_URL="), log.read_text()
        return line.split("=", 1)[1].strip()

    def stop(self) -> None:
        """End what serves it."""
        for process in self.serving:
            process.send_signal(signal.SIGTERM)
        for process in self.serving:
            process.communicate(timeout=30)
        self.serving.clear()

    def sql(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        """The rows of a statement."""
        database = Database(self.url)
        try:
            with database.engine.begin() as connection:
                found = connection.execute(text(statement), values)
                return [tuple(row) for row in found] if found.returns_rows else []
        finally:
            database.engine.dispose()

    def snapshot(self) -> dict[str, object]:
        """All that is kept: the bytes of each file, or the rows of each table, in any order."""
        if self.url.startswith("sqlite:"):
            return {file.name: file.read_bytes() for file in sorted(self.folder.iterdir()) if file.is_file()}
        tables = self.sql("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        rows = {name: self.sql(f'SELECT * FROM "{name}"') for (name,) in tables}  # noqa: S608 # the catalogue's names
        return {name: sorted(map(repr, found)) for name, found in rows.items()}

    def age_keys(self) -> None:
        """Make the data keys older than services take to use them."""
        self.sql("UPDATE data_keys SET created_at = created_at - 60000000")

    def sealed_by(self, key_id: str, names: str = "") -> int:
        """How many values a data key seals, of the secrets whose names begin so."""
        statement = "SELECT count(*) FROM secrets WHERE key_id = :key_id AND name LIKE :names"
        return int(self.sql(statement, key_id=key_id, names=f"{names}%")[0][0])

    def newest_key(self) -> str:
        """The id of the newest data key."""
        return str(self.sql("SELECT id FROM data_keys ORDER BY created_at DESC, id DESC LIMIT 1")[0][0])


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A store of either kind that does not exist yet."""
    if request.param == "sqlite":
        made = Place(f"sqlite:///{tmp_path}/secrets.db", tmp_path)
    else:
        made = Place(request.getfixturevalue("database_url"), tmp_path, f"file:{tmp_path}/key")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a store that has a secret and a token, and the secret's id."""
    folder = tmp_path_factory.mktemp("template")
    with Gitpod(bearer_token="any", base_url=f"sqlite:///{folder}/secrets.db") as client:
        made = client.secrets.create(name="KEPT", value=VALUE, project_id=PROJECT, api_only=True).secret
        client.secrets.get_value(secret_id=made.id)
    return folder, made.id


@pytest.fixture
def kept(template: tuple[Path, str], tmp_path: Path) -> Place:
    """A copy of that store."""
    folder = tmp_path / "store"
    shutil.copytree(template[0], folder)
    return Place(f"sqlite:///{folder}/secrets.db", folder)


def client(token: str, url: str) -> Gitpod:
    """A client of a service or a store."""
    return Gitpod(bearer_token=token, base_url=url, max_retries=0)


def test_a_token_lives_from_its_making_to_its_end(place: Place) -> None:
    """Made before the store is ever served, it is used, listed without its secret, and revoked."""
    made = place.run("token", "create", "--role", "member", "--project", PROJECT)
    token = made.out.strip()
    match = re.search(r"token (\S+) for user (\S+); it is shown this once", made.err)
    assert match
    token_id, subject = match.groups()
    url = place.serve()
    with client(token, url) as member:
        secret = member.secrets.create(name="NAME", value="v", project_id=PROJECT, api_only=True).secret
        assert secret.creator
        assert secret.creator.id == subject
        listed = place.run("token", "list")
        assert [row[:5] for row in listed.lines[1:]] == [[token_id, "member", "user", subject, PROJECT]]
        [(digest,)] = place.sql("SELECT digest FROM tokens")
        for shown in (token.split("_", 2)[2], bytes(digest).hex(), "digest"):
            assert shown not in listed.out
        assert place.run("token", "revoke", str(uuid.uuid4()), code=1).err.startswith("gitpod-secrets: error: there is")
        place.run("token", "revoke", token_id)
        until(lambda: is_refused(member), "the token is refused", 5)
    actions = [action for (action,) in place.sql("SELECT action FROM audit ORDER BY id")]
    assert actions == ["CreateToken", "CreateSecret", "RevokeToken"]


def is_refused(member: Gitpod) -> bool:
    """Whether a token is not known."""
    try:
        member.secrets.list()
    except gitpod.AuthenticationError:
        return True
    return False


def test_tokens_are_listed_as_json_too(kept: Place) -> None:
    """The same, and when they were revoked."""
    with closing(Store(kept.url)) as store:
        subject = Subject(id=str(uuid.uuid4()), principal=Principal.RUNNER)
        token, stored = operate.create_token(store, None, subject, Role.ADMIN, frozenset(), None)
        operate.revoke_token(store, stored.id)
    done = kept.run("token", "list", "--json")
    [row] = [json.loads(line) for line in done.out.splitlines()]
    assert (row["id"], row["role"], row["principal"], row["projects"]) == (stored.id, "admin", "runner", "")
    assert row["revoked_at"] >= row["created_at"]
    assert token not in done.out
    assert not {"digest", "token"} & set(row)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--role", "owner"], "'owner' is not one of"),
        (["--role", "admin", "--project", PROJECT], "an admin reaches every project"),
        (["--role", "environment"], "so it needs one"),
        (["--role", "member", "--project", "mine"], "'mine' is not a valid UUID"),
    ],
)
def test_a_token_that_makes_no_sense_is_refused(kept: Place, arguments: list[str], message: str) -> None:
    """Before the store is touched."""
    before = kept.snapshot()
    assert message in kept.run("token", "create", *arguments, code=2).err
    assert kept.snapshot() == before


def test_records_are_shown(kept: Place, template: tuple[Path, str]) -> None:
    """Oldest first, of one secret or from a time on, the newest of them, and as JSON; values are in none."""
    kept.sql("UPDATE audit SET at = 1000000 WHERE action = 'CreateSecret'")
    secret_id = template[1]
    shown = kept.run("audit")
    assert shown.lines[0][:4] == ["at", "principal", "subject_id", "action"]
    assert [row[3] for row in shown.lines[1:]] == ["CreateSecret", "GetSecretValue"]
    assert all(row[4:7] == [secret_id, "project_id", PROJECT] and row[7] == "ok" for row in shown.lines[1:])
    assert shown.lines[1][0] == "1970-01-01T00:00:01.000+00:00"
    assert VALUE not in shown.out
    narrowed = {
        ("--secret", secret_id): ["CreateSecret", "GetSecretValue"],
        ("--secret", str(uuid.uuid4())): [],
        ("--since", "1970-01-01T00:00:02"): ["GetSecretValue"],
        ("--limit", "1"): ["GetSecretValue"],
    }
    with ThreadPoolExecutor() as pool:
        running = [pool.submit(kept.run, "audit", "--json", *options) for options in narrowed]
    answers = [[json.loads(line)["action"] for line in each.result().out.splitlines()] for each in running]
    assert answers == list(narrowed.values())


def test_a_schema_is_made_once(place: Place) -> None:
    """Also before there is a key, and a second run changes nothing."""
    place.run("migrate")
    assert place.sql("SELECT count(*) FROM organizations") == [(0,)]
    before = place.snapshot()
    assert place.run("migrate").err == "gitpod-secrets: the schema is current\n"
    assert place.snapshot() == before
    with closing(Store(place.url)) as store:
        assert unlock(store, place.key)[0].id == store.organizations()[0]


def wrong(place: Place, how: str) -> str | None:
    """Make the key of a store a wrong one; what to name it by."""
    path = place.folder / "secrets.db.key"
    match how:
        case "missing":
            path.unlink()
        case "open to others":
            path.chmod(0o640)
        case "another store's":
            other = place.folder.with_name("other.db")
            with client("any", f"sqlite:///{other}") as another:
                another.secrets.list()
            other.with_name("other.db.key").replace(path)
        case _:
            return how
    return None


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "secrets.db.key is missing, and without it the values of this store are lost"),
        ("open to others", "secrets.db.key is open to other users; chmod 600 it"),
        ("another store's", OTHERS),
        ("env:OTHER_KEY", f"the key in OTHER_KEY {OTHERS}"),
        ("env:NO_KEY", "the key's environment variable NO_KEY is not set"),
        ("env:BAD_KEY", "the environment variable BAD_KEY does not hold a key: 32 bytes in base64"),
        ("command:false", "false unwrap ended with status 1"),
        ("command:", "the key's command is missing"),
        ("secrets.db.key", "the key must be file:PATH, env:NAME or command:COMMAND"),
    ],
)
def test_a_wrong_key_is_refused_and_nothing_written(kept: Place, how: str, message: str) -> None:
    """By the service and by what changes keys, each in a line that says why."""
    kept.key = wrong(kept, how)
    kept.environment = {"OTHER_KEY": KEY_IN_BASE64, "BAD_KEY": "short"}
    before = kept.snapshot()
    rare = [["keys", "reencrypt"], ["keys", "rewrap", "--to", "file:new"], ["keys", "rotate"]]
    rare += [["token", "create", "--role", "admin", "--organization", str(uuid.uuid4())]]
    for err in kept.refusals([["serve", "--port", "0"], *(rare if how == "another store's" else [])]):
        assert err.startswith("gitpod-secrets: error: ")
        assert message in err
        assert err.count("\n") == 1
    assert kept.snapshot() == before


def test_postgresql_needs_a_key(database_url: str, tmp_path: Path) -> None:
    """That somebody names, and that is its own; until then there is not even a schema."""
    place = Place(database_url, tmp_path)
    for key, message in (("", "a store on PostgreSQL needs a key"), ("env:NO_KEY", "variable NO_KEY is not set")):
        assert message in place.run("serve", "--port", "0", code=2, GITPOD_SECRETS_KEY=key).err
    assert place.snapshot() == {}
    with closing(Store(database_url)) as store:
        unlock(store, f"file:{tmp_path}/key")
    before = place.snapshot()
    assert before
    assert OTHERS in place.run("serve", "--port", "0", code=2, GITPOD_SECRETS_KEY="env:K", K=KEY_IN_BASE64).err
    assert place.snapshot() == before


NEWER = "the store is from a newer version of gitpod-connect: its schema is 9999"
OPERATIONS = [
    ["serve", "--port", "0"],
    ["migrate"],
    ["token", "create", "--role", "admin"],
    ["token", "list"],
    ["token", "revoke", PROJECT],
    ["keys", "rotate"],
    ["keys", "reencrypt"],
    ["keys", "rewrap", "--to", "file:new"],
    ["audit"],
]


@pytest.mark.parametrize("commands", [OPERATIONS[:3], OPERATIONS[3:]], ids=["making", "using"])
def test_a_newer_schema_is_refused(kept: Place, commands: list[list[str]]) -> None:
    """By whatever opens it, with the reason, and it stays as it is."""
    kept.sql("UPDATE alembic_version SET version_num = '9999'")
    before = kept.snapshot()
    for err in kept.refusals(commands):
        assert err.startswith(f"gitpod-secrets: error: {NEWER}")
    assert kept.snapshot() == before


def test_a_newer_schema_is_refused_in_process(kept: Place) -> None:
    """By the client's first call."""
    kept.sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(GitpodError, match=f"base_url: {NEWER}"), client("any", kept.url) as embedded:
        embedded.secrets.list()


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
