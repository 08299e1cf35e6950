"""Draws results: `python -m bench.plots RESULTS.json FOLDER` writes SVG, the same bytes for the same results.

Runs in an environment that has matplotlib. The colours can be read on white and on black.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

GREY = "#808080"
COLOURS = ["#2f81f7", "#e3702d", "#2da44e", "#a371f7", "#d29922"]
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "gitpod-connect",
    "savefig.transparent": True,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), GREY),
}
BARS = {
    "sync": (("wall", "cpu"), "µs a create, sync"),
    "tls": (("wall", "cpu"), "µs a create over TLS, sync"),
    "async": (("wall", "cpu"), "µs a create, async, 64 in flight"),
    "start": (("cpu",), "ms of CPU of a whole process"),
}
"""The measures of each line that is drawn as bars, and the words below."""

CALLS = ("create", "value", "page")
CURVES = {"rate": "calls a second", "p99": "p99, ms", "cpu": "CPU of the service, ms a call"}
KINDS = {
    "Connect": ("sqlite", "Connect"),
    "gRPC": ("sqlite", "gRPC"),
    "Connect, PostgreSQL": ("postgresql", "Connect"),
    "grpcio peer": ("sqlite", "grpcio peer"),
}

Lines = dict[str, Any]


def main() -> None:
    file, folder = map(Path, sys.argv[1:])
    lines: Lines = {line["key"]: line for line in json.loads(file.read_text())["lines"] if line["ways"]}
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("svg")
    matplotlib.rcParams.update(STYLE)
    plot: Any = importlib.import_module("matplotlib.pyplot")
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in {"client": client, "service": service, "growth": growth}.items():
        figure = draw(plot, lines)
        if figure is not None:
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight")


def client(plot: Any, lines: Lines) -> Any:  # noqa: ANN401 # matplotlib's, here and below
    """Bars of what each client costs."""
    keys = [key for key in BARS if key in lines]
    if not keys:
        return None
    heights = [len(lines[key]["ways"]) for key in keys]
    size = (7.5, sum(heights) * 0.34 + len(keys) * 0.6)
    figure, axes = plot.subplots(len(keys), figsize=size, height_ratios=heights, squeeze=False, layout="constrained")
    for axis, key in zip(axes[:, 0], keys, strict=True):
        measures, words = BARS[key]
        ways = lines[key]["ways"]
        width = 0.8 / len(measures)
        for number, measure in enumerate(measures):
            spreads = [way[measure] for way in ways.values()]
            places = [place + (number - (len(measures) - 1) / 2) * width for place in range(len(spreads))]
            bars(axis, places, spreads, height=width, color=COLOURS[number], label=measure.replace("cpu", "CPU"))
        axis.set_yticks(range(len(ways)), list(ways))
        axis.invert_yaxis()
        axis.set_xlabel(words)
        if len(measures) > 1:
            axis.legend(frameon=False)
    return figure


def bars(axis: Any, places: list[float], spreads: list[dict[str, float]], **how: Any) -> None:  # noqa: ANN401
    """Medians in numbers too, with a line between the quartiles."""
    middles = [each["middle"] for each in spreads]
    around = [[each["middle"] - each["low"] for each in spreads], [each["high"] - each["middle"] for each in spreads]]
    axis.barh(places, middles, xerr=around, error_kw={"ecolor": GREY, "lw": 1}, **how)
    for place, each in zip(places, spreads, strict=True):
        axis.text(each["high"], place, f"  {each['middle']:,.0f}", va="center", fontsize=7)


def service(plot: Any, lines: Lines) -> Any:  # noqa: ANN401
    """Curves over the number of connections: a column for each call, a row for each measure."""
    if "sqlite" not in lines:
        return None
    figure, axes = plot.subplots(len(CURVES), len(CALLS), figsize=(9, 8), sharex=True, layout="constrained")
    for row, (measure, words) in zip(axes, CURVES.items(), strict=True):
        for axis, call in zip(row, CALLS, strict=True):
            for colour, (label, (key, over)) in zip(COLOURS, KINDS.items(), strict=False):
                points = curve(lines.get(key), f"{call}, {over}, ", measure)
                if points:
                    axis.plot(*zip(*points, strict=True), marker="o", ms=3, color=colour, label=label)
            axis.set_ylim(bottom=0)
            axis.set_xscale("log", base=2)
        row[0].set_ylabel(words)
    for axis, call in zip(axes[0], CALLS, strict=True):
        axis.set_title({"page": "page of 25"}.get(call, call), fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("connections")
        axis.set_xticks([1, 8, 32, 64], ["1", "8", "32", "64"])
    figure.legend(*axes[0][0].get_legend_handles_labels(), frameon=False, loc="outside upper center", ncols=4)
    return figure


def curve(line: Any, prefix: str, measure: str) -> list[tuple[int, float]]:  # noqa: ANN401
    """The median at each number of connections."""
    ways: dict[str, Any] = line["ways"] if line else {}
    return [
        (int(way.removeprefix(prefix)), measures[measure]["middle"])
        for way, measures in ways.items()
        if way.startswith(prefix)
    ]


def growth(plot: Any, lines: Lines) -> Any:  # noqa: ANN401
    """The cost of a call over the secrets stored, and memory over the requests answered."""
    if not {"sizes", "endurance"} <= lines.keys():
        return None
    figure, (left, right) = plot.subplots(1, 2, figsize=(9, 3), layout="constrained")
    for colour, call in zip(COLOURS, CALLS, strict=False):
        points = [
            (number(way.removeprefix(f"{call}, ")), measures["cpu"]["middle"])
            for way, measures in lines["sizes"]["ways"].items()
            if way.startswith(call)
        ]
        left.plot(*zip(*points, strict=True), marker="o", ms=3, color=colour, label=call)
        left.set_xscale("log")
        left.set_xticks([each for each, _ in points], [f"{each:,}" for each, _ in points])
    left.minorticks_off()
    left.set_xlabel("secrets stored")
    left.set_ylabel("CPU of the service, ms a call")
    left.legend(frameon=False)
    memory = [(number(way), each["memory"]["middle"]) for way, each in lines["endurance"]["ways"].items()]
    right.plot(*zip(*memory, strict=True), marker="o", ms=3, color=COLOURS[0])
    right.set_xlabel("requests answered")
    right.set_ylabel("memory of the service, MiB")
    for axis in (left, right):
        axis.set_ylim(bottom=0)
    return figure


def number(words: str) -> int:
    """The number that words begin with; 0 when they begin with none."""
    first = words.split(maxsplit=1)[0].replace(",", "")
    return int(first) if first.isdigit() else 0


if __name__ == "__main__":
    main()
