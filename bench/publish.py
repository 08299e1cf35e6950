"""Puts results into the docs: the tables and plots of docs/performance.md, and three lines of the README."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.environments import Environments
from bench.machine import Machine
from bench.programs import environment
from bench.report import document, shown
from bench.results import Line, Spread

BEGIN, END = "<!-- bench: begin, written by make bench -->", "<!-- bench: end -->"
PAGE = "docs/performance.md"
PLOTS = "docs/plots"
PICTURES = {
    "client": "Microseconds of a create by each client, and processor time of starting",
    "service": "Calls a second, 99th percentile and processor time a call over the number of connections",
    "growth": "Processor time a call over the secrets stored, and memory over the requests answered",
}
"""What each plot shows, for those who do not see it."""


def published(root: Path, machine: Machine, lines: Sequence[Line], results: Path, environments: Environments) -> None:
    """Write all of it below `root`. Raises `MissingPeerError` without matplotlib."""
    python = environments.python("matplotlib")
    command: list[str | Path] = [python, "-m", "bench.plots", results, root / PLOTS]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[1], env=environment())  # noqa: S603 # our own
    drawn = (
        f"![{words}](plots/{name}.svg)" for name, words in PICTURES.items() if (root / PLOTS / f"{name}.svg").exists()
    )
    between(root / PAGE, "\n\n".join([*drawn, document(machine, lines)]))
    between(root / "README.md", "\n".join(short(machine, lines)) + "\n")


def between(file: Path, text: str) -> None:
    """Replace what is between the two marks of a page. Raises `ValueError` when they are not there."""
    before, begin, rest = file.read_text().partition(f"{BEGIN}\n")
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{file.name} has no place for the results")
    file.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def short(machine: Machine, lines: Sequence[Line]) -> list[str]:
    """The three lines."""
    found = {line.key: line for line in lines}
    vendor = [part(found, "sync", "SDK", f"gitpod-sdk {version}", "wall") for version in ("0.11", "1.2")]
    stub = part(found, "sync", "SDK", "stub over the SDK's pool", "cpu")
    creates, reads = (median(found, "sqlite", f"{call}, Connect, 32", "rate") for call in ("create", "value"))
    cost = median(found, "sqlite", "create, Connect, 32", "cpu")
    faster = part(found, "bulk", "loop over gitpod-sdk 0.11, 1,000", "import of 1,000", "wall")
    client = (
        f"- A create takes {vendor[0]} of the time of gitpod-sdk 0.11 and {vendor[1]} of that of 1.2. "
        f"It needs {stub} times the processor of the bare stub."
    )
    service = (
        f"- The service on SQLite, with 32 callers on the same {machine.processors} processors: {creates} durable "
        f"creates a second, at {cost} ms of processor each; or {reads} values read."
    )
    return [client, service, f"- An import of 1,000 secrets is {faster} times as fast as a loop over gitpod-sdk 0.11."]


def part(found: dict[str, Line], key: str, of: str, to: str, measure: str) -> str:
    """The median of a ratio, or its quartiles where they are too far apart to give one."""
    for each in found[key].ratios if key in found else ():
        goal, spread = each.comparison, each.spread
        if (goal.of, goal.to, goal.measure) == (of, to, measure) and spread:
            return f"{shown(spread.low)} to {shown(spread.high)}" if each.refused else shown(spread.middle)
    return "(not measured)"


def median(found: dict[str, Line], key: str, way: str, measure: str) -> str:
    """The median of a measure."""
    spread: Spread | None = found[key].ways.get(way, {}).get(measure) if key in found else None
    return shown(spread.middle) if spread else "(not measured)"
