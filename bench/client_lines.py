"""What a create costs each client, against a server that answers without thinking."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import trustme
from bench.environments import MissingPeerError
from bench.plan import Plan
from bench.programs import PYTHON, Program, Worker, serving, working
from bench.results import Comparison, Line, ratios, summary
from bench.rounds import interleaved

OURS = "bench.peers.ours"
RAW = "bench.peers.raw_http"
VENDOR = "bench.peers.vendor"


class Way(NamedTuple):
    """A way of calling: the program, its first argument, and the peer whose environment it needs; "" is our own."""

    module: str
    name: str
    peer: str = ""


SYNC = {
    "SDK": Way(OURS, "sdk"),
    "stub over the SDK's pool": Way(OURS, "stub-pool"),
    "stub over pyqwest": Way(OURS, "stub-pyqwest"),
    "pyqwest": Way(OURS, "pyqwest"),
    "http.client": Way(OURS, "http.client"),
    "httpx": Way(RAW, "httpx", "httpx"),
    "httpx2": Way(RAW, "httpx2", "httpx2"),
    "gitpod-sdk 0.11": Way(VENDOR, "0.11", "gitpod-sdk 0.11"),
    "gitpod-sdk 1.2": Way(VENDOR, "1.2", "gitpod-sdk 1.2"),
    "grpcio": Way("bench.peers.grpc_client", "sync", "grpcio"),
}
OVER_TLS = [name for name in SYNC if not name.startswith(("stub", "grpcio"))]
ASYNC = {
    "SDK": Way(OURS, "sdk-async"),
    "stub over pyqwest": Way(OURS, "stub-async"),
    "aiohttp": Way(RAW, "aiohttp-async", "aiohttp"),
    "httpx": Way(RAW, "httpx-async", "httpx"),
    "httpx2": Way(RAW, "httpx2-async", "httpx2"),
    "gitpod-sdk 0.11": Way(VENDOR, "0.11-async", "gitpod-sdk 0.11"),
    "grpcio": Way("bench.peers.grpc_client", "async", "grpcio"),
}
SYNC_GOALS = [
    Comparison("SDK", "stub over the SDK's pool", "cpu", at_most=1.3),
    Comparison("SDK", "stub over the SDK's pool", "wall"),
    Comparison("SDK", "pyqwest", "wall", at_most=1.2),
    Comparison("SDK", "http.client", "wall"),
    Comparison("SDK", "gitpod-sdk 0.11", "wall", at_most=0.25),
    Comparison("SDK", "gitpod-sdk 1.2", "wall", at_most=0.5),
    Comparison("SDK", "gitpod-sdk 1.2", "cpu", at_most=0.6),
    Comparison("SDK", "grpcio", "wall", at_most=0.45),
    Comparison("SDK", "grpcio", "cpu", at_most=0.8),
    Comparison("SDK", "httpx", "wall"),
    Comparison("SDK", "httpx2", "wall"),
]
TLS_GOALS = [
    Comparison("SDK", "gitpod-sdk 1.2", "wall", at_most=0.1),
    Comparison("SDK", "gitpod-sdk 0.11", "wall"),
    Comparison("SDK", "pyqwest", "wall"),
    Comparison("SDK", "http.client", "wall"),
]
ASYNC_GOALS = [
    Comparison("SDK", "stub over pyqwest", "wall", at_most=1.7),
    Comparison("SDK", "stub over pyqwest", "cpu"),
    *(Comparison("SDK", peer, "wall") for peer in ("aiohttp", "httpx", "httpx2", "gitpod-sdk 0.11", "grpcio")),
]


def sync(plan: Plan) -> Line:
    """One create after the other, over HTTP."""
    with answering() as server:
        return line(
            plan,
            ("sync", "A create, sync", "One after the other over a kept connection, without TLS.", "µs"),
            SYNC,
            server,
            SYNC_GOALS,
        )


def tls(plan: Plan) -> Line:
    """The same over TLS."""
    authority = trustme.CA()
    certificate, ca = plan.folder / "certificate.pem", plan.folder / "ca.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    authority.cert_pem.write_to_path(ca)
    with answering(certificate) as server:
        return line(
            plan,
            (
                "tls",
                "A create over TLS, sync",
                "The same, over TLS. gitpod-sdk 1.2 connects anew for every call.",
                "µs",
            ),
            {name: SYNC[name] for name in OVER_TLS},
            server,
            TLS_GOALS,
            ca,
        )


def at_once(plan: Plan) -> Line:
    """64 creates in flight."""
    with answering() as server:
        return line(
            plan,
            (
                "async",
                "A create, async",
                "64 calls in flight, without TLS: the time of all, divided by their number.",
                "µs",
            ),
            ASYNC,
            server,
            ASYNC_GOALS,
        )


@contextmanager
def answering(*certificate: Path) -> Generator[Program]:
    """The server that answers without thinking."""
    with serving(PYTHON, "bench.canned", *certificate) as server:
        yield server


def line(
    plan: Plan,
    words: tuple[str, str, str, str],
    ways: dict[str, Way],
    server: Program,
    goals: list[Comparison],
    ca: Path | None = None,
) -> Line:
    """Measure these ways in turn; those whose peer is not there are named."""
    missing: dict[str, str] = {}
    workers: dict[str, Worker] = {}
    with ExitStack() as stack:
        for name, way in ways.items():
            try:
                python = plan.environments.python(way.peer) if way.peer else PYTHON
            except MissingPeerError as error:
                missing[name] = str(error)
                continue
            workers[name] = stack.enter_context(
                working(
                    python,
                    way.module,
                    way.name,
                    *where(stack, python, way, server, ca),
                    **trusting(ca),
                    seconds=plan.seconds,
                )
            )
        found = interleaved(workers, plan.rounds)
    return Line(*words, summary(found), ratios(found, goals, missing), missing)


def where(stack: ExitStack, python: Path, way: Way, server: Program, ca: Path | None) -> list[object]:
    """The server's address, as the program's next arguments. grpcio gets a server of its own kind."""
    if way.peer == "grpcio":
        return [stack.enter_context(serving(python, "bench.peers.grpc_server")).address]
    scheme = "https" if ca else "http"
    return [f"{scheme}://{server.address}", *([ca] if ca else [])]


def trusting(ca: Path | None) -> dict[str, str]:
    """What makes clients without such an option trust an authority."""
    return {"SSL_CERT_FILE": str(ca)} if ca else {}
