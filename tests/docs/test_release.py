"""The version, the changelog and the tag of a release agree, as `RELEASE.md` says."""

import re
import subprocess
from datetime import date

import pytest
from tests.support.service import ROOT

import gitpod

HEADING = re.compile(r"^## \[(\d+\.\d+\.\d+)\] - (unreleased|\d{4}-\d{2}-\d{2})$", flags=re.MULTILINE)
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()


def disagreements(version: str, changelog: str, tags: list[str]) -> list[str]:
    """What does not fit, of a version, the text of a changelog and the tags of the commit that has both."""
    headings = HEADING.findall(changelog)
    if len(headings) != changelog.count("\n## "):
        return ["a section of the changelog is not headed `## [1.2.3] - 2026-01-31`"]
    found: list[str] = []
    versions = [tuple(map(int, each.split("."))) for each, _ in headings]
    days = [date.max if day == "unreleased" else date.fromisoformat(day) for _, day in headings]
    if headings[0][0] != version:
        found.append(f"the version is {version}, and the changelog begins with {headings[0][0]}")
    if versions != sorted(set(versions), reverse=True) or days != sorted(days, reverse=True):
        found.append("the changelog's sections are not in order, the newest first")
    if date.max in days[1:]:
        found.append("a section below the first is unreleased")
    releases = [tag for tag in tags if re.match(r"v\d", tag)]
    if releases and releases != [f"v{version}"]:
        found.append(f"the version is {version}, and the tag {', '.join(releases)}")
    if releases and days[0] == date.max:
        found.append("a tagged version is unreleased in the changelog")
    return found


def test_version_changelog_and_tag_agree() -> None:
    """The tag counts where the commit has one; a source distribution has none."""
    command = ["git", "tag", "--points-at", "HEAD"]
    tags = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    assert disagreements(gitpod.__version__, CHANGELOG, tags) == []


TWO = "# Changelog\n\n## [0.2.0] - 2026-02-01\n\n- B\n\n## [0.1.0] - 2026-01-31\n\n- A\n"
OPEN = TWO.replace("2026-02-01", "unreleased")


@pytest.mark.parametrize(
    ("version", "changelog", "tags"),
    [("0.2.0", TWO, ["v0.2.0"]), ("0.2.0", TWO, []), ("0.2.0", OPEN, []), ("0.2.0", TWO, ["v0.2.0", "nightly"])],
)
def test_what_agrees_passes(version: str, changelog: str, tags: list[str]) -> None:
    """Before the release and at it."""
    assert disagreements(version, changelog, tags) == []


@pytest.mark.parametrize(
    ("version", "changelog", "tags", "reason"),
    [
        ("0.3.0", TWO, [], "begins with 0.2.0"),
        ("0.2.0", TWO, ["v0.1.0"], "the tag v0.1.0"),
        ("0.2.0", TWO, ["v0.2.0", "v0.2.1"], "the tag v0.2.0, v0.2.1"),
        ("0.2.0", OPEN, ["v0.2.0"], "is unreleased"),
        ("0.2.0", TWO.replace("2026-01-31", "unreleased"), [], "below the first"),
        ("0.2.0", TWO.replace("0.1.0", "0.10.0"), [], "not in order"),
        ("0.2.0", TWO.replace("2026-01-31", "2026-03-01"), [], "not in order"),
        ("0.2.0", TWO.replace("[0.2.0]", "0.2.0"), [], "is not headed"),
        ("0.2.0", TWO.replace("2026-02-01", "1 February"), [], "is not headed"),
    ],
)
def test_what_does_not_agree_is_named(version: str, changelog: str, tags: list[str], reason: str) -> None:
    """With what was expected in its place."""
    assert any(reason in each for each in disagreements(version, changelog, tags))
