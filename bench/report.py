"""The results as Markdown."""

from collections.abc import Iterable, Sequence

from bench.environments import PINS
from bench.machine import Machine
from bench.results import Line, Ratio, Spread

HEADS = {
    "wall": "wall, {}",
    "cpu": "CPU, {}",
    "rate": "calls/s",
    "p50": "p50, ms",
    "p99": "p99, ms",
    "memory": "MiB",
    "service": "CPU of the service, {}",
    "share": "its share of all CPU",
}
"""The column of each measure. The parts of `cpu` are in the JSON alone."""

NAMES = {"wall": "wall", "cpu": "CPU", "rate": "calls/s", "p99": "p99", "memory": "memory"}
SMALL, LARGE = 10, 100


def document(machine: Machine, lines: Sequence[Line]) -> str:
    """All of it."""
    return "\n\n".join([head(machine), *(section(line) for line in lines), packages(machine)]) + "\n"


def head(machine: Machine) -> str:
    """Where and when."""
    before, after = machine.load
    busy = " **The machine was not idle: believe the ratios at most.**" if machine.is_busy else ""
    return (
        f"{machine.date}, the {machine.form} form: {machine.processors} processors ({machine.processor}), "
        f"{machine.memory} GiB of memory, {machine.system}, {machine.python}. "
        f"Load before: {before:.1f}; after: {after:.1f}.{busy}"
    )


def section(line: Line) -> str:
    """A line: what was measured, the ratios, and what was left out."""
    parts = [f"## {line.title}", line.about]
    if line.ways:
        parts.append(ways(line))
    if line.ratios:
        parts.append(table(("ratio", "of", "quartiles", "median", "to reach", ""), map(row, line.ratios)))
    parts += [f"Left out: {way}: {reason}." for way, reason in line.missing.items()]
    return "\n\n".join(parts)


def ways(line: Line) -> str:
    """Each way with the median and the quartiles of its measures."""
    measured = {measure: None for measures in line.ways.values() for measure in measures if measure in HEADS}
    heads = ["", *(HEADS[measure].format(line.unit) for measure in measured)]
    rows = (
        [way, *(quartiles(measures[measure]) if measure in measures else "" for measure in measured)]
        for way, measures in line.ways.items()
    )
    return table(heads, rows)


def row(ratio: Ratio) -> list[str]:
    """A ratio, what it is to be, and whether it is."""
    goal, spread = ratio.comparison, ratio.spread
    limits = [f"≤ {goal.at_most:g}"] if goal.at_most is not None else []
    limits += [f"≥ {goal.at_least:g}"] if goal.at_least is not None else []
    verdict = {None: "", True: "reached", False: "missed"}[ratio.is_reached]
    return [
        f"{goal.of} ÷ {goal.to}" if goal.to else goal.of,
        NAMES.get(goal.measure, goal.measure),
        f"{shown(spread.low)} to {shown(spread.high)}" if spread else "",
        ratio.refused or (shown(spread.middle) if spread else ""),
        " ".join(limits),
        verdict,
    ]


def packages(machine: Machine) -> str:
    """What was measured: our libraries, and the peers by what is pinned of each."""
    pinned = ", ".join(f"{pin.replace('==', ' ')}" for peer in machine.peers for pin in PINS[peer])
    return f"Versions: {', '.join(machine.own)}. Peers: {pinned or 'none was installed'}."


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def quartiles(spread: Spread) -> str:
    """The median, and between which values half of the rounds are."""
    if spread.low == spread.high:
        return shown(spread.middle)
    return f"{shown(spread.middle)} ({shown(spread.low)} to {shown(spread.high)})"


def shown(number: float) -> str:
    """A number with three digits, or all that it has before the point."""
    if number >= LARGE:
        return f"{number:,.0f}"
    if number >= SMALL:
        return f"{number:.1f}"
    return f"{number:.2f}" if number >= 1 else f"{number:.3f}"
