"""The recorded session, docs/pictures/session.svg: what it shows is what the command prints."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import record

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
SHOWN = record.PICTURE.read_text()
HIDDEN = """
const hidden = [...document.querySelectorAll("g")].filter((each) => getComputedStyle(each).opacity !== "1");
const covers = [...document.querySelectorAll(".cover")].filter((each) => each.getBoundingClientRect().width > 0);
document.body.textContent = `FOUND${hidden.length + covers.length}END`;
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the session is recorded on a Linux terminal")
def test_the_command_prints_what_the_picture_shows() -> None:
    """Each row, colour and pace, after ids and durations were replaced. `make recording` records it anew."""
    assert record.drawn(record.recorded()) == SHOWN


def test_what_differs_between_runs_is_replaced() -> None:
    """Ids keep their length and what they have in common; the project's own is known."""
    replaced = record.Replaced()
    assert replaced("project b0e12f6c… 0123abcd-99… in 12.5 s, 0123abcd, 1 min ago") == (
        "project b0e12f6c… 35223bdb-4c… in 0.1 s, 35223bdb, 2 s ago"
    )


def test_the_session_is_short() -> None:
    """It ends within 25 seconds, and shows no value that was not typed or asked for."""
    delays = [float(each) for each in re.findall(r"animation-delay:([\d.]+)s", SHOWN)]
    assert 10 < max(delays) < 25
    assert SHOWN.count("hunter2") == SHOWN.count("DEPLOY_KEY=hunter2")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize(
    ("option", "first"),
    [
        ("--force-prefers-reduced-motion", ""),
        ("--disable-gpu", "for (const each of document.getAnimations()) each.currentTime = 60000;"),
    ],
    ids=["still", "at the end"],
)
def test_nothing_stays_hidden(tmp_path: Path, option: str, first: str) -> None:
    """Without animations everything is there at once, and with them in the end."""
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><body>{SHOWN}<script>{first}{HIDDEN}</script>")
    assert CHROMIUM
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    done = subprocess.run(
        [CHROMIUM, *options, option, page.as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    assert re.findall("FOUND(.*?)END", done.stdout)[-1:] == ["0"]
