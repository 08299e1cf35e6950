"""Measures the client and the service beside their peers: `make bench`, or `make bench FULL=1 PUBLISH=1`."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import client_lines, growth_lines, import_lines, plan, service_lines, start_lines
from bench.environments import Environments, MissingPeerError
from bench.machine import Machine, described, load
from bench.plan import Plan
from bench.programs import ROOT
from bench.publish import published
from bench.report import document, section
from bench.results import Line, from_json

LINES: dict[str, Callable[[Plan], Line]] = {
    "sync": client_lines.sync,
    "tls": client_lines.tls,
    "async": client_lines.at_once,
    "start": start_lines.start,
    "memory": start_lines.memory,
    "sqlite": service_lines.sqlite,
    "postgresql": service_lines.postgresql,
    "workers": service_lines.workers,
    "sizes": growth_lines.sizes,
    "endurance": growth_lines.endurance,
    "bulk": import_lines.bulk,
}
OUT = ROOT / "build/bench"
FAILED = "it failed"


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--full", action="store_true", help="everything: about twenty minutes")
    parser.add_argument("--publish", action="store_true", help="put the results into docs/ and the README")
    parser.add_argument("--last", action="store_true", help="take the results of the last run, and measure nothing")
    parser.add_argument("--only", nargs="+", choices=LINES, default=list(LINES), help="some lines alone")
    options = parser.parse_args()
    results, environments = OUT / "results.json", Environments(OUT / "peers")
    OUT.mkdir(parents=True, exist_ok=True)
    if not options.last:
        machine, lines = measured(options.only, environments, is_full=options.full)
        results.write_text(json.dumps({"machine": asdict(machine), "lines": list(map(asdict, lines))}, indent=1))
    machine, lines = read(results)
    (OUT / "results.md").write_text(document(machine, lines))
    print(f"\n{machine.form} form, load before {machine.load[0]}, after {machine.load[1]}: {OUT.relative_to(ROOT)}/")
    if options.publish:
        published(ROOT, machine, lines, results, environments)
    sys.exit(any(FAILED in reason for line in lines for reason in line.missing.values()))


def measured(keys: Sequence[str], environments: Environments, *, is_full: bool) -> tuple[Machine, list[Line]]:
    """Run lines, and print each when it is done. One that fails does not stop the others."""
    before, lines = load(), list[Line]()
    for key in keys:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            began = time.perf_counter()
            chosen = (plan.full if is_full else plan.short)(environments, Path(folder))
            lines.append(one(key, chosen))
            print(f"{section(lines[-1])}\n\n({time.perf_counter() - began:.0f} s)\n", flush=True)
    form = "full" if is_full else "short"
    return described(form, before, environments.versions()), lines


def one(key: str, chosen: Plan) -> Line:
    """Run a line; when that cannot be, the reason is in place of its numbers."""
    try:
        return LINES[key](chosen)
    except MissingPeerError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 # whatever it is, the other lines are worth having
        reason = f"{FAILED}: {type(error).__name__}: {error}"
    return Line(key, key, "Nothing was measured.", "", missing={"all of it": reason})


def read(results: Path) -> tuple[Machine, list[Line]]:
    """The results of a run."""
    found: Any = json.loads(results.read_text())
    machine = Machine(**(found["machine"] | {"load": tuple(found["machine"]["load"])}))
    return machine, list(map(from_json, found["lines"]))


if __name__ == "__main__":
    main()
