"""Measures several ways in turn, so that whatever else the machine does meets all of them alike."""

from collections.abc import Callable, Mapping

from bench.results import Measures


def interleaved(ways: Mapping[str, Callable[[], Measures]], rounds: int) -> dict[str, list[Measures]]:
    """What each way measured in each round. One round before warms up, unless a single one is asked for.

    Each round begins with another way, so that none always follows the same one.
    """
    found: dict[str, list[Measures]] = {way: [] for way in ways}
    names = list(ways)
    for number in range(0 if rounds == 1 else -1, rounds):
        first = number % len(names) if names else 0
        for way in names[first:] + names[:first]:
            measures = ways[way]()
            if number >= 0:
                found[way].append(measures)
    return found
