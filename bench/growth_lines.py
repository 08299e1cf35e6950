"""What changes as the store fills and as the service goes on: the cost of a call, and memory."""

import sqlite3
import uuid
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from bench.exchanges import page
from bench.plan import Plan
from bench.results import Comparison, Line, Measures, ratios, summary
from bench.rounds import interleaved
from bench.service_lines import CALLS, Ways
from bench.services import PAGED, ours
from bench.usage import memory
from served import TOKEN

CONNECTIONS = 8
ON_A_PAGE = 10
"""As many as the project has at least."""

STEPS = 10


def sizes(plan: Plan) -> Line:
    """The cost of a call with few secrets in its project, and with many."""
    ways: Ways = {}
    with ExitStack() as stack:
        for size in plan.sizes:
            store = plan.folder / f"size{size}.db"
            _, target = stack.enter_context(ours(f"sqlite:///{store}", plan.folder, secrets=min(size, 50)))
            fill(store, size)
            target = target._replace(calls=target.calls | {"page": page(PAGED, TOKEN, ON_A_PAGE)})
            for call in CALLS:
                ways[f"{call}, {size:,} stored"] = partial(target.load, call, CONNECTIONS, 2 * plan.seconds)
        found = interleaved(ways, plan.rounds)
    few, *more = (f"{size:,} stored" for size in plan.sizes)
    goals = [Comparison(f"{call}, {many}", f"{call}, {few}", "cpu") for call in CALLS for many in more]
    about = f"On SQLite, over {CONNECTIONS} connections. A page has {ON_A_PAGE}, of the project that has them all."
    return Line("sizes", "Few secrets and many", about, "ms", summary(found), ratios(found, goals))


def endurance(plan: Plan) -> Line:
    """The memory of the service while it answers, every request in turn a create, a value and a page."""
    found: dict[str, list[Measures]] = {}
    with ours(f"sqlite:///{plan.folder / 'endurance.db'}", plan.folder) as (service, target):
        found["at the start"] = [{"memory": memory(service.pid)}]
        for step in range(1, STEPS + 1):
            for call in CALLS:
                target.call(call, plan.requests // STEPS // len(CALLS), 32)
            found[f"{plan.requests * step // STEPS:,} requests"] = [{"memory": memory(service.pid)}]
    first, last = list(found)[1], list(found)[-1]
    grown = ratios(found, [Comparison(last, first, "memory")], fewest=1)
    about = "What the service shares with no other process, after creates, reads and pages over 32 connections."
    return Line("endurance", "Memory of the service", about, "", summary(found), grown)


def fill(store: Path, size: int) -> None:
    """Copy a secret of the project so often that there are so many. The values of the copies cannot be read."""
    with closing(sqlite3.connect(store, timeout=60)) as connection, connection:
        found = connection.execute("SELECT * FROM secrets WHERE scope_id = ? LIMIT 1", (PAGED,))
        columns = [column[0] for column in found.description]
        pattern = dict(zip(columns, found.fetchone(), strict=True))
        [there] = connection.execute("SELECT count(*) FROM secrets").fetchone()

        def copy(number: int) -> tuple[object, ...]:
            key, named = str(uuid.uuid4()), f"COPY_{number:06}"
            record = pattern["record"].replace(pattern["id"].encode(), key.encode())
            changed = {
                "id": key,
                "name": named,
                "created_at": pattern["created_at"] + number,
                "record": record.replace(pattern["name"].encode(), named.encode()),
            }
            return tuple((pattern | changed).values())

        marks = ", ".join("?" * len(columns))
        connection.executemany(f"INSERT INTO secrets VALUES ({marks})", map(copy, range(there, size)))  # noqa: S608 # marks alone
