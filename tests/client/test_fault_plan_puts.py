"""Puts under random faults of `gitpod.testing` leave one secret, with the last value."""

from contextlib import closing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.faults import KINDS
from tests.support.service import TOKEN
from tests.support.ways import UUID as PROJECT

import gitpod
from gitpod import Gitpod
from gitpod._rpc import retry
from gitpod.server.app import Embedded
from gitpod.testing import FaultKind, FaultPlan

FAULTS = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        st.sampled_from(["CreateSecret", "ListSecrets", "UpdateSecretValue", "DeleteSecret"]),
        st.integers(1, 4),
        st.sampled_from([0.3, 1.0]),
    ),
    max_size=6,
)
MOUNTS: list[dict[str, Any]] = [{"environment_variable": True}, {"file_path": "/etc/secret"}]


@settings(max_examples=200, deadline=None)
@given(
    faults=FAULTS,
    seed=st.integers(0, 99),
    puts=st.lists(st.tuples(st.sampled_from(["one", "two", "three"]), st.sampled_from(MOUNTS)), min_size=1, max_size=4),
)
def test_puts_leave_one_secret_with_the_last_value(
    faults: list[tuple[FaultKind, str, int, float]], seed: int, puts: list[tuple[str, dict[str, Any]]]
) -> None:
    """Whatever the faults: a put that is repeated until it succeeds, and errors that tell the truth until then."""
    plan = FaultPlan(seed=seed)
    for kind, rpc, times, chance in faults:
        plan.add(kind, rpc, times=times, chance=chance, retry_after="0")
    with pytest.MonkeyPatch.context() as patch, closing(Embedded("sqlite://")) as service:
        patch.setattr(retry, "FIRST_DELAY", 0.0)
        calm = Gitpod(bearer_token=TOKEN, http_client=service.wsgi)
        client = plan.aim(Gitpod(bearer_token=TOKEN, http_client=service.wsgi))
        for value, mount in puts:
            wanted = [("NAME", value, mount.get("file_path"))]
            while True:
                before = stored(calm)
                try:
                    client.secrets.put(name="NAME", value=value, project_id=PROJECT, replace=True, **mount)
                except gitpod.APIError as error:
                    # Replacing goes by way of nothing; the error says so, and that its outcome is unknown.
                    possible = [before, wanted, []] if error.outcome == "unknown" else [before]
                    assert stored(calm) in possible
                else:
                    break
            assert stored(calm) == wanted


def stored(calm: Gitpod) -> list[tuple[str, str, str | None]]:
    """What the service has, asked past the faults."""
    return [
        (secret.name, calm.secrets.get_value(secret_id=secret.id).reveal(), secret.file_path)
        for secret in calm.secrets.list()
    ]
