"""A store in a file: what survives, what is private, and what cannot be opened."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.embedded import UUID, VALUE, embedded, keep
from tests.support.service import ROOT, TOKEN, serve

import gitpod
from gitpod import Gitpod, GitpodError
from gitpod.server.storage import limits


def test_the_snippet_runs_twice(path: Path) -> None:
    """The documented program stores its secret; run again, the name is taken."""
    environment = os.environ | {"GITPOD_API_KEY": "dev", "GITPOD_BASE_URL": f"sqlite:///{path}"}
    command = [sys.executable, str(ROOT / "examples/snippet.py")]
    first = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert first.stdout.startswith("Secret(id=")
    assert "name='DATABASE_URL', environment_variable=True" in first.stdout
    second = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert "gitpod.errors.ConflictError: already_exists: name: is taken in this scope" in second.stderr
    assert "user:pass" not in first.stdout + second.stdout


def test_a_store_that_has_its_tables_needs_no_sqlalchemy(path: Path) -> None:
    """Which takes longer to load than a call takes."""
    program = (
        "import sys\nfrom gitpod import Gitpod\n"
        f"id = Gitpod().secrets.create(name=sys.argv[1], value='v', project_id='{UUID}', api_only=True).secret.id\n"
        "assert Gitpod().secrets.get_value(secret_id=id).value == 'v'\n"
        "print('sqlalchemy' in sys.modules, 'alembic' in sys.modules)"
    )
    environment = os.environ | {"GITPOD_API_KEY": "dev", "GITPOD_BASE_URL": f"sqlite:///{path}"}
    for name, expected in (("NEW", "True True"), ("OLD", "False False")):
        command = [sys.executable, "-c", program, name]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == expected


def test_an_acknowledged_create_survives_kill_9(path: Path) -> None:
    """Every one of them, killed in mid-stream; the store opens again without repair."""
    acknowledged: list[str] = []
    service = serve(path)
    client = Gitpod(bearer_token=TOKEN, base_url=service.url, max_retries=0)

    def stream() -> None:
        try:
            while True:
                acknowledged.append(keep(client, f"NUM{len(acknowledged)}"))
        except gitpod.APIConnectionError:
            return

    thread = threading.Thread(target=stream)
    thread.start()
    while len(acknowledged) < 20:
        thread.join(0.01)
    assert service.stop(signal.SIGKILL) == -signal.SIGKILL
    thread.join()
    client.close()
    again = serve(path)
    with Gitpod(bearer_token=TOKEN, base_url=again.url) as reader:
        kept = {secret.id for secret in reader.secrets.list(page_size=100)}
        assert set(acknowledged) <= kept
        # At most the one that was under way when the process died.
        assert len(kept) <= len(acknowledged) + 1
        assert reader.secrets.get_value(secret_id=acknowledged[-1]).value == VALUE
    assert again.stop() == 0
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_no_value_is_in_any_file(path: Path) -> None:
    """Neither in the database nor in its log, before or after it is folded in."""
    with embedded(path) as client:
        secret_id = keep(client)
        client.secrets.update_value(secret_id=secret_id, value=VALUE * 2)
        files = {file.name: file.read_bytes() for file in path.parent.iterdir()}
        assert f"{path.name}-wal" in files
        assert all(VALUE.encode() not in content for content in files.values())
    assert all(VALUE.encode() not in file.read_bytes() for file in path.parent.iterdir())


def test_its_files_are_private(path: Path) -> None:
    """0600, whatever the umask."""
    before = os.umask(0)
    try:
        with embedded(path) as client:
            keep(client)
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("secrets.db", "secrets.db-wal", "secrets.db-shm", "secrets.db.key"), 384)


def test_four_processes_open_a_new_store_at_once(path: Path) -> None:
    """One of them makes it, and all of them can read what each wrote."""
    program = (
        "import sys\nfrom gitpod import Gitpod\n"
        f"Gitpod().secrets.create(name='BY_' + sys.argv[1], value='v', project_id='{UUID}', api_only=True)"
    )
    environment = os.environ | {"GITPOD_API_KEY": "dev", "GITPOD_BASE_URL": f"sqlite:///{path}"}
    running = [subprocess.Popen([sys.executable, "-c", program, str(number)], env=environment) for number in range(4)]
    assert [process.wait(timeout=60) for process in running] == [0, 0, 0, 0]
    with embedded(path) as client:
        secrets = list(client.secrets.list())
        assert sorted(secret.name for secret in secrets) == ["BY_0", "BY_1", "BY_2", "BY_3"]
        assert {client.secrets.get_value(secret_id=secret.id).value for secret in secrets} == {"v"}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:////nowhere/at/all.db", "cannot open /nowhere/at/all.db: No such file or directory"),
        ("sqlite:////tmp", "cannot open /tmp: Is a directory"),
    ],
)
def test_a_store_that_cannot_be_is_said(url: str, message: str) -> None:
    """By the first call, with the option's name."""
    with pytest.raises(GitpodError) as caught:
        Gitpod(bearer_token=TOKEN, base_url=url).secrets.list()
    assert str(caught.value).startswith(f"base_url: {message}")


def test_a_file_that_is_no_database_is_said(path: Path) -> None:
    """And left as it is."""
    path.write_text("not a database, but long enough to be taken for a header of one")
    with pytest.raises(GitpodError, match="file is not a database"):
        embedded(path).secrets.list()
    assert path.read_text().startswith("not a database")


def test_a_locked_store_is_shed_and_tried_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another process writes, nothing is written, and the error says so."""
    monkeypatch.setattr(limits, "BUSY_TIMEOUT", 0.05)
    with embedded(path).with_options(max_retries=1) as client:
        keep(client)
        with sqlite3.connect(path, isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(gitpod.InternalServerError, match="the store is busy") as caught:
                keep(client, "LOCKED")
            other.execute("ROLLBACK")
        other.close()
        assert (caught.value.code, caught.value.outcome, caught.value.attempts) == ("unavailable", "rejected", 2)
        keep(client, "LOCKED")


def test_a_store_that_is_locked_when_it_is_opened_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If there was something to write first; and whatever was asked, was not done."""
    monkeypatch.setattr(limits, "BUSY_TIMEOUT", 0.05)
    with closing(sqlite3.connect(path)) as new:
        new.execute("PRAGMA journal_mode=WAL")
    with sqlite3.connect(path, isolation_level=None) as other, embedded(path) as client:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(gitpod.APIConnectionError, match="the store is busy; nothing was written") as caught:
            keep(client, "LOCKED")
        assert (caught.value.outcome, caught.value.code) == ("not_sent", "unavailable")
        other.execute("ROLLBACK")
        keep(client, "LOCKED")
    other.close()


def test_a_store_that_fails_is_an_internal_error(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The outcome is not known, and neither the answer nor the log says more than where it failed."""
    with embedded(path) as client:
        keep(client)
        with sqlite3.connect(path) as other:
            other.execute("DROP TABLE secrets")
        other.close()
        with pytest.raises(gitpod.InternalServerError, match="internal error; the service's log has request") as caught:
            keep(client, "FAILED")
    assert (caught.value.code, caught.value.outcome, caught.value.attempts) == ("internal", "unknown", 1)
    assert caught.value.request_id
    assert caught.value.request_id in caplog.text
    assert "CreateSecret: OperationalError" in caplog.text
    assert VALUE not in caplog.text


def test_creation_order_survives_a_clock_that_steps_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that starts after the newest secret misses none that comes later, whichever process writes it."""
    with embedded(path) as client, embedded(path) as other:
        made = [keep(client, "FIRST")]
        monkeypatch.setattr("gitpod.server.storage.transaction.now", lambda: 1)
        made += [keep(other, "SECOND"), keep(client, "THIRD")]
        assert [secret.id for secret in client.secrets.list(page_size=1)] == made
