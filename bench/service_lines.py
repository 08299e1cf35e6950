"""What a call costs the service, and how many it does: on SQLite and PostgreSQL, beside its peers."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from bench.environments import MissingPeerError
from bench.plan import Plan
from bench.programs import PYTHON, working
from bench.results import Comparison, Line, Measures, ratios, summary
from bench.rounds import interleaved
from bench.services import Target, constant, ours, peer
from postgres import MISSING, Cluster, binaries

Ways = dict[str, Callable[[], Measures]]
CALLS = ("create", "value", "page")
PEER = "grpcio peer"
RAW = {1: "raw sqlite3, 1 insert", 2: "raw sqlite3, 2 inserts"}
CPU_GOALS = {"create": 0.55, "value": 0.45, "page": 0.8}
"""Milliseconds of processor a call at 32 connections that the service is to need at most."""

SERVED = (
    "The last number of a name is the connections, each with one call in flight. CPU is that of the service, "
    "without its database server's."
)


def name(call: str, over: str, connections: int) -> str:
    """How a way is called."""
    return f"{call}, {over}, {connections}"


def sqlite(plan: Plan) -> Line:
    """On a file, each commit on the disk before its answer, beside peers that store the same."""
    missing: dict[str, str] = {}
    ways: Ways = {}
    with ExitStack() as stack:
        _, target = stack.enter_context(ours(f"sqlite:///{plan.folder / 'served.db'}", plan.folder))
        for call in CALLS:
            add(ways, plan, target, call, "Connect")
            add(ways, plan, target, call, "gRPC")
        try:
            beside = stack.enter_context(peer(plan))
            for call in ("create", "value"):
                add(ways, plan, beside, call, PEER)
        except MissingPeerError as error:
            missing[PEER] = str(error)
        for parser in ("httptools", "h11"):
            try:
                add(ways, plan, stack.enter_context(constant(plan, parser)), "create", f"uvicorn {parser}")
            except MissingPeerError as error:
                missing[f"uvicorn {parser}"] = str(error)
        for inserts, way in RAW.items():
            file = plan.folder / f"raw{inserts}.db"
            ways[way] = stored(stack, plan, PYTHON, "sqlite", str(file), inserts)
        found = interleaved(ways, plan.rounds)
    goals = [*served_goals(plan), *peer_goals(plan)]
    return Line("sqlite", "The service on SQLite", SERVED, "ms", summary(found), ratios(found, goals, missing), missing)


def postgresql(plan: Plan) -> Line:
    """On a PostgreSQL of its own, which writes each commit to the disk."""
    missing: dict[str, str] = {}
    ways: Ways = {}
    with ExitStack() as stack:
        cluster = stack.enter_context(durable())
        _, target = stack.enter_context(ours(cluster.create_database("bench"), plan.folder))
        for call in CALLS:
            add(ways, plan, target, call, "Connect")
        try:
            python = plan.environments.python("psycopg")
            ways["raw psycopg, 1 insert"] = stored(stack, plan, python, "postgresql", cluster.create_database("raw"), 1)
        except MissingPeerError as error:
            missing["raw psycopg, 1 insert"] = str(error)
        found = interleaved(ways, plan.rounds)
    goals = [Comparison(name(call, "Connect", plan.usual), None, "cpu") for call in CALLS]
    goals.append(Comparison(name("create", "Connect", plan.usual), "raw psycopg, 1 insert", "rate"))
    return Line(
        "postgresql", "The service on PostgreSQL", SERVED, "ms", summary(found), ratios(found, goals, missing), missing
    )


def workers(plan: Plan) -> Line:
    """`serve --workers 2` beside one, both on one PostgreSQL."""
    ways: Ways = {}
    with ExitStack() as stack:
        options = {number: processes(number) for number in (1, 2)}
        cluster = stack.enter_context(durable())
        for number, given in options.items():
            _, target = stack.enter_context(ours(cluster.create_database(f"workers{number}"), plan.folder, given))
            for call in ("create", "value"):
                add(ways, plan, target, call, f"{number} of --workers", only=plan.connections[-1:])
        found = interleaved(ways, plan.rounds)
    most = plan.connections[-1]
    goals = [
        Comparison(
            name("create", "2 of --workers", most), name("create", "1 of --workers", most), "rate", at_least=1.6
        ),
        Comparison(name("value", "2 of --workers", most), name("value", "1 of --workers", most), "rate"),
    ]
    return Line("workers", "More than one process on PostgreSQL", SERVED, "ms", summary(found), ratios(found, goals))


def processes(number: int) -> list[str]:
    """The option for so many processes. Raises `MissingPeerError` while `serve` has none."""
    from gitpod.cli.commands.serve import serve

    if not any(each.name == "workers" for each in serve.params):
        raise MissingPeerError("serve has no option --workers")
    return ["--workers", str(number)] if number > 1 else []


@contextmanager
def durable() -> Generator[Cluster]:
    """A PostgreSQL that writes to the disk. Raises `MissingPeerError`."""
    if binaries() is None:
        raise MissingPeerError(MISSING)
    with Cluster(durable=True) as cluster:
        yield cluster


def add(ways: Ways, plan: Plan, target: Target, call: str, over: str, only: tuple[int, ...] = ()) -> None:
    """A way for each number of connections."""
    by_grpc = over in ("gRPC", PEER)
    for connections in only or plan.connections:
        ways[name(call, over, connections)] = partial(target.load, call, connections, 2 * plan.seconds, by_grpc=by_grpc)


def stored(stack: ExitStack, plan: Plan, python: Path, engine: str, where: str, inserts: int) -> Callable[[], Measures]:
    """A database without a service: the same measures, of commits."""
    worker = stack.enter_context(
        working(python, "bench.peers.raw_store", engine, where, inserts, seconds=2 * plan.seconds)
    )

    def commits() -> Measures:
        found = worker()
        return {"rate": 1e6 / found["wall"], "cpu": found["cpu"] / 1000, "system": found["system"] / 1000}

    return commits


def served_goals(plan: Plan) -> list[Comparison]:
    """What the service is to reach by itself, and how gRPC and many connections compare."""
    first, last = plan.connections[0], plan.connections[-1]
    at = [Comparison(name(call, "Connect", plan.usual), None, "cpu", at_most=most) for call, most in CPU_GOALS.items()]
    dearer = [Comparison(name(call, "Connect", last), name(call, "Connect", first), "cpu", at_most=1) for call in CALLS]
    grpc = [
        Comparison(name(call, "gRPC", each), name(call, "Connect", each), "cpu", at_most=1.3)
        for call in ("create", "value")
        for each in plan.connections
    ]
    return [*at, *dearer, *grpc]


def peer_goals(plan: Plan) -> list[Comparison]:
    """How the service compares with the others."""
    several = [each for each in plan.connections if each > 1]
    pairs = [(name(call, "Connect", each), name(call, PEER, each)) for call in ("create", "value") for each in several]
    more = [Comparison(one, other, "rate", at_least=1) for one, other in pairs]
    sooner = [Comparison(one, other, "p99", at_most=1) for one, other in pairs]
    last = plan.connections[-1]
    above = [Comparison(name("create", "Connect", last), name("create", "uvicorn httptools", last), "cpu")]
    return [*more, *sooner, *above, Comparison(name("create", "Connect", last), RAW[2], "rate")]
