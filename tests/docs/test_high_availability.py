"""docs/service/high-availability.md says what `make failover` runs, and the figures of the code."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from failover import EVENTS, HEADINGS, SLACK
from patroni_cluster import NODES, OPTIONS
from tests.support.service import ROOT

from gitpod.server.storage import hosts, limits

PAGE = (ROOT / "docs/service/high-availability.md").read_text()
PATRONI, HAPROXY = ((ROOT / "examples/patroni" / name).read_text() for name in ("patroni.yml", "haproxy.cfg"))
HAPROXY_PROGRAM = shutil.which("haproxy", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))


def test_the_figures_are_of_every_round() -> None:
    """Each event and path has a row with nothing lost, and a gap that the command allows."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")]
    assert list(HEADINGS) in rows
    figures = [dict(zip(HEADINGS, row, strict=True)) for row in rows if row[0] in EVENTS]
    assert [(row["event"], row["path"]) for row in figures] == [
        (event, path) for event in EVENTS for path in ("multi-host", "haproxy")
    ]
    for row in figures:
        assert (row["lost"], row["false"]) == ("0", "0")
        gap, cluster = (float(row[name].removesuffix(" s")) for name in ("longest gap", "new leader after"))
        assert row["path"] == "haproxy" or gap <= cluster + SLACK


def test_the_numbers_are_the_codes() -> None:
    """Bounds of the service, and the addresses and settings of the examples."""
    shown = [
        f"no answer for {limits.ANSWER_TIMEOUT:g} s",
        f"not at all for {hosts.LEFT_OUT:g} s",
        f"after {limits.SETTLE_TIMEOUT:g} s",
        f"at least {limits.CONNECTIONS} for each process",
        f"by more than {SLACK:g} s",
        f"{','.join(f'{node}.example.com' for node in NODES)}/secrets?{OPTIONS}`",
        f"@{re.findall('bind (.+)', HAPROXY)[0]}/secrets`",
        f"until `ttl` has passed: {re.findall('ttl: (.+)', PATRONI)[0]} s",
    ]
    assert [each for each in shown if each not in " ".join(PAGE.split())] == []


@pytest.mark.skipif(HAPROXY_PROGRAM is None, reason="haproxy is not installed")
def test_haproxy_understands_its_example(tmp_path: Path) -> None:
    """Without a warning, once the hosts have addresses."""
    assert HAPROXY_PROGRAM
    (tmp_path / "haproxy.cfg").write_text(re.sub(r"db\d\.example\.com", "127.0.0.1", HAPROXY))
    command = [HAPROXY_PROGRAM, "-c", "-f", str(tmp_path / "haproxy.cfg")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
