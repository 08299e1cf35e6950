"""What a line of the bench finds: the spread of each measure of each way, and ratios between two ways."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Measures = dict[str, float]
"""One measurement: a number for each measure, such as microseconds a call."""

WIDEST = 0.25
"""The interquartile range of a ratio, as a share of its median, above which the ratio says nothing."""

FEWEST = 3
"""Rounds that a ratio needs."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The quartiles of a measure over the rounds."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """The quartiles of one value or more."""
        found = sorted(values)
        low, middle, high = statistics.quantiles(found, n=4, method="inclusive") if len(found) > 1 else found * 3
        return cls(low, middle, high)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A ratio that a line gives: a measure of `of`, divided by that of `to` in the same round.

    Without `to` it is the measure itself. `at_most` or `at_least` is what the project wants to reach.
    """

    of: str
    to: str | None
    measure: str
    at_most: float | None = None
    at_least: float | None = None


@dataclass(frozen=True, slots=True)
class Ratio:
    """What came of a comparison. `refused` says why there is no number to believe."""

    comparison: Comparison
    spread: Spread | None
    refused: str = ""

    @property
    def is_reached(self) -> bool | None:
        """Whether the goal is reached; None without a goal, or without a number."""
        goal = self.comparison
        if self.spread is None or self.refused:
            return None
        if goal.at_most is not None:
            return self.spread.middle <= goal.at_most
        return None if goal.at_least is None else self.spread.middle >= goal.at_least


@dataclass(frozen=True, slots=True)
class Line:
    """One part of the bench.

    Attributes:
        unit: of `wall` and `cpu`: "µs", "ms" or "s".
        missing: each way that was left out, with the reason.
    """

    key: str
    title: str
    about: str
    unit: str
    ways: dict[str, dict[str, Spread]] = field(default_factory=dict[str, dict[str, Spread]])
    ratios: list[Ratio] = field(default_factory=list[Ratio])
    missing: dict[str, str] = field(default_factory=dict[str, str])


def summary(found: Mapping[str, Sequence[Measures]]) -> dict[str, dict[str, Spread]]:
    """The spread of each measure of each way."""
    return {
        way: {measure: Spread.of(each[measure] for each in rounds) for measure in rounds[0]}
        for way, rounds in found.items()
    }


def ratios(
    found: Mapping[str, Sequence[Measures]],
    comparisons: Iterable[Comparison],
    missing: Iterable[str] = (),
    *,
    fewest: int = FEWEST,
) -> list[Ratio]:
    """Each comparison, by the quartiles of the ratios within the rounds, but those with ways that were left out.

    Raises:
        KeyError: a way was neither measured nor left out.
    """
    judgements: list[Ratio] = []
    for each in comparisons:
        absent = [way for way in (each.of, each.to) if way is not None and way not in found]
        for way in absent:
            if not any(name in way for name in missing):
                raise KeyError(way)
        if not absent:
            judgements.append(judged(each, quotients(found, each), fewest=fewest))
    return judgements


def quotients(found: Mapping[str, Sequence[Measures]], each: Comparison) -> list[float]:
    """The ratio of each round."""
    above = [measures[each.measure] for measures in found[each.of]]
    below = [1.0] * len(above) if each.to is None else [measures[each.measure] for measures in found[each.to]]
    return [a / b for a, b in zip(above, below, strict=True)]


def judged(comparison: Comparison, values: Sequence[float], *, fewest: int = FEWEST) -> Ratio:
    """A ratio, refused when there are too few rounds or they differ too much."""
    if len(values) < fewest:
        return Ratio(comparison, None, "too few rounds")
    spread = Spread.of(values)
    is_wide = spread.high - spread.low > WIDEST * spread.middle
    return Ratio(comparison, spread, "spread too wide" if is_wide else "")


def from_json(line: Any) -> Line:  # noqa: ANN401 # as `dataclasses.asdict` gives it
    """A line that was written as JSON."""
    ways = {
        way: {measure: Spread(**spread) for measure, spread in measures.items()}
        for way, measures in line["ways"].items()
    }
    found = [
        Ratio(Comparison(**each["comparison"]), each["spread"] and Spread(**each["spread"]), each["refused"])
        for each in line["ratios"]
    ]
    return Line(**(line | {"ways": ways, "ratios": found}))
