"""When a token ends, and its note: two options of `token create`."""

import re
import time
from datetime import UTC, datetime

import click

from gitpod.cli.options import gathered

TIMES = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z")
UNITS = {"m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}
DURATION = re.compile(f"([0-9]{{1,9}})([{''.join(UNITS)}])")
MICROSECONDS = 1_000_000
LONGEST = 3660 * 24 * 3600 * MICROSECONDS
"""The latest end, from now on: ten years."""
LONGEST_NOTE = 100
"""Characters. The column of the store has so many."""


def moment(when: datetime) -> int:
    """Return a time in microseconds since 1970. One without an offset is in UTC."""
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * MICROSECONDS)


def _expiry(_context: click.Context, _parameter: click.Parameter, given: str | None) -> int | None:
    """Return the end in microseconds since 1970."""
    if given is None:
        return None
    now = time.time_ns() // 1000
    ends = _ends(given, now)
    if ends is None:
        raise click.BadParameter("must be as 30m, 12h, 90d or 1w, or as 2027-01-31 or 2027-01-31T12:00:00+02:00")
    if ends <= now:
        raise click.BadParameter("must be later than now")
    if ends - now > LONGEST:
        raise click.BadParameter("must be within 10 years; without it, the token does not expire")
    return ends


def _ends(text: str, now: int) -> int | None:
    duration = DURATION.fullmatch(text)
    if duration:
        return now + int(duration[1]) * UNITS[duration[2]] * MICROSECONDS
    for each in TIMES:
        try:
            return moment(datetime.strptime(text, each))  # noqa: DTZ007 # `moment` takes UTC where there is no offset
        except (ValueError, OverflowError):
            continue
    return None


def _note(_context: click.Context, _parameter: click.Parameter, given: str | None) -> str:
    """Check that a terminal can show the note on one line. An error does not repeat it."""
    if given is None:
        return ""
    if not given.strip():
        raise click.BadParameter("must not be empty")
    if len(given) > LONGEST_NOTE:
        raise click.BadParameter(f"must have at most {LONGEST_NOTE} characters")
    if not given.isprintable():
        raise click.BadParameter("must not hold line breaks or control characters")
    return given


def _marks(*, expires: int | None, note: str) -> dict[str, object]:
    return {"marks": {"expires_at": expires, "note": note}}


mark_options = gathered(
    _marks,
    click.option(
        "--expires",
        callback=_expiry,
        metavar="WHEN",
        help="When it ends: 30m, 12h, 90d or 1w from now, or a time in UTC or with an offset. Default: never.",
    ),
    click.option("--note", callback=_note, metavar="TEXT", help="What it is for; lists and the audit show it."),
)
"""Options for the end and the note: the command gets `marks`, parameters of `operate.create_token`."""
