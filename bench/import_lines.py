"""Many secrets at once: the command line, beside a loop over gitpod-sdk 0.11."""

import os
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench.environments import MissingPeerError
from bench.plan import Plan
from bench.programs import PYTHON, run
from bench.results import Comparison, Line, Measures, ratios, summary
from bench.rounds import interleaved
from bench.services import ours
from bench.start_lines import config
from bench.usage import used
from served import TOKEN, Service

COMMAND = "from gitpod.cli import main; main()"
LOOP = "loop over gitpod-sdk 0.11"


class Bulk(NamedTuple):
    """What imports and lists are run against."""

    service: Service
    folder: Path

    def measured(self, command: list[object], **more: str) -> Measures:
        """Seconds of a program, of its processor and the service's, and the service's share of both."""
        before = used(self.service.pid).cpu
        found = run(command, self.folder, **more)
        served = used(self.service.pid).cpu - before
        return {
            "wall": found["wall"],
            "cpu": found["cpu"],
            "service": served,
            "share": served / (served + found["cpu"]),
        }

    def command(self, project: str, *arguments: object) -> Measures:
        """Run `gitpod-secrets` for a project."""
        given = {"GITPOD_BASE_URL": self.service.url, "GITPOD_API_KEY": TOKEN, "GITPOD_PROJECT_ID": project}
        return self.measured([PYTHON, "-c", COMMAND, *arguments], **given, **config(self.folder))

    def imported(self, number: int, project: str = "") -> Measures:
        """Import so many secrets, into a new project when none is named."""
        file = self.folder / f"{number}.env"
        if not file.exists():
            file.write_text("".join(f"NAME_{each}={'v' * 64}\n" for each in range(number)))
        return self.command(project or str(uuid.uuid4()), "import", file, "--yes")

    def loop(self, python: Path, number: int) -> Measures:
        """Create so many secrets, one after the other."""
        return self.measured([python, "-m", "bench.peers.loop", self.service.url, TOKEN, uuid.uuid4(), number])


def bulk(plan: Plan) -> Line:
    """Import, list, and the loop, on one processor that the service shares."""
    missing: dict[str, str] = {}
    ways: dict[str, Callable[[], Measures]] = {}
    with one_processor(), ours(f"sqlite:///{plan.folder / 'bulk.db'}", plan.folder) as (service, _):
        against = Bulk(service, plan.folder)
        for number in plan.imports:
            ways[f"import of {number:,}"] = partial(against.imported, number)
            project = str(uuid.uuid4())
            against.imported(number, project)
            ways[f"list of {number:,}"] = partial(against.command, project, "list")
        fewest = plan.imports[0]
        try:
            python = plan.environments.python("gitpod-sdk 0.11")
            ways[f"{LOOP}, {fewest:,}"] = partial(against.loop, python, fewest)
        except MissingPeerError as error:
            missing[LOOP] = str(error)
        found = interleaved(ways, min(plan.rounds, 3))
    goals = [Comparison(f"{LOOP}, {fewest:,}", f"import of {fewest:,}", "wall", at_least=6)]
    about = "On one processor, which the client and the service share; on SQLite."
    return Line("bulk", "Import and list", about, "s", summary(found), ratios(found, goals, missing), missing)


@contextmanager
def one_processor() -> Generator[None]:
    """Programs that start meanwhile run on the first processor that this one may use."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
