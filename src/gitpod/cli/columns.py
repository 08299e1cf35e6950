"""Tables, ids and times as people read them on a terminal. Nothing here does I/O."""

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from itertools import count

GAP = "  "
NARROWEST = 8
"""Columns of the terminal that a column of a table keeps, if it has so many."""
SHORTEST_ID = 8
"""Characters of an id that are shown, and that stand for it, at least."""
UNITS = (("y", 365 * 24 * 3600), ("d", 24 * 3600), ("h", 3600), ("min", 60), ("s", 1))


def lines(names: Sequence[str], rows: Collection[Sequence[str]], room: int | None, whole: Collection[str]) -> list[str]:
    """Lay out a table: the header, and a line for each row.

    Args:
        names: the header.
        rows: the cells of each row.
        room: the terminal's columns. Cells that do not fit are cut, and columns without any text are left out. None
            cuts nothing and leaves nothing out.
        whole: the columns of the table that are cut last.
    """
    from rich.cells import cell_len  # only for terminals

    is_all = room is None or not rows
    shown = [at for at in range(len(names)) if is_all or any(row[at] not in ("", "-") for row in rows)]
    table = [[row[at] for at in shown] for row in (names, *rows)]
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    if room is not None:
        room -= len(GAP) * (len(shown) - 1)
        _narrow(widths, [at for at, column in enumerate(shown) if names[column] not in whole], room)
        _narrow(widths, range(len(widths)), room)
    return [GAP.join(map(_sized, row, widths)).rstrip() for row in table]


def _narrow(widths: list[int], columns: Sequence[int], room: int) -> None:
    """Make the widest of some columns narrower until all columns fit, or these are as narrow as they get."""
    while sum(widths) > room and columns:
        widest = max(columns, key=widths.__getitem__)
        if widths[widest] <= NARROWEST:
            return
        widths[widest] -= 1


def _sized(cell: str, width: int) -> str:
    """Return a cell that takes this many columns of the terminal; a character can take two."""
    from rich.cells import cell_len, set_cell_size  # only for terminals

    return set_cell_size(cell, width) if cell_len(cell) <= width else set_cell_size(cell, width - 1) + "…"


def shortened(ids: Iterable[str]) -> dict[str, str]:
    """Return the beginning of each id that no other has, by the id. All are equally long, and at least 8 characters."""
    each = dict.fromkeys(ids)
    length = next(size for size in count(SHORTEST_ID) if len({full[:size] for full in each}) == len(each))
    return {full: full[:length] for full in each}


def ago(when: datetime, now: datetime | None = None) -> str:
    """Return how long ago a time was, such as `3 min ago`, or how far it is ahead, such as `in 90 d`.

    Args:
        when: the time, with its offset.
        now: the time to compare with. Default: the present.
    """
    seconds = int(((now or datetime.now(UTC)) - when).total_seconds())
    unit, size = next(((unit, size) for unit, size in UNITS if abs(seconds) >= size), UNITS[-1])
    if not seconds:
        return "now"
    # What lies ahead is rounded: in the second after it was made, a token of 90 days does not end in 89.
    return f"{seconds // size} {unit} ago" if seconds > 0 else f"in {(size // 2 - seconds) // size} {unit}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `no secrets`, `1 secret`, `2 secrets`."""
    return f"{number or 'no'} {noun if number == 1 else f'{noun}s'}"
