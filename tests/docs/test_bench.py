"""The bench refuses ratios that mean nothing, names what it leaves out, and puts its results where readers look."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pytest
from bench import publish
from bench.environments import PINS, Environments, MissingPeerError
from bench.machine import Machine, described
from bench.report import document, head, row, section
from bench.results import Comparison, Line, Measures, from_json, judged, ratios, summary
from bench.rounds import interleaved
from tests.support.service import ROOT

RATIO = Comparison("a", "b", "cpu", at_most=1.5)
STEADY: dict[str, list[Measures]] = {"a": [{"cpu": 2.0}, {"cpu": 4.4}, {"cpu": 2.8}], "b": [{"cpu": 2.0}] * 3}


def line(found: dict[str, list[Measures]]) -> Line:
    """A line of made-up rounds."""
    return Line("made-up", "Made up", "About it.", "ms", summary(found), ratios(found, [RATIO]), {"c": "no such wheel"})


def machine(load: float = 0.1) -> Machine:
    """This machine, at a load."""
    return described("short", load, {"httpx": ["httpx==0.28.1"]})


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    """Each taken within its round, with quartiles."""
    ratio = judged(RATIO, [1.0, 1.1, 1.2, 1.3, 1.4])
    assert ratio.spread is not None
    assert [round(each, 6) for each in (ratio.spread.low, ratio.spread.middle, ratio.spread.high)] == [1.1, 1.2, 1.3]
    assert (ratio.refused, ratio.is_reached) == ("", True)


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        ([1.0, 1.0, 1.25, 1.25], ""),
        ([1.0, 1.0, 1.4, 1.4], "spread too wide"),
        ([1.0, 1.0, 1.0, 1.0, 9.0], ""),
        ([1.0, 1.0], "too few rounds"),
    ],
)
def test_a_ratio_without_meaning_is_refused(values: list[float], refused: str) -> None:
    """Too wide is more than a quarter of the median; one outlier is not."""
    ratio = judged(RATIO, values)
    assert ratio.refused == refused
    assert ratio.is_reached is (None if refused else True)


@pytest.mark.parametrize(
    ("goal", "verdict"),
    [
        (Comparison("a", "b", "cpu", at_most=0.9), "missed"),
        (Comparison("a", "b", "cpu", at_least=0.9), "reached"),
        (Comparison("a", "b", "cpu"), ""),
    ],
)
def test_a_goal_is_reached_or_missed(goal: Comparison, verdict: str) -> None:
    """A goal has one side; without any there is nothing to reach."""
    assert row(judged(goal, [1.0, 1.0, 1.0]))[-1] == verdict


def test_a_ratio_of_an_unknown_way_is_a_mistake() -> None:
    """One to a way that was left out is none."""
    assert ratios({"a": STEADY["a"]}, [RATIO], {"b": "no such wheel"}) == []
    with pytest.raises(KeyError, match="b"):
        ratios({"a": STEADY["a"]}, [RATIO])


def test_rounds_take_turns_and_the_first_warms_up() -> None:
    """Each round that counts goes another way round."""
    order: list[str] = []

    def way(name: str) -> Callable[[], Measures]:
        def measure() -> Measures:
            order.append(name)
            return {"cpu": float(len(order))}

        return measure

    found = interleaved({"a": way("a"), "b": way("b")}, 2)
    assert "".join(order) == "ababba"
    assert found == {"a": [{"cpu": 3.0}, {"cpu": 6.0}], "b": [{"cpu": 4.0}, {"cpu": 5.0}]}
    assert interleaved({"a": way("a")}, 1) == {"a": [{"cpu": 7.0}]}


def test_no_way_always_follows_the_same_one() -> None:
    """Which may leave it a warm cache, or a journal to clean up."""
    order: list[str] = []

    def measure(name: str) -> Measures:
        order.append(name)
        return {}

    interleaved({name: partial(measure, name) for name in "abc"}, 4)
    assert "".join(order[3:]) == "abccbabcaacb"


def test_the_report_has_the_reason_in_place_of_a_refused_ratio() -> None:
    """And names what was left out."""
    shown = section(line(STEADY))
    assert "| a ÷ b | CPU | 1.20 to 1.80 | spread too wide | ≤ 1.5 |  |" in shown
    assert "Left out: c: no such wheel." in shown
    steady = section(line({"a": [{"cpu": 2.0}] * 3, "b": [{"cpu": 1.0}] * 3}))
    assert "| a ÷ b | CPU | 2.00 to 2.00 | 2.00 | ≤ 1.5 | missed |" in steady


def test_the_report_says_when_the_machine_was_busy() -> None:
    """By its load before the first line."""
    assert "not idle" in head(machine(0.9))
    assert "not idle" not in head(machine(0.1))


def test_results_are_read_back() -> None:
    """As they were written."""
    made = line(STEADY)
    assert from_json(json.loads(json.dumps(asdict(made)))) == made


def test_a_peer_that_cannot_be_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the installer's reason, in one line."""
    monkeypatch.setitem(PINS, "none", ["no spaces in names==1"])
    environments = Environments(tmp_path)
    with pytest.raises(MissingPeerError) as caught:
        environments.python("none")
    assert environments.missing() == {"none": str(caught.value)}
    assert "\n" not in str(caught.value)
    assert "no spaces" in str(caught.value)


def test_the_pages_have_a_place_for_the_results(tmp_path: Path) -> None:
    """Publishing twice is as publishing once, and touches nothing else."""
    for page in (publish.PAGE, "README.md"):
        copy = tmp_path / Path(page).name
        copy.write_text((ROOT / page).read_text())
        publish.between(copy, "first\n")
        publish.between(copy, "second\n")
        before, _, after = (ROOT / page).read_text().partition(publish.BEGIN)
        assert copy.read_text().startswith(before)
        assert copy.read_text().endswith(after.partition(publish.END)[2])
        assert f"{publish.BEGIN}\n\nsecond\n\n{publish.END}" in copy.read_text()


def test_a_page_without_a_place_is_refused(tmp_path: Path) -> None:
    """It keeps what it has."""
    (tmp_path / "page.md").write_text("text\n")
    with pytest.raises(ValueError, match=r"page\.md has no place for the results"):
        publish.between(tmp_path / "page.md", "results")
    assert (tmp_path / "page.md").read_text() == "text\n"


def test_the_short_lines_give_no_number_that_was_refused() -> None:
    """But where it lay, and they say what was not measured."""
    found = {"SDK": STEADY["a"], "stub over the SDK's pool": STEADY["b"]}
    goal = Comparison("SDK", "stub over the SDK's pool", "cpu")
    wide = Line("sync", "", "", "µs", summary(found), ratios(found, [goal]))
    assert "needs 1.20 to 1.80 times" in publish.short(machine(), [wide])[0]
    assert "takes (not measured) of the time" in publish.short(machine(), [wide])[0]
    steady = replace(wide, ratios=ratios({**found, "SDK": [{"cpu": 3.0}] * 3}, [goal]))
    assert "needs 1.50 times" in publish.short(machine(), [steady])[0]


def test_plots_are_the_same_bytes_for_the_same_results(tmp_path: Path) -> None:
    """Two runs of the program that draws them, over a result of each line that is drawn."""
    environments = Environments(ROOT / "build/bench/peers")
    try:
        environments.python("matplotlib")
    except MissingPeerError as error:
        pytest.skip(f"matplotlib: {error}")
    where, lines = machine(), drawn()
    results = tmp_path / "results.json"
    results.write_text(json.dumps({"lines": list(map(asdict, lines))}))
    found: list[dict[str, bytes]] = []
    for run in ("first", "second"):
        root = tmp_path / run
        (root / "docs").mkdir(parents=True)
        for page in (publish.PAGE, "README.md"):
            (root / page).write_text((ROOT / page).read_text())
        publish.published(root, where, lines, results, environments)
        found.append({path.name: path.read_bytes() for path in (root / publish.PLOTS).iterdir()})
        assert document(where, lines) in (root / publish.PAGE).read_text()
    assert found[0] == found[1]
    assert sorted(found[0]) == ["client.svg", "growth.svg", "service.svg"]


def drawn() -> list[Line]:
    """A result of each line that is drawn."""
    client: list[Measures] = [{"wall": 2.0, "cpu": 1.0}, {"wall": 4.0, "cpu": 1.5}]
    served: list[Measures] = [{"rate": 100.0, "p99": 3.0, "cpu": 1.0}]
    ways: dict[str, dict[str, list[Measures]]] = {
        "sync": {"SDK": client, "httpx": client},
        "start": {"interpreter": client},
        "sqlite": {f"{call}, Connect, {each}": served for call in ("create", "value", "page") for each in (1, 8)},
        "sizes": {f"{call}, {each} stored": served for call in ("create", "value", "page") for each in ("10", "1,000")},
        "endurance": {"at the start": [{"memory": 60.0}], "1,000 requests": [{"memory": 61.0}]},
    }
    return [Line(key, key, "", "ms", summary(found)) for key, found in ways.items()]
