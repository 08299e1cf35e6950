"""How tables, ids and times are laid out for people."""

from datetime import UTC, datetime, timedelta

import pytest
from wcwidth import wcswidth

from gitpod.cli.columns import ago, counted, lines, shortened

NOW = datetime(2026, 1, 31, tzinfo=UTC)
ROWS = [["SHORT", "/home/日本語/x", "-"], ["A_NAME_OF_THIRTY_CHARACTERS_30", "/very/long" * 30, ""]]


def laid_out(room: int | None) -> list[str]:
    """The rows as a table, in which names are cut last."""
    return lines(["NAME", "PATH", "EMPTY"], ROWS, room, ["NAME"])


@pytest.mark.parametrize("room", [20, 40, 60, 80, 200, 500])
def test_a_line_fits(room: int) -> None:
    """Each row is one line, also with characters that take two columns. A column without any text is left out."""
    shown = laid_out(room)
    assert len(shown) == 3
    assert all(wcswidth(line) <= room for line in shown)
    assert "EMPTY" not in shown[0]
    assert ("…" in shown[2]) == (room < 332)


def test_a_name_is_cut_last() -> None:
    """A cut name could not be used."""
    assert ROWS[1][0] in laid_out(40)[2]
    assert ROWS[1][0] not in laid_out(39)[2]


def test_columns_begin_below_each_other() -> None:
    """The gap before a column is the same in each row, counted in columns of the terminal."""
    head, first, second = lines(["A", "B"], [["日本", "x"], ["abcde", "y"]], 80, [])
    assert [head.index("B"), wcswidth(first[: first.index("x")]), second.index("y")] == [7, 7, 7]


def test_a_wide_table_has_everything() -> None:
    """Nothing is cut or left out, not even a column without text."""
    shown = laid_out(None)
    assert "EMPTY" in shown[0]
    assert ROWS[1][1] in shown[2]


def test_a_table_without_rows_is_its_header() -> None:
    """Every column is there."""
    assert lines(["NAME", "PATH"], [], 80, []) == ["NAME  PATH"]


def test_an_id_is_shortened_to_what_is_unique() -> None:
    """At least eight characters are shown, and of each id as many as of the others."""
    assert shortened(["35223bdb-1", "45223bdb-1"]) == {"35223bdb-1": "35223bdb", "45223bdb-1": "45223bdb"}
    same = shortened(["01990c1f-8aaa-1", "01990c1f-8aab-2", "45223bdb-8aaa-3"])
    assert list(same.values()) == ["01990c1f-8aaa", "01990c1f-8aab", "45223bdb-8aaa"]
    assert shortened(["01990c1f-8aaa"] * 2) == {"01990c1f-8aaa": "01990c1f"}
    assert shortened([]) == {}


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        *[(0, "now"), (1, "1 s ago"), (59, "59 s ago"), (60, "1 min ago"), (3599, "59 min ago"), (3600, "1 h ago")],
        *[(86399, "23 h ago"), (86400, "1 d ago"), (364 * 86400, "364 d ago"), (800 * 86400, "2 y ago")],
        *[(-1, "in 1 s"), (-80, "in 1 min"), (-86400 * 90, "in 90 d")],
        *[(5 - 86400 * 90, "in 90 d"), (-86400 * 89.4, "in 89 d")],
    ],
)
def test_a_time_is_shown_by_its_distance(seconds: float, shown: str) -> None:
    """In the largest unit of which there is one."""
    assert ago(NOW - timedelta(seconds=seconds), NOW) == shown


def test_a_number_has_its_noun() -> None:
    """In the form that the number needs."""
    assert [counted(number, "secret") for number in (0, 1, 2)] == ["no secrets", "1 secret", "2 secrets"]
