"""Every line of the bench runs. Its numbers mean nothing here, as each way is measured once, for a moment."""

from pathlib import Path

import pytest
from bench.__main__ import LINES, one
from bench.environments import Environments
from bench.plan import tiny
from postgres import binaries

ELSEWHERE = ("gitpod-sdk", "aiohttp", "uvicorn")
"""What the environment of development does not have."""

MAY_BE_ZERO = {"user", "system"}
"""Parts of the processor time that the kernel counts in hundredths of a second."""


@pytest.mark.parametrize("key", LINES)
def test_a_line_gives_numbers(key: str, tmp_path: Path) -> None:
    """For each way whose peer is here; it names the others."""
    found = one(key, tiny(Environments(tmp_path / "peers", installs=False), tmp_path))
    reasons = set(found.missing.values())
    if reasons <= {"serve has no option --workers", "PostgreSQL is not installed"} and reasons:
        assert key == "workers" or binaries() is None
        pytest.skip(f"left out: {', '.join(reasons)}")
    assert [way for way in found.missing if not any(peer in way for peer in ELSEWHERE)] == [], found.missing
    assert found.ways
    for way, measures in found.ways.items():
        assert measures
        for measure, spread in measures.items():
            assert spread.low > 0 or measure in MAY_BE_ZERO, (way, measure)


def test_a_line_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others go on."""

    def broken(_: object) -> None:
        raise RuntimeError("the service did not start")

    monkeypatch.setitem(LINES, "sync", broken)
    found = one("sync", tiny(Environments(tmp_path, installs=False), tmp_path))
    assert found.missing == {"all of it": "it failed: RuntimeError: the service did not start"}
