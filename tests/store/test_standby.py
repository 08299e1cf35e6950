"""An answer promises that a standby has the change, where PostgreSQL is set to wait for one."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import LiteralString

import pytest
from postgres import MISSING, SUPERUSER, Cluster, binaries, until
from tests.support.storage import VALUE, embedded, keep

import gitpod
from gitpod.server.storage import limits

WAITING: LiteralString = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
ENDS: dict[str, LiteralString] = {
    "terminated": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
    "cancelled": "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
}
SHOWN: LiteralString = "SELECT 1 FROM secrets WHERE name = 'STUCK'"

pytestmark = pytest.mark.skipif(binaries() is None, reason=MISSING)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("returns", [False, True], ids=["no standby", "a standby returns"])
def test_a_commit_that_stopped_waiting_is_not_taken_for_a_replicated_one(
    *, returns: bool, end: str, tmp_path: Path, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL shows a change whose wait was broken off, though a failover would lose it."""
    monkeypatch.setenv("GITPOD_SECRETS_KEY", f"file:{tmp_path / 'key'}")
    monkeypatch.setattr(limits, "SETTLE_TIMEOUT", 60.0 if returns else 3.0)
    with Cluster() as primary:
        primary.create_database("secrets")
        # A user without rights of its own.
        primary.execute("CREATE ROLE service LOGIN")
        primary.execute("ALTER DATABASE secrets OWNER TO service")
        url = primary.url("secrets").replace(f"{SUPERUSER}@", "service@")
        with embedded(url) as client, ThreadPoolExecutor(1) as pool, primary.standby() as standby:
            keep(client, project)
            standby.kill()
            stuck = pool.submit(keep, client, project, "STUCK")
            until(lambda: primary.execute(WAITING) != [], "its commit waits")
            primary.execute(ENDS[end])
            until(lambda: primary.execute(SHOWN, "secrets") != [], "the change is shown")
            if returns:
                until(lambda: primary.execute(WAITING) != [], "it is asked for again")
                standby.start()
                assert client.secrets.get_value(secret_id=stuck.result(60)).value == VALUE
                return
            error = stuck.exception(60)
            assert isinstance(error, gitpod.InternalServerError)
            assert (error.code, error.outcome) == ("internal", "unknown")
